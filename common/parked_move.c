/* Moves the parked messages of one run back. One connection reads and publishes; a message is
 * acknowledged when the broker has confirmed its copy. */
#include "common/parked.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/broker.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/start.h"

enum {
    MOVING_MAX = 64, /* read and not confirmed */
    WAIT_MS = 100,
    LOOK_EVERY_US = 1000000, /* at the run's row */
    /* A worker that has just read that the run is paused mostly parks within that time; what comes
     * later is moved by `due`. The row may be a second older than the last message. */
    YOUNG_S = 4,
    WRITE_LIMIT_US = 30000000, /* for one message, while the socket takes nothing */
};

struct moving {
    uint64_t publish_tag, delivery_tag;
};

struct mover {
    struct db *db;
    uint64_t run;
    struct broker *broker;
    char key[BROKER_KEY_SIZE], parked[BROKER_KEY_SIZE], queue[BROKER_QUEUE_SIZE];
    struct moving moving[MOVING_MAX];
    int n_moving;
    uint64_t moved;
    int64_t look_at_us; /* CLOCK_BOOTTIME */
    bool young;         /* a message was parked in the last seconds */
    bool ending;        /* nothing further is moved */
};

/* The run's row: *go_on is false where it is paused, or nothing of it was parked. */
static struct err look(struct mover *m, bool *go_on)
{
    struct db_result *r;
    m->look_at_us = clock_boot_us() + LOOK_EVERY_US;
    TRY(db_queryf(
        m->db, &r,
        "SELECT r.control<>'paused', p.at > UTC_TIMESTAMP(6) - INTERVAL %d SECOND,"
        " " START_LANE_OF("r.content") ", " START_TRANSPORT_OF(
            "r.content") " FROM parked p JOIN run r ON r.id=p.run_id WHERE p.run_id=%" PRIu64,
        YOUNG_S, m->run));
    *go_on = db_next(r) && db_u64(r, 0);
    if (*go_on) {
        m->young = db_u64(r, 1) != 0;
        start_key(m->key, db_text(r, 2), db_text(r, 3));
    }
    db_result_free(r);
    return err_none();
}

static struct err publish(struct mover *m, const struct broker_event *event)
{
    struct broker_message message = {.message_id = event->message_id,
                                     .exchange = BROKER_EXCHANGE,
                                     .routing_key = m->key,
                                     .body = event->body,
                                     .body_len = event->body_len};
    struct moving *slot = &m->moving[m->n_moving];
    int64_t until_us = clock_boot_us() + WRITE_LIMIT_US;
    struct err e;
    if (!event->body)
        return err_make(ERR_TOO_BIG, 0,
                        "queue %s has a message of %zu bytes, more than can be read", m->queue,
                        event->body_len);
    /* The body is borrowed until the next event, so nothing is read before it is out. */
    do e = broker_publish(m->broker, &message, &slot->publish_tag);
    while (e.code == ERR_TIMEOUT && !broker_is_blocked(m->broker) && clock_boot_us() < until_us);
    if (e.code) return e;
    slot->delivery_tag = event->delivery_tag;
    m->n_moving++;
    return err_none();
}

static struct err confirmed(struct mover *m, uint64_t publish_tag)
{
    int i = 0;
    while (i < m->n_moving && m->moving[i].publish_tag != publish_tag) i++;
    if (i == m->n_moving) return err_none();
    uint64_t delivery_tag = m->moving[i].delivery_tag;
    m->moving[i] = m->moving[--m->n_moving];
    FAULT_POINT("moved_not_acked");
    TRY(broker_ack(m->broker, delivery_tag));
    m->moved++;
    return err_none();
}

/* *empty: there was nothing to be read, and the queue has nothing ready. */
static struct err step(struct mover *m, bool *empty)
{
    struct broker_event event;
    uint32_t ready, consumers;
    *empty = false;
    TRY(broker_next(m->broker, WAIT_MS, &event));
    if (event.kind == BROKER_NONE) {
        if (broker_is_blocked(m->broker))
            return err_make(ERR_TIMEOUT, 0,
                            "RabbitMQ takes no messages now: free its memory or disk");
        if (m->n_moving || m->ending) return err_none();
        TRY(broker_queue_counts(m->broker, m->queue, &ready, &consumers));
        *empty = ready == 0;
        return err_none();
    }
    switch (event.kind) {
    case BROKER_DELIVERY: /* what comes when it is ending goes back when the connection closes */
        return m->ending ? err_none() : publish(m, &event);
    case BROKER_CONFIRMED:
        return confirmed(m, event.publish_tag);
    case BROKER_REFUSED:
        return err_make(ERR_BROKER, 0, "RabbitMQ did not take a message: %s", event.reason);
    case BROKER_CANCELLED: /* the queue was deleted, and is empty by that */
        m->ending = true;
        return err_none();
    default:
        return err_none();
    }
}

/* The consumer ends with the connection, which is closed behind the acks: until then others see
 * that somebody has messages in hand. */
static struct err move(struct mover *m, parked_enough *enough)
{
    bool empty, go_on = true;
    TRY(broker_consume(m->broker, 0, m->parked, MOVING_MAX));
    for (;;) {
        if (!m->ending && clock_boot_us() > m->look_at_us) TRY(look(m, &go_on));
        if (!go_on || (enough && enough())) m->ending = true;
        TRY(step(m, &empty));
        if (m->n_moving) continue;
        if (m->ending || (empty && !m->young)) return err_none();
    }
}

static struct err move_over(struct mover *m, parked_enough *enough)
{
    TRY(broker_declare_parked(m->broker, m->run));
    TRY(start_queue(m->broker, m->key)); /* PROTOCOL P3 */
    return move(m, enough);
}

struct err parked_move(const struct settings *settings, struct db *db, uint64_t run,
                       parked_enough *enough, uint64_t *moved)
{
    struct mover m = {.db = db, .run = run};
    bool go_on;
    *moved = 0;
    TRY(look(&m, &go_on));
    if (!go_on) return err_none();
    broker_queue_name(m.queue, broker_parked_key(m.parked, run));
    struct broker_config config = start_broker_config(settings, "mailflock parked");
    TRY(broker_open(&m.broker, &config));
    struct err e = move_over(&m, enough);
    broker_close(m.broker);
    *moved = m.moved;
    return e;
}
