/* One window of unconfirmed messages, bounded in count and bytes. */
#include "producer/publisher.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/chunk.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/start.h"
#include "producer/run_row.h"
#include "producer/stop.h"

enum {
    WINDOW_BYTES = 8 * 1024 * 1024,
    WAIT_MS = 200,
    LOOK_EVERY_US = 5 * 1000000, /* at the run's control, which keeps its connection alive too */
    STOP_PATIENCE_US = 10 * 1000000,
    SAY_WAITING_US = 10 * 1000000,
};

static struct err connect_broker(struct publisher *p)
{
    struct broker_config config = start_broker_config(p->settings, "mailflock-producer");
    TRY(start_broker(p->settings, &config, &p->broker));
    TRY(start_queue(p->broker, p->key));
    return start_delays(p->settings, p->broker, p->content->delays_s, p->content->n_delays);
}

struct err publisher_open(struct publisher *p, const struct settings *settings, struct db *control,
                          const struct content *content)
{
    *p = (struct publisher){.settings = settings, .control = control, .content = content};
    start_key(p->key, content->lane, content->transport);
    db_clock_init(&p->clock);
    struct err e = db_clock_read(&p->clock, control);
    if (!e.code) e = connect_broker(p);
    if (e.code) publisher_close(p);
    return e;
}

void publisher_close(struct publisher *p)
{
    broker_close(p->broker);
    p->broker = NULL;
}

static struct err mark_queued(struct publisher *p)
{
    unsigned n = p->n_confirmed;
    p->n_confirmed = 0;
    return run_row_queued(p->control, p->run, p->confirmed_attempt, p->confirmed, n);
}

/* What was on its way may have arrived or not: it stays planned, and goes out again. */
static struct err reconnect(struct publisher *p, const struct err *loss)
{
    log_warn("publisher",
             "msg=\"lost the broker, connecting again\" run=%" PRIu64 " unconfirmed=%u err=\"%s\"",
             p->run, p->n_flights, loss->text);
    if (p->n_flights) p->missed = true;
    p->n_flights = 0;
    p->flight_bytes = 0;
    p->wait_since_us = 0;
    broker_close(p->broker);
    p->broker = NULL;
    return connect_broker(p);
}

static struct publisher_flight land(struct publisher *p, uint64_t tag)
{
    struct publisher_flight none = {0};
    for (unsigned i = 0; i < p->n_flights; i++) {
        struct publisher_flight f = p->flights[i];
        if (f.tag != tag) continue;
        p->n_flights--;
        memmove(&p->flights[i], &p->flights[i + 1], (p->n_flights - i) * sizeof f);
        p->flight_bytes -= f.bytes;
        p->wait_since_us = 0;
        return f;
    }
    return none;
}

static struct err take_confirmed(struct publisher *p, uint64_t tag)
{
    struct publisher_flight f = land(p, tag);
    if (!f.tag) return err_none();
    if (p->n_confirmed == PUBLISHER_WINDOW || (p->n_confirmed && p->confirmed_attempt != f.attempt))
        TRY(mark_queued(p));
    p->confirmed_attempt = f.attempt;
    p->confirmed[p->n_confirmed++] = f.chunk;
    p->published++;
    return err_none();
}

static void take_refused(struct publisher *p, const struct broker_event *event)
{
    struct publisher_flight f = land(p, event->publish_tag);
    if (!f.tag) return;
    log_text(p->refusal, sizeof p->refusal, event->reason, strlen(event->reason));
    /* One line for all that are refused together. */
    log_write(p->missed ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "publisher",
              "msg=\"refused\" run=%" PRIu64 " chunk=%u attempt=%u reason=\"%s\"", p->run, f.chunk,
              f.attempt, p->refusal);
    p->missed = true;
}

