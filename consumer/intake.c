/* The broker thread's loop. A message that has to be published before another is acked stands in
 * the list of outgoing ones until the broker has confirmed it, across lost connections too. */
#include "consumer/intake.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/chunk.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/login.h"
#include "common/start.h"
#include "consumer/broker_queues.h"
#include "consumer/health.h"
#include "consumer/job.h"
#include "consumer/metrics.h"
#include "consumer/pulse.h"

enum {
    NOTES_AT_ONCE = 64,
    EVENTS_AT_ONCE = 256,
    POLL_MS = 500,
    RECONNECT_BASE_MS = 100,
    RECONNECT_MAX_MS = 5000,
    PUBLISH_AGAIN_US = 500000,
    SAY_NEWER_EVERY_US = 60000000,
    STOP_GRACE_US = 15000000, /* beyond the drain time: commits, copies and acks */
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
    uint64_t delivery_tag;
    unsigned epoch;
    char message_id[CHUNK_MESSAGE_ID_SIZE];
    char reason[JOB_REASON_SIZE];
    bool published;
    uint64_t tag;
    int64_t not_before_us;
};

struct intake {
    struct intake_config config;
    struct broker *broker; /* NULL while lost */
    unsigned epoch;        /* counts connections: delivery tags of an older one are void */
    struct login login;
    struct broker_queues queues;
    bool stopping, ledger_is_through;
    bool failed; /* it ends for a reason of its own, not by a signal */
    int in_hand; /* jobs and outgoing messages without a job */
    int tries;
    int64_t reconnect_at_us, stop_by_us, say_newer_at_us;
    struct outgoing *outgoing;
    struct buf body; /* retry messages are written here */
};

static void reconnect_later(struct intake *in)
{
    in->reconnect_at_us =
        clock_boot_us() + clock_backoff_ms(in->tries++, RECONNECT_BASE_MS, RECONNECT_MAX_MS) * 1000;
}

/* A message of that consumer, or what it was in hand for, is over. */
static void let_go(struct intake *in, int consumer)
{
    in->in_hand--;
    in->queues.items[consumer].in_hand--;
}

/* Copies, dead letters: with them ends what the message was in hand for. */
static void forget_outgoing(struct intake *in, struct outgoing *o)
{
    let_go(in, o->consumer);
    job_free(o->job);
    free(o->body);
    free(o);
}

/* PROTOCOL C9, C10: what was not acknowledged comes again by itself, so nothing needs to stand for
 * it. A retry does: of its recipients this worker alone knows. */
static void lose(struct intake *in, const struct err *e)
{
    log_warn("broker", "msg=\"connection lost\" err=\"%s\"", e->text);
    broker_close(in->broker);
    in->broker = NULL;
    METRICS_SET(broker_connected, false);
    broker_queues_lost(&in->queues);
    reconnect_later(in);
    for (struct outgoing **at = &in->outgoing; *at;) {
        struct outgoing *o = *at;
        o->published = false;
        if (o->kind == NOTE_RETRY) {
            at = &o->next;
        } else {
            *at = o->next;
            forget_outgoing(in, o);
        }
    }
}

/* PROTOCOL C9: the ack of a lost connection's delivery is void; the message comes again. */
static void ack(struct intake *in, uint64_t delivery_tag, unsigned epoch)
{
    if (!in->broker || epoch != in->epoch) return;
    struct err e = broker_ack(in->broker, delivery_tag);
    if (e.code) lose(in, &e);
}

static struct outgoing *add_outgoing(struct intake *in, enum note_kind kind)
{
    struct outgoing *o = mem_alloc(sizeof *o), **end = &in->outgoing;
    o->kind = kind;
    while (*end) end = &(*end)->next;
    return *end = o;
}

/* A message that is no chunk: to the dead letters as it came, with the reason. One of a newer
 * version waits for a worker that can read it (PROTOCOL C2), which is said once a minute. */
static void pass_undecoded(struct intake *in, const struct broker_event *event, const struct err *e)
{
    bool newer = e->code == ERR_NEWER;
    struct outgoing *o = add_outgoing(in, newer ? NOTE_COPY : NOTE_DEAD);
    o->delay_s = newer ? START_WAIT_DELAY_S : 0;
    o->body = mem_alloc(event->body_len);
    if (event->body_len) memcpy(o->body, event->body, event->body_len);
    o->body_len = event->body_len;
    o->consumer = event->consumer;
    snprintf(o->key, sizeof o->key, "%s", in->queues.items[event->consumer].key);
    o->delivery_tag = event->delivery_tag;
    o->epoch = in->epoch;
    snprintf(o->reason, sizeof o->reason, "%s", e->text);
    log_text(o->message_id, sizeof o->message_id, event->message_id, strlen(event->message_id));
    if (!newer)
        log_error("broker", "msg=\"dead letter\" bytes=%zu reason=\"%s\"", event->body_len,
                  e->text);
    else if (clock_boot_us() >= in->say_newer_at_us) {
        in->say_newer_at_us = clock_boot_us() + SAY_NEWER_EVERY_US;
        log_warn("broker", "msg=\"left to a newer worker\" reason=\"%s\"", e->text);
    }
}

