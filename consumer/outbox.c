/* What waits for the broker's confirm. A message stays in the list until it is confirmed; a retry
 * stays across lost connections too. Knows nothing of the loop: it answers what may be
 * acknowledged, and that the connection is lost. */
#include "consumer/outbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/chunk.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/start.h"
#include "consumer/job.h"

enum {
    PUBLISH_AGAIN_US = 500000,
    /* What waited so long for its confirm when the connection was lost is why it was lost. */
    LONG_UNCONFIRMED_US = 20000000,
    UNPARKABLE_US = 600000000,
};

/* One message on its way to the broker. */
struct outgoing {
    struct outgoing *next;
    enum note_kind kind; /* NOTE_COPY, NOTE_PARK, NOTE_DEAD, NOTE_RETRY */
    struct job *job;     /* NULL for a message that could not be decoded */
    int delay_s;
    void *body; /* owned where job is NULL */
    size_t body_len;
    int consumer;
    char key[BROKER_KEY_SIZE];
    struct outbox_delivery delivery;
    char message_id[CHUNK_MESSAGE_ID_SIZE];
    char reason[JOB_REASON_SIZE];
    bool published;
    int64_t published_us; /* CLOCK_BOOTTIME */
    uint64_t tag;
    int64_t not_before_us;
};

void outbox_init(struct outbox *o, struct broker_queues *queues, struct queue *to_ledger)
{
    *o = (struct outbox){.queues = queues, .to_ledger = to_ledger};
    buf_init(&o->body, CHUNK_BODY_MAX);
}

void outbox_fini(struct outbox *o)
{
    buf_fini(&o->body);
}

bool outbox_is_empty(const struct outbox *o)
{
    return !o->first;
}

static struct outgoing *append(struct outbox *o, enum note_kind kind)
{
    struct outgoing *out = mem_alloc(sizeof *out), **end = &o->first;
    out->kind = kind;
    while (*end) end = &(*end)->next;
    return *end = out;
}

void outbox_add_undecoded(struct outbox *o, enum note_kind kind, int delay_s,
                          const struct broker_event *event, unsigned epoch, const char *reason)
{
    struct outgoing *out = append(o, kind);
    out->delay_s = delay_s;
    out->body = mem_alloc(event->body_len);
    if (event->body_len) memcpy(out->body, event->body, event->body_len);
    out->body_len = event->body_len;
    out->consumer = event->consumer;
    snprintf(out->key, sizeof out->key, "%s", o->queues->items[event->consumer].key);
    out->delivery = (struct outbox_delivery){event->delivery_tag, epoch};
    snprintf(out->reason, sizeof out->reason, "%s", reason);
    log_text(out->message_id, sizeof out->message_id, event->message_id, strlen(event->message_id));
}

static struct err write_retry(struct outbox *o, const struct job *job)
{
    const struct chunk_message *m = &job->message;
    struct buf *b = &o->body;
    buf_reset(b);
    chunk_write_start(b, m->run, m->chunk, m->attempt + 1);
    for (uint32_t i = 0; i < m->n; i++) {
        const struct chunk_recipient *r = &m->recipients[i];
        if (job->outcomes[i].status != OUTCOME_DEFERRED) continue;
        chunk_write_recipient(b, r->position, r->id, r->id_len, r->to, r->to_len);
        for (uint32_t v = 0; v < r->vars.len; v++) {
            chunk_write_var_name(b, r->vars.fields[v].name, r->vars.fields[v].name_len);
            chunk_write_value(b, &r->vars.fields[v].value);
        }
        chunk_write_recipient_end(b, NULL);
    }
    chunk_write_end(b, m->digest);
    return buf_check(b, "the retry message");
}

/* A message can grow when it is written again, and one that is too large would be confirmed and be
 * no chunk. `due` publishes the retry when it is overdue (PROTOCOL P6). */
static bool can_retry(struct outbox *o, struct job *job)
{
    struct err e = write_retry(o, job);
    if (!e.code) return true;
    log_error("broker", "msg=\"no retry message\" run=%" PRIu64 " chunk=%u err=\"%s\"",
              job->message.run, job->message.chunk, e.text);
    queue_push(o->to_ledger, (struct note){.kind = NOTE_RETRY_CONFIRMED, .job = job});
    return false;
}

static bool may_park(const struct outbox *o, uint64_t run)
{
    return run != o->unparkable || clock_boot_us() > o->unparkable_until_us;
}

/* A queue without a leader takes nothing. The messages of a paused run would come again with each
 * lost connection, up to the delivery limit, and all others with them: they wait in a delay queue.
 */
static void note_unparkable(struct outbox *o, const struct outgoing *out)
{
    if (out->kind != NOTE_PARK || !out->published) return;
    if (clock_boot_us() - out->published_us < LONG_UNCONFIRMED_US) return;
    if (!may_park(o, out->job->message.run)) return;
    o->unparkable = out->job->message.run;
    o->unparkable_until_us = clock_boot_us() + UNPARKABLE_US;
    log_warn("broker", "msg=\"nothing is parked for some minutes\" run=%" PRIu64, o->unparkable);
}

