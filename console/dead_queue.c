/* The broker's side of dead letters. They are read as a consumer that does not acknowledge, one at
 * a time, and no more are asked for than will be read; acks and publishes go over two connections,
 * so that awaiting a confirm takes no letter out of turn.
 *
 * The queue is counted first and no more is read than that: a requeued letter that comes straight
 * back is not taken for a further one. And no less: the queue puts what it gets back behind what it
 * got back earlier, so that to read only some would change the order of all. */
#include "console/dead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/start.h"

#define DEAD_QUEUE BROKER_EXCHANGE "." BROKER_KEY_DEAD

enum {
    NOT_FOUND = 404, /* AMQP 0-9-1: there is no such queue */
    COUNT_WAIT_MS = 500,
    DELIVERY_WAIT_MS = 10000,
    PUBLISH_WAIT_MS = 10000,
};

struct dead_queue {
    const struct settings *settings;
    struct broker *reader, *writer; /* writer is NULL until something is published */
    char declared[DEAD_TEXT_SIZE];  /* the key of the queue that the writer declared last */
    uint32_t count, n_read;
    int prefetch, held; /* letters that may be in hand, and that are */
    struct dead_letter letter;
};

/* What an earlier look gave back, or a worker just published, may be counted a moment late. */
static struct err count_letters(struct dead_queue *q)
{
    uint32_t consumers;
    int64_t until_us = clock_boot_us() + COUNT_WAIT_MS * 1000;
    for (;;) {
        struct err e = broker_queue_counts(q->reader, DEAD_QUEUE, &q->count, &consumers);
        if (e.native == NOT_FOUND) return err_wrap(e, "run 'mailflock init' first");
        if (e.code || q->count || clock_boot_us() > until_us) return e;
        clock_sleep_ms(50);
    }
}

static struct err begin(struct dead_queue *q)
{
    struct broker_config config = start_broker_config(q->settings, "mailflock dead");
    TRY(start_broker(q->settings, &config, &q->reader));
    TRY(count_letters(q));
    if (!q->count) return err_none();
    q->prefetch = q->count < DEAD_HELD_MAX ? (int)q->count : DEAD_HELD_MAX;
    return broker_consume(q->reader, 0, BROKER_KEY_DEAD, q->prefetch);
}

struct err dead_queue_open(struct dead_queue **out, const struct settings *settings)
{
    struct dead_queue *q = mem_alloc(sizeof *q);
    q->settings = settings;
    struct err e = begin(q);
    *out = e.code ? NULL : q;
    if (!e.code) return e;
    broker_close(q->reader);
    free(q);
    return e;
}

uint32_t dead_queue_count(const struct dead_queue *q)
{
    return q->count;
}

bool dead_queue_header(const struct dead_queue *q, const char *name, char *out, size_t size)
{
    return broker_header_get(q->reader, name, out, size);
}

/* A worker says why it gave a message up. RabbitMQ says so too, but from its headers of plain text
 * the last reason is known only since 3.13, and the first one may be of a delay queue. */
static void read_reason(const struct dead_queue *q, struct dead_letter *letter)
{
    char queue[BROKER_QUEUE_SIZE], first[DEAD_TEXT_SIZE];
    char *out = letter->reason;
    size_t size = sizeof letter->reason;
    if (dead_queue_header(q, "x-mailflock-reason", out, size)) return;
    if (dead_queue_header(q, "x-last-death-reason", out, size)) return;
    broker_queue_name(queue, letter->key);
    if (dead_queue_header(q, "x-first-death-queue", first, sizeof first) &&
        strcmp(first, queue) == 0 && dead_queue_header(q, "x-first-death-reason", out, size))
        return;
    snprintf(out, size, "by the broker");
}

static void read_letter(struct dead_queue *q, const struct broker_event *event)
{
    struct dead_letter *letter = &q->letter;
    letter->number = (int)++q->n_read;
    letter->tag = event->delivery_tag;
    letter->body = event->body;
    letter->body_len = event->body_len;
    snprintf(letter->id, sizeof letter->id, "%s", event->message_id);
    snprintf(letter->key, sizeof letter->key, "%s", event->routing_key);
    read_reason(q, letter);
    if (!letter->body)
        letter->malformed =
            err_make(ERR_TOO_BIG, 0, "larger than the %d bytes that workers take", CHUNK_BODY_MAX);
    else
        letter->malformed = chunk_decode(letter->body, letter->body_len, &letter->chunk);
    letter->is_chunk = !letter->malformed.code;
    if (letter->is_chunk)
        chunk_message_id(letter->id, letter->chunk.run, letter->chunk.chunk, letter->chunk.attempt);
}

