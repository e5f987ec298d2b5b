/* The broker thread's loop: the connection, the deliveries, the notes of the ledger. What has to be
 * published before a delivery is acknowledged is in the outbox. */
#include "consumer/intake.h"

#include <poll.h>
#include <stdlib.h>
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
#include "consumer/outbox.h"
#include "consumer/pulse.h"

enum {
    NOTES_AT_ONCE = 64,
    EVENTS_AT_ONCE = 256,
    POLL_MS = 500,
    RECONNECT_BASE_MS = 100,
    RECONNECT_MAX_MS = 5000,
    SAY_NEWER_EVERY_US = 60000000,
    STOP_GRACE_US = 15000000, /* beyond the drain time: commits, copies and acks */
};

struct intake {
    struct intake_config config;
    struct broker *broker; /* NULL while lost */
    unsigned epoch;        /* counts connections: delivery tags of an older one are void */
    struct login login;
    struct broker_queues queues;
    struct outbox outbox;
    bool stopping, ledger_is_through;
    bool failed; /* it ends for a reason of its own, not by a signal */
    int tries;
    int64_t reconnect_at_us, stop_by_us, say_newer_at_us;
};

static void reconnect_later(struct intake *in)
{
    in->reconnect_at_us =
        clock_boot_us() + clock_backoff_ms(in->tries++, RECONNECT_BASE_MS, RECONNECT_MAX_MS) * 1000;
}

static void lose(struct intake *in, const struct err *e)
{
    log_warn("broker", "msg=\"connection lost\" err=\"%s\"", e->text);
    broker_close(in->broker);
    in->broker = NULL;
    METRICS_SET(broker_connected, false);
    broker_queues_lost(&in->queues);
    reconnect_later(in);
    outbox_lost(&in->outbox);
}

/* PROTOCOL C9: the ack of a lost connection's delivery is void; the message comes again. */
static void ack(struct intake *in, uint64_t delivery_tag, unsigned epoch)
{
    if (!in->broker || epoch != in->epoch) return;
    struct err e = broker_ack(in->broker, delivery_tag);
    if (e.code) lose(in, &e);
}

/* A message that is no chunk: to the dead letters as it came, with the reason. One of a newer
 * version waits for a worker that can read it (PROTOCOL C2), which is said once a minute. */
static void pass_undecoded(struct intake *in, const struct broker_event *event, const struct err *e)
{
    bool newer = e->code == ERR_NEWER;
    outbox_add_undecoded(&in->outbox, newer ? NOTE_COPY : NOTE_DEAD, newer ? START_WAIT_DELAY_S : 0,
                         event, in->epoch, e->text);
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
    broker_queues_take(&in->queues, event->consumer);
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

/* The ack comes last: it may lose the connection, and with it what is in the outbox. */
static void confirmed(struct intake *in, uint64_t publish_tag)
{
    struct outbox_delivery due;
    if (outbox_confirmed(&in->outbox, publish_tag, &due)) ack(in, due.tag, due.epoch);
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
        outbox_refused(&in->outbox, event);
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

static void on_note(struct intake *in, const struct note *note)
{
    struct job *job = note->job;
    switch (note->kind) {
    case NOTE_ACK:
        FAULT_POINT("closed_not_acked");
        ack(in, job->delivery_tag, job->epoch);
        broker_queues_let_go(&in->queues, job->consumer);
        job_free(job);
        break;
    case NOTE_COPY:
    case NOTE_PARK:
    case NOTE_DEAD:
        if (in->broker && job->epoch == in->epoch) {
            outbox_add(&in->outbox, note);
            break;
        }
        broker_queues_let_go(&in->queues, job->consumer);
        job_free(job); /* PROTOCOL C9, C10: the message comes again by itself */
        break;
    case NOTE_RETRY:
        outbox_add(&in->outbox, note);
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

static void publish(struct intake *in)
{
    if (!in->broker) return;
    struct err e = outbox_publish(&in->outbox, in->broker);
    if (e.code) lose(in, &e);
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
    log_info("consumer", "msg=\"stopping\" signal=%u in_hand=%d", info.ssi_signo,
             broker_queues_in_hand(&in->queues));
    begin_stop(in);
}

static void wait_for_work(struct intake *in)
{
    struct pollfd fds[3] = {
        {.fd = queue_fd(in->config.inbox), .events = POLLIN},
        {.fd = in->config.signal_fd, .events = POLLIN},
        {.fd = in->broker ? broker_fd(in->broker) : -1, .events = POLLIN},
    };
    bool settled = in->broker && broker_queues_settled(&in->queues) && outbox_is_empty(&in->outbox);
    int timeout_ms = in->broker && broker_has_buffered(in->broker) ? 0 : settled ? POLL_MS : 50;
    if (poll(fds, 3, timeout_ms) > 0 && fds[1].revents) on_signal(in);
}

bool intake_run(const struct intake_config *config, struct broker *broker)
{
    struct intake in = {.config = *config, .broker = broker};
    login_init(&in.login, config->settings, LOGIN_BROKER);
    broker_queues_init(&in.queues, config->settings);
    outbox_init(&in.outbox, &in.queues, config->to_ledger);
    while (!(in.ledger_is_through && outbox_is_empty(&in.outbox))) {
        mend(&in);
        wait_for_work(&in);
        take_events(&in);
        take_notes(&in);
        publish(&in);
        METRICS_SET(chunks_in_hand, broker_queues_in_hand(&in.queues));
        pulse_beat(PULSE_BROKER);
        pulse_report();
        if (in.stopping && clock_boot_us() > in.stop_by_us) break;
    }
    pulse_end(PULSE_BROKER);
    int in_hand = broker_queues_in_hand(&in.queues);
    bool clean = in.ledger_is_through && outbox_is_empty(&in.outbox) && in_hand == 0;
    if (!clean) log_warn("consumer", "msg=\"stopped with work in hand\" in_hand=%d", in_hand);
    broker_close(in.broker);
    outbox_fini(&in.outbox);
    broker_queues_fini(&in.queues);
    login_fini(&in.login);
    return clean && !in.failed;
}