/* Only the producer writes that header: a copy that went through a delay queue has none. */
static int64_t published_us(const struct intake *in)
{
    char text[24];
    bool there = broker_header_get(in->broker, BROKER_HEADER_PUBLISHED, text, sizeof text);
    return there ? strtoll(text, NULL, 10) : 0;
}

static void on_delivery(struct intake *in, const struct broker_event *event)
{
    struct chunk_message message;
    if (!event->body) {
        log_error("broker", "msg=\"dead letter, too large to read\" bytes=%zu", event->body_len);
        struct err e = broker_reject(in->broker, event->delivery_tag);
        if (e.code) lose(in, &e);
        return;
    }
    in->in_hand++;
    in->queues.items[event->consumer].in_hand++;
    struct err e = chunk_decode(event->body, event->body_len, &message);
    if (e.code) {
        pass_undecoded(in, event, &e);
        return;
    }
    struct job *job = job_new(&message, event->body, event->body_len);
    job->consumer = event->consumer;
    job->key = in->queues.items[event->consumer].key;
    job->delivery_tag = event->delivery_tag;
    job->epoch = in->epoch;
    job->published_us = published_us(in);
    queue_push(in->config.to_ledger, (struct note){.kind = NOTE_CLAIM, .job = job});
}

static struct err write_retry(struct intake *in, const struct job *job)
{
    const struct chunk_message *m = &job->message;
    struct buf *b = &in->body;
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
static bool can_retry(struct intake *in, struct job *job)
{
    struct err e = write_retry(in, job);
    if (!e.code) return true;
    log_error("broker", "msg=\"no retry message\" run=%" PRIu64 " chunk=%u err=\"%s\"",
              job->message.run, job->message.chunk, e.text);
    queue_push(in->config.to_ledger, (struct note){.kind = NOTE_RETRY_CONFIRMED, .job = job});
    return false;
}

/* The message as it is to be published; borrows from o, its job and in->body. */
static struct broker_message message_of(struct intake *in, struct outgoing *o,
                                        char exchange[BROKER_QUEUE_SIZE],
                                        struct broker_header *reason)
{
    struct broker_message m = {
        .message_id = o->message_id,
        .exchange = broker_delay_exchange(exchange, o->delay_s),
        .routing_key = o->key,
        .body = o->job ? o->job->body : o->body,
        .body_len = o->job ? o->job->body_len : o->body_len,
    };
    if (o->kind == NOTE_RETRY) {
        (void)write_retry(in, o->job); /* can_retry has seen that it fits */
        m.body = in->body.data;
        m.body_len = in->body.len;
    } else if (o->kind == NOTE_PARK) {
        m.exchange = BROKER_EXCHANGE;
    } else if (o->kind == NOTE_DEAD) {
        *reason = (struct broker_header){BROKER_HEADER_REASON, o->reason};
        m.exchange = BROKER_EXCHANGE_DEAD;
        m.headers = reason;
        m.n_headers = 1;
    }
    return m;
}

static void publish(struct intake *in, struct outgoing *o)
{
    char exchange[BROKER_QUEUE_SIZE];
    struct broker_header reason;
    struct broker_message m = message_of(in, o, exchange, &reason);
    struct err e = o->kind == NOTE_PARK
                       ? broker_queues_reach_parked(&in->queues, in->broker, o->job->message.run)
                       : broker_queues_reach(&in->queues, in->broker, o->key, o->delay_s);
    if (e.code && e.code != ERR_TIMEOUT)
        log_warn("broker", "msg=\"cannot declare\" err=\"%s\"", e.text);
    bool reached = !e.code;
    if (reached) e = broker_publish(in->broker, &m, &o->tag);
    o->published = !e.code;
    if (e.code == ERR_TIMEOUT || (e.code && !reached))
        o->not_before_us = clock_boot_us() + PUBLISH_AGAIN_US;
    else if (e.code)
        lose(in, &e);
}

static void publish_outgoing(struct intake *in)
{
    int64_t now_us = clock_boot_us();
    for (struct outgoing *o = in->outgoing; o && in->broker; o = o->next) {
        if (o->published || now_us < o->not_before_us) continue;
        publish(in, o);
        if (!in->broker) return; /* and o may be gone */
    }
}

static void confirmed(struct intake *in, uint64_t tag)
{
    struct outgoing **at = &in->outgoing;
    while (*at && !((*at)->published && (*at)->tag == tag)) at = &(*at)->next;
    struct outgoing *o = *at;
    if (!o) return;
    *at = o->next;
    if (o->kind == NOTE_PARK) FAULT_POINT("parked_not_acked");
    if (o->kind == NOTE_RETRY) FAULT_POINT("retry_published");
    if (o->kind == NOTE_RETRY) { /* PROTOCOL C7: now the attempt may be closed */
        queue_push(in->config.to_ledger,
                   (struct note){.kind = NOTE_RETRY_CONFIRMED, .job = o->job});
        free(o);
        return;
    }
    uint64_t delivery_tag = o->delivery_tag;
    unsigned epoch = o->epoch;
    forget_outgoing(in, o);
    ack(in, delivery_tag, epoch); /* last: it may lose the connection, and what is still outgoing */
}

/* Mostly a delay queue that nobody has declared yet. */
static void refused(struct intake *in, const struct broker_event *event)
{
    for (struct outgoing *o = in->outgoing; o; o = o->next) {
        if (!o->published || o->tag != event->publish_tag) continue;
        log_warn("broker", "msg=\"publish refused, will be repeated\" id=%s reason=\"%s\"",
                 o->message_id, event->reason);
        o->published = false;
        o->not_before_us = clock_boot_us() + PUBLISH_AGAIN_US;
        broker_queues_refused(&in->queues);
        return;
    }
}

static void on_event(struct intake *in, const struct broker_event *event)
{
    switch (event->kind) {
    case BROKER_DELIVERY:
        on_delivery(in, event);
        break;
    case BROKER_CONFIRMED:
        confirmed(in, event->publish_tag);
        break;
    case BROKER_REFUSED:
        refused(in, event);
        break;
    case BROKER_CANCELLED:
        log_warn("broker", "msg=\"the broker ended our consumer\" key=%s reason=\"%s\"",
                 in->queues.items[event->consumer].key, event->reason);
        broker_queues_cancelled(&in->queues, event->consumer);
        reconnect_later(in);
        break;
    case BROKER_BLOCKED:
        log_warn("broker", "msg=\"the broker asks publishers to wait\" reason=\"%s\"",
                 event->reason);
        break;
    case BROKER_UNBLOCKED:
        log_info("broker", "msg=\"the broker takes messages again\"");
        break;
    case BROKER_NONE:
    case BROKER_LOST:
        break;
    }
}

static void take_events(struct intake *in)
{
    struct broker_event event;
    for (int i = 0; i < EVENTS_AT_ONCE && in->broker; i++) {
        struct err e = broker_next(in->broker, 0, &event);
        if (e.code) {
            lose(in, &e);
        } else if (event.kind == BROKER_NONE) {
            return;
        } else {
            on_event(in, &event);
        }
    }
}

/* To be published: the job's message, or its retry. */
static void pass_on(struct intake *in, const struct note *note)
{
    struct job *job = note->job;
    struct outgoing *o = add_outgoing(in, note->kind);
    o->job = job;
    o->delay_s = (int)note->value;
    o->consumer = job->consumer;
    if (note->kind == NOTE_PARK)
        broker_parked_key(o->key, job->message.run);
    else
        job_key(o->key, job);
    o->delivery_tag = job->delivery_tag;
    o->epoch = job->epoch;
    memcpy(o->reason, job->reason, sizeof o->reason);
    chunk_message_id(o->message_id, job->message.run, job->message.chunk,
                     job->message.attempt + (note->kind == NOTE_RETRY ? 1 : 0));
}

static void on_note(struct intake *in, const struct note *note)
{
    struct job *job = note->job;
    switch (note->kind) {
    case NOTE_ACK:
        FAULT_POINT("closed_not_acked");
        ack(in, job->delivery_tag, job->epoch);
        let_go(in, job->consumer);
        job_free(job);
        break;
    case NOTE_COPY:
    case NOTE_PARK:
    case NOTE_DEAD:
        if (in->broker && job->epoch == in->epoch) {
            pass_on(in, note);
            break;
        }
        let_go(in, job->consumer);
        job_free(job); /* PROTOCOL C9, C10: the message comes again by itself */
        break;
    case NOTE_RETRY:
        if (can_retry(in, job)) pass_on(in, note);
        break;
    case NOTE_TRANSPORT:
        in->queues.items[note->index].down = note->value == HEALTH_DOWN;
        break;
    case NOTE_STOP:
        in->ledger_is_through = true;
        in->failed |= note->value != 0;
        if (!in->stopping) in->stop_by_us = clock_boot_us() + STOP_GRACE_US;
        in->stopping = true;
        break;
    default:
        abort();
    }
}

static void take_notes(struct intake *in)
{
    struct note notes[NOTES_AT_ONCE];
    size_t n = queue_pop(in->config.inbox, notes, NOTES_AT_ONCE);
    for (size_t i = 0; i < n; i++) on_note(in, &notes[i]);
}

/* A queue that cannot be declared as it should be leaves the connection usable: what is published
 * or acknowledged over it is not held up. Where it is lost, broker_next says so. */
static void consume(struct intake *in)
{
    if (broker_queues_settled(&in->queues)) return;
    struct err e = broker_queues_mend(&in->queues, in->broker);
    if (!e.code) {
        in->tries = 0;
        return;
    }
    log_warn("broker", "msg=\"cannot consume\" tries=%d err=\"%s\"", in->tries, e.text);
    reconnect_later(in);
}

/* What is in hand is given back; the loop ends when nothing is left, or the time for it is over. */
static void begin_stop(struct intake *in)
{
    in->stopping = true;
    METRICS_SET(stopping, true);
    in->stop_by_us = clock_boot_us() + in->config.settings->worker.drain_ms * 1000 + STOP_GRACE_US;
    if (in->broker) {
        struct err e = broker_queues_stop(&in->queues, in->broker);
        if (e.code && e.code != ERR_TIMEOUT) lose(in, &e);
    }
    take_events(in); /* deliveries that were on the way: the ledger gives them back */
    queue_push(in->config.to_ledger, (struct note){.kind = NOTE_STOP});
}

/* RabbitMQ may refuse us for a password that was rotated, which is read again; or for good. */
static void cannot_connect(struct intake *in, const struct err *e)
{
    log_warn("broker", "msg=\"no broker\" tries=%d err=\"%s\"", in->tries, e->text);
    reconnect_later(in);
    if (!broker_err_is_permanent(e)) {
        login_accepted(&in->login);
        return;
    }
    bool go_on = login_refused(&in->login);
    in->config.broker.password = login_password(&in->login);
    if (go_on || in->stopping) return;
    log_error("broker", "msg=\"RabbitMQ refuses the login: this worker ends\" err=\"%s\"", e->text);
    in->failed = true;
    begin_stop(in);
}

/* Connects and consumes again where that is due. Jobs of a lost connection are finished first, so
 * that what is in hand stays bounded. */
static void mend(struct intake *in)
{
    if (clock_boot_us() < in->reconnect_at_us) return;
    if (!in->broker) {
        struct err e = broker_open(&in->broker, &in->config.broker);
        if (e.code) {
            cannot_connect(in, &e);
            return;
        }
        login_accepted(&in->login);
        in->epoch++;
        METRICS_SET(broker_connected, true);
        log_info("broker", "msg=\"connected\" epoch=%u", in->epoch);
    }
    if (!in->stopping) consume(in);
}

static void on_signal(struct intake *in)
{
    struct signalfd_siginfo info;
    if (read(in->config.signal_fd, &info, sizeof info) != sizeof info || in->stopping) return;
    log_info("consumer", "msg=\"stopping\" signal=%u in_hand=%d", info.ssi_signo, in->in_hand);
    begin_stop(in);
}

static void wait_for_work(struct intake *in)
{
    struct pollfd fds[3] = {
        {.fd = queue_fd(in->config.inbox), .events = POLLIN},
        {.fd = in->config.signal_fd, .events = POLLIN},
        {.fd = in->broker ? broker_fd(in->broker) : -1, .events = POLLIN},
    };
    bool settled = in->broker && broker_queues_settled(&in->queues) && !in->outgoing;
    int timeout_ms = in->broker && broker_has_buffered(in->broker) ? 0 : settled ? POLL_MS : 50;
    if (poll(fds, 3, timeout_ms) > 0 && fds[1].revents) on_signal(in);
}

bool intake_run(const struct intake_config *config, struct broker *broker)
{
    struct intake in = {.config = *config, .broker = broker};
    buf_init(&in.body, CHUNK_BODY_MAX);
    login_init(&in.login, config->settings, LOGIN_BROKER);
    broker_queues_init(&in.queues, config->settings);
    while (!(in.ledger_is_through && !in.outgoing)) {
        mend(&in);
        wait_for_work(&in);
        take_events(&in);
        take_notes(&in);
        publish_outgoing(&in);
        METRICS_SET(chunks_in_hand, in.in_hand);
        pulse_beat(PULSE_BROKER);
        pulse_report();
        if (in.stopping && clock_boot_us() > in.stop_by_us) break;
    }
    pulse_end(PULSE_BROKER);
    bool clean = in.ledger_is_through && !in.outgoing && in.in_hand == 0;
    if (!clean) log_warn("consumer", "msg=\"stopped with work in hand\" in_hand=%d", in.in_hand);
    broker_close(in.broker);
    broker_queues_fini(&in.queues);
    buf_fini(&in.body);
    login_fini(&in.login);
    return clean && !in.failed;
}
