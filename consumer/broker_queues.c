/* Which queues a worker consumes, with what prefetch, and what it has declared. */
#include "consumer/broker_queues.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/start.h"

enum {
    NOT_FOUND = 404,               /* AMQP 0-9-1: there is no such queue */
    LOOK_EVERY_US = 600 * 1000000, /* RabbitMQ logs each look that finds nothing as an error */
};

void broker_queues_init(struct broker_queues *q, const struct settings *settings)
{
    const struct settings_transport *transports = settings->transports.items;
    const char *lane = settings->worker.lane;
    int n = (int)settings->transports.count;
    *q = (struct broker_queues){.settings = settings, .n = n + 1};
    q->items = mem_alloc((size_t)q->n * sizeof *q->items);
    for (int i = 0; i < n; i++) start_key(q->items[i].key, lane, transports[i].name);
    snprintf(q->items[n].key, sizeof q->items[n].key, "%s", lane);
    q->items[n].old = true;
}

void broker_queues_fini(struct broker_queues *q)
{
    free(q->items);
}

int broker_queues_wanted(const struct broker_queue *queue, int prefetch)
{
    if (queue->down && queue->prefetch == 1) return 1;
    if (queue->down) return queue->in_hand ? 0 : 1;
    if (queue->prefetch == prefetch) return prefetch;
    /* What is in hand from before is finished first, so that the whole stays bounded. */
    return queue->in_hand <= prefetch ? prefetch : queue->prefetch;
}

static bool is_settled(const struct broker_queues *q, const struct broker_queue *queue)
{
    if (queue->old && !queue->prefetch && clock_boot_us() < queue->look_at_us) return true;
    return broker_queues_wanted(queue, q->settings->worker.prefetch) == queue->prefetch;
}

bool broker_queues_settled(const struct broker_queues *q)
{
    for (int i = 0; i < q->n; i++)
        if (!is_settled(q, &q->items[i])) return false;
    return true;
}

static struct err declare(struct broker_queues *q, struct broker *b, struct broker_queue *queue)
{
    char name[BROKER_QUEUE_SIZE];
    uint32_t ready, consumers;
    if (queue->declared) return err_none();
    if (queue->old)
        TRY(broker_queue_counts(b, broker_queue_name(name, queue->key), &ready, &consumers));
    else
        TRY(start_queue(b, queue->key));
    if (!q->n_delays) TRY(broker_queues_reach(q, b, queue->key, start_lease_s(q->settings)));
    queue->declared = true;
    return err_none();
}

static struct err mend(struct broker_queues *q, struct broker *b, int i)
{
    struct broker_queue *queue = &q->items[i];
    int wanted = broker_queues_wanted(queue, q->settings->worker.prefetch);
    if (queue->prefetch) TRY(broker_consume_stop(b, i));
    queue->prefetch = 0;
    if (!wanted) return err_none();
    struct err e = declare(q, b, queue);
    if (queue->old && e.native == NOT_FOUND) {
        queue->look_at_us = clock_boot_us() + LOOK_EVERY_US;
        return err_none();
    }
    if (e.code) return e;
    TRY(broker_consume(b, i, queue->key, wanted));
    queue->prefetch = wanted;
    return err_none();
}

struct err broker_queues_mend(struct broker_queues *q, struct broker *b)
{
    struct err first = err_none();
    for (int i = 0; i < q->n; i++) {
        if (is_settled(q, &q->items[i])) continue;
        struct err e = mend(q, b, i);
        if (e.code && !first.code) first = e;
    }
    return first;
}

struct err broker_queues_stop(struct broker_queues *q, struct broker *b)
{
    for (int i = 0; i < q->n; i++) {
        if (q->items[i].prefetch) TRY(broker_consume_stop(b, i));
        q->items[i].prefetch = 0;
    }
    return err_none();
}

void broker_queues_cancelled(struct broker_queues *q, int consumer)
{
    struct broker_queue *queue = &q->items[consumer];
    queue->prefetch = 0;
    queue->declared = false;
    if (queue->old) queue->look_at_us = clock_boot_us() + LOOK_EVERY_US;
}

void broker_queues_lost(struct broker_queues *q)
{
    q->n_delays = 0;
    q->n_parked = 0;
    for (int i = 0; i < q->n; i++) {
        q->items[i].prefetch = 0;
        q->items[i].declared = false;
        q->items[i].look_at_us = 0;
    }
}

void broker_queues_refused(struct broker_queues *q)
{
    q->n_delays = 0;
    q->n_parked = 0;
    for (int i = 0; i < q->n; i++) q->items[i].declared = false;
}

void broker_queues_take(struct broker_queues *q, int consumer)
{
    q->items[consumer].in_hand++;
}

void broker_queues_let_go(struct broker_queues *q, int consumer)
{
    q->items[consumer].in_hand--;
}

int broker_queues_in_hand(const struct broker_queues *q)
{
    int in_hand = 0;
    for (int i = 0; i < q->n; i++) in_hand += q->items[i].in_hand;
    return in_hand;
}

static struct err reach_delay(struct broker_queues *q, struct broker *b, int delay_s)
{
    for (int i = 0; i < q->n_delays; i++)
        if (q->delays_s[i] == delay_s) return err_none();
    TRY(start_delays(q->settings, b, &delay_s, 1));
    if (q->n_delays < BROKER_DELAYS_MAX) q->delays_s[q->n_delays++] = delay_s;
    return err_none();
}

static struct err reach_queue(struct broker_queues *q, struct broker *b, const char *key)
{
    struct broker_queue *queue = NULL;
    for (int i = 0; i < q->n; i++)
        if (strcmp(q->items[i].key, key) == 0) queue = &q->items[i];
    if (queue && (queue->declared || queue->old)) return err_none();
    TRY(start_queue(b, key));
    if (queue) queue->declared = true;
    return err_none();
}

struct err broker_queues_reach(struct broker_queues *q, struct broker *b, const char *key,
                               int delay_s)
{
    TRY(reach_queue(q, b, key));
    return delay_s ? reach_delay(q, b, delay_s) : err_none();
}

struct err broker_queues_reach_parked(struct broker_queues *q, struct broker *b, uint64_t run)
{
    for (unsigned i = 0; i < q->n_parked && i < BROKER_QUEUES_PARKED; i++)
        if (q->parked[i] == run) return err_none();
    TRY(broker_declare_parked(b, run));
    q->parked[q->n_parked++ % BROKER_QUEUES_PARKED] = run;
    return err_none();
}