/* One event, waiting for it at most that long; *none tells that there was nothing. */
static struct err take_event(struct publisher *p, int timeout_ms, bool *none)
{
    struct broker_event event;
    char reason[PUBLISHER_REASON_SIZE];
    struct err e = broker_next(p->broker, timeout_ms, &event);
    *none = true;
    if (e.code) return reconnect(p, &e);
    *none = event.kind == BROKER_NONE;
    switch (event.kind) {
    case BROKER_CONFIRMED:
        return take_confirmed(p, event.publish_tag);
    case BROKER_REFUSED:
        take_refused(p, &event);
        return err_none();
    case BROKER_BLOCKED:
        log_text(reason, sizeof reason, event.reason, strlen(event.reason));
        log_warn("publisher", "msg=\"the broker asks to wait\" run=%" PRIu64 " reason=\"%s\"",
                 p->run, reason);
        return err_none();
    case BROKER_UNBLOCKED:
        log_info("publisher", "msg=\"the broker lets publish again\" run=%" PRIu64, p->run);
        return err_none();
    default:
        return err_none();
    }
}

static struct err look_at_control(struct publisher *p, int64_t now_us)
{
    struct run_row row = {.id = p->run};
    if (p->despite_cancel || now_us - p->looked_us < LOOK_EVERY_US) return err_none();
    p->looked_us = now_us;
    TRY(run_row_refresh(p->control, &row));
    if (row.control != RUN_CANCELLED) return err_none();
    p->cancelled = true;
    return err_make(ERR_STATE, 0, "run %" PRIu64 " was cancelled", p->run);
}

static struct err look_at_stop(struct publisher *p, int64_t now_us)
{
    if (!stop_requested()) return err_none();
    if (!p->stop_seen_us) p->stop_seen_us = now_us;
    if (now_us - p->stop_seen_us < STOP_PATIENCE_US) return err_none();
    return err_make(ERR_STATE, 0, "stopped while RabbitMQ had %u chunks to confirm", p->n_flights);
}

/* Waits a little for the broker; gives up only when there is no reason to wait any longer. */
static struct err wait_a_little(struct publisher *p)
{
    bool none;
    TRY(take_event(p, WAIT_MS, &none));
    if (!none) return err_none();
    TRY(mark_queued(p));
    int64_t now_us = clock_boot_us();
    if (!p->wait_since_us) p->wait_since_us = now_us;
    if (p->wait_since_us > 0 && now_us - p->wait_since_us > SAY_WAITING_US) {
        log_warn("publisher", "msg=\"waiting for the broker\" run=%" PRIu64 " unconfirmed=%u",
                 p->run, p->n_flights);
        p->wait_since_us = INT64_MAX; /* said once, until something moves */
    }
    TRY(look_at_control(p, now_us));
    return look_at_stop(p, now_us);
}

static bool window_full(const struct publisher *p, size_t len)
{
    return p->n_flights == PUBLISHER_WINDOW ||
           (p->n_flights && p->flight_bytes + len > WINDOW_BYTES);
}

struct err publisher_put(struct publisher *p, uint32_t chunk, uint32_t attempt, const void *body,
                         size_t len)
{
    char id[CHUNK_MESSAGE_ID_SIZE], now[24];
    struct broker_header published = {BROKER_HEADER_PUBLISHED, now};
    struct broker_message message = {
        .message_id = chunk_message_id(id, p->run, chunk, attempt),
        .exchange = BROKER_EXCHANGE,
        .routing_key = p->key,
        .body = body,
        .body_len = len,
        .headers = &published,
        .n_headers = 1,
    };
    for (;;) {
        uint64_t tag;
        while (window_full(p, len)) TRY(wait_a_little(p));
        snprintf(now, sizeof now, "%" PRId64, db_clock_now_us(&p->clock));
        struct err e = broker_publish(p->broker, &message, &tag);
        if (!e.code) {
            p->flights[p->n_flights++] = (struct publisher_flight){tag, chunk, attempt, len};
            p->flight_bytes += len;
            return err_none();
        }
        if (e.code == ERR_TIMEOUT)
            TRY(wait_a_little(p));
        else if (e.code == ERR_TOO_BIG || e.code == ERR_INPUT)
            return e;
        else
            TRY(reconnect(p, &e));
    }
}

struct err publisher_poll(struct publisher *p)
{
    for (bool none = false; !none;) TRY(take_event(p, 0, &none));
    return mark_queued(p);
}

struct err publisher_tend(struct publisher *p)
{
    TRY(publisher_poll(p));
    return look_at_control(p, clock_boot_us());
}

struct err publisher_settle(struct publisher *p)
{
    while (p->n_flights) TRY(wait_a_little(p));
    return mark_queued(p);
}