void outbox_add(struct outbox *o, const struct note *note)
{
    struct job *job = note->job;
    if (note->kind == NOTE_RETRY && !can_retry(o, job)) return;
    bool parks = note->kind == NOTE_PARK && may_park(o, job->message.run);
    struct outgoing *out = append(o, note->kind == NOTE_PARK && !parks ? NOTE_COPY : note->kind);
    out->job = job;
    out->delay_s = note->kind == NOTE_PARK && !parks ? START_WAIT_DELAY_S : (int)note->value;
    out->consumer = job->consumer;
    if (parks)
        broker_parked_key(out->key, job->message.run);
    else
        job_key(out->key, job);
    out->delivery = (struct outbox_delivery){job->delivery_tag, job->epoch};
    memcpy(out->reason, job->reason, sizeof out->reason);
    chunk_message_id(out->message_id, job->message.run, job->message.chunk,
                     job->message.attempt + (note->kind == NOTE_RETRY ? 1 : 0));
}

/* The message as it is to be published, and where to; borrows from out, its job and o->body. */
static struct broker_message message_of(struct outbox *o, struct outgoing *out,
                                        char exchange[BROKER_QUEUE_SIZE],
                                        struct broker_header *reason)
{
    struct broker_message m = {
        .message_id = out->message_id,
        .exchange = broker_delay_exchange(exchange, out->delay_s),
        .routing_key = out->key,
        .body = out->job ? out->job->body : out->body,
        .body_len = out->job ? out->job->body_len : out->body_len,
    };
    if (out->kind == NOTE_RETRY) {
        (void)write_retry(o, out->job); /* can_retry has seen that it fits */
        m.body = o->body.data;
        m.body_len = o->body.len;
    } else if (out->kind == NOTE_PARK) {
        m.exchange = BROKER_EXCHANGE;
    } else if (out->kind == NOTE_DEAD) {
        *reason = (struct broker_header){BROKER_HEADER_REASON, out->reason};
        m.exchange = BROKER_EXCHANGE_DEAD;
        m.headers = reason;
        m.n_headers = 1;
    }
    return m;
}

static struct err reach(struct outbox *o, struct broker *b, const struct outgoing *out)
{
    if (out->kind == NOTE_PARK)
        return broker_queues_reach_parked(o->queues, b, out->job->message.run);
    return broker_queues_reach(o->queues, b, out->key, out->delay_s);
}

static struct err publish(struct outbox *o, struct broker *b, struct outgoing *out)
{
    char exchange[BROKER_QUEUE_SIZE];
    struct broker_header reason;
    struct broker_message m = message_of(o, out, exchange, &reason);
    struct err e = reach(o, b, out);
    if (e.code && e.code != ERR_TIMEOUT)
        log_warn("broker", "msg=\"cannot declare\" err=\"%s\"", e.text);
    bool reached = !e.code;
    if (reached) e = broker_publish(b, &m, &out->tag);
    out->published = !e.code;
    out->published_us = clock_boot_us();
    if (e.code == ERR_TIMEOUT || (e.code && !reached)) {
        out->not_before_us = clock_boot_us() + PUBLISH_AGAIN_US;
        return err_none();
    }
    return e;
}

struct err outbox_publish(struct outbox *o, struct broker *b)
{
    int64_t now_us = clock_boot_us();
    for (struct outgoing *out = o->first; out; out = out->next)
        if (!out->published && now_us >= out->not_before_us) TRY(publish(o, b, out));
    return err_none();
}

/* Copies, parked ones, dead letters: with them ends what the message was in hand for. */
static void forget(struct outbox *o, struct outgoing *out)
{
    broker_queues_let_go(o->queues, out->consumer);
    job_free(out->job);
    free(out->body);
    free(out);
}

bool outbox_confirmed(struct outbox *o, uint64_t publish_tag, struct outbox_delivery *ack)
{
    struct outgoing **at = &o->first;
    while (*at && !((*at)->published && (*at)->tag == publish_tag)) at = &(*at)->next;
    struct outgoing *out = *at;
    if (!out) return false;
    *at = out->next;
    if (out->kind == NOTE_PARK) FAULT_POINT("parked_not_acked");
    if (out->kind == NOTE_RETRY) FAULT_POINT("retry_published");
    if (out->kind == NOTE_RETRY) { /* PROTOCOL C7: now the attempt may be closed */
        queue_push(o->to_ledger, (struct note){.kind = NOTE_RETRY_CONFIRMED, .job = out->job});
        free(out);
        return false;
    }
    *ack = out->delivery;
    forget(o, out);
    return true;
}

/* Mostly a delay queue that nobody has declared yet. */
void outbox_refused(struct outbox *o, const struct broker_event *event)
{
    for (struct outgoing *out = o->first; out; out = out->next) {
        if (!out->published || out->tag != event->publish_tag) continue;
        log_warn("broker", "msg=\"publish refused, will be repeated\" id=%s reason=\"%s\"",
                 out->message_id, event->reason);
        out->published = false;
        out->not_before_us = clock_boot_us() + PUBLISH_AGAIN_US;
        broker_queues_refused(o->queues);
        return;
    }
}

/* PROTOCOL C9, C10: what was not acknowledged comes again by itself, so nothing needs to stand for
 * it. A retry does: of its recipients this worker alone knows. */
void outbox_lost(struct outbox *o)
{
    for (struct outgoing **at = &o->first; *at;) {
        struct outgoing *out = *at;
        note_unparkable(o, out);
        out->published = false;
        if (out->kind == NOTE_RETRY) {
            at = &out->next;
        } else {
            *at = out->next;
            forget(o, out);
        }
    }
}