static void forget_letter(struct dead_queue *q)
{
    if (q->letter.is_chunk) chunk_fini(&q->letter.chunk);
    q->letter = (struct dead_letter){0};
}

void dead_queue_set_key(struct dead_queue *q, const char *key)
{
    snprintf(q->letter.key, sizeof q->letter.key, "%s", key);
}

static struct err no_delivery(const struct dead_queue *q)
{
    return err_make(ERR_TIMEOUT, 0,
                    "RabbitMQ counted %u dead letters and gave %u of them: is another 'mailflock "
                    "dead' reading? Try again",
                    q->count, q->n_read);
}

struct err dead_queue_next(struct dead_queue *q, const struct dead_letter **letter)
{
    struct broker_event event;
    int64_t until_us = clock_boot_us() + DELIVERY_WAIT_MS * 1000LL;
    *letter = NULL;
    forget_letter(q);
    if (q->n_read == q->count || q->held == q->prefetch) return err_none();
    do {
        TRY(broker_next(q->reader, 100, &event));
        if (event.kind == BROKER_CANCELLED)
            return err_make(ERR_BROKER, 0, "queue " DEAD_QUEUE ": %s", event.reason);
        if (clock_boot_us() > until_us) return no_delivery(q);
    } while (event.kind != BROKER_DELIVERY);
    q->held++;
    read_letter(q, &event);
    *letter = &q->letter;
    return err_none();
}

struct err dead_queue_ack(struct dead_queue *q)
{
    TRY(broker_ack(q->reader, q->letter.tag));
    q->held--;
    return err_none();
}

/* PROTOCOL P3: the queue is declared before anything is published to it. */
struct err dead_queue_reach(struct dead_queue *q, const struct dead_letter *letter)
{
    if (!q->writer) {
        struct broker_config config = start_broker_config(q->settings, "mailflock dead requeue");
        TRY(start_broker(q->settings, &config, &q->writer));
    }
    if (strcmp(q->declared, letter->key) == 0) return err_none();
    TRY(start_queue(q->writer, letter->key));
    snprintf(q->declared, sizeof q->declared, "%s", letter->key);
    return err_none();
}

/* Until the confirm or the deadline. */
static struct err await_confirm(struct dead_queue *q, uint64_t tag, int64_t until_us)
{
    struct broker_event event;
    while (clock_boot_us() < until_us) {
        TRY(broker_next(q->writer, 100, &event));
        if (event.kind == BROKER_CONFIRMED && event.publish_tag == tag) return err_none();
        if (event.kind == BROKER_REFUSED && event.publish_tag == tag)
            return err_make(ERR_BROKER, 0, "RabbitMQ did not take it: %s", event.reason);
    }
    return err_make(ERR_TIMEOUT, 0, "no confirm within %d s: it may be in its queue or not",
                    PUBLISH_WAIT_MS / 1000);
}

struct err dead_queue_publish(struct dead_queue *q, const struct dead_letter *letter)
{
    struct broker_message m = {.message_id = letter->id,
                               .exchange = BROKER_EXCHANGE,
                               .routing_key = letter->key,
                               .body = letter->body,
                               .body_len = letter->body_len};
    struct broker_event event;
    int64_t until_us = clock_boot_us() + PUBLISH_WAIT_MS * 1000LL;
    uint64_t tag;
    TRY(dead_queue_reach(q, letter));
    for (;;) {
        struct err e = broker_publish(q->writer, &m, &tag);
        if (!e.code) return await_confirm(q, tag, until_us);
        if (e.code != ERR_TIMEOUT || clock_boot_us() > until_us) return e;
        TRY(broker_next(q->writer, 100, &event));
    }
}

struct err dead_queue_close(struct dead_queue *q)
{
    if (!q) return err_none();
    forget_letter(q);
    /* Its answer comes behind the acks. */
    struct err e = broker_consume_stop(q->reader, 0);
    broker_close(q->reader);
    broker_close(q->writer);
    free(q);
    return e.code ? err_wrap(e, "what was settled last may still be among the dead letters") : e;
}
