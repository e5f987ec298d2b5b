/* The messages that a worker has to publish with confirms: copies to delay queues and of
 * parked chunks, dead letters, retries. Each stands in a list until the broker has confirmed it;
 * what the loss of a connection means for it is PROTOCOL C9. Broker thread only. */
#ifndef MAILFLOCK_OUTBOX_H
#define MAILFLOCK_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/broker.h"
#include "common/buf.h"
#include "consumer/broker_queues.h"
#include "consumer/queue.h"

struct outgoing;

struct outbox {
    struct broker_queues *queues;
    struct queue *to_ledger;
    struct outgoing *first; /* in the order in which they were added */
    struct buf body;        /* retry messages are written here */
    uint64_t unparkable;    /* a run: nothing is parked of it until then (CLOCK_BOOTTIME) */
    int64_t unparkable_until_us;
};

/* A delivery, and the connection (counted by the caller) that it came over. */
struct outbox_delivery {
    uint64_t tag;
    unsigned epoch;
};

/* outbox_init: borrows both. */
void outbox_init(struct outbox *o, struct broker_queues *queues, struct queue *to_ledger);
void outbox_fini(struct outbox *o);

/* outbox_is_empty: nothing waits for the broker. */
bool outbox_is_empty(const struct outbox *o);

/* outbox_add: NOTE_COPY, NOTE_PARK, NOTE_DEAD or NOTE_RETRY; takes the note's job. A retry that
 * cannot be written goes back to the ledger at once as NOTE_RETRY_CONFIRMED. */
void outbox_add(struct outbox *o, const struct note *note);

/* outbox_add_undecoded: a delivery that is no chunk of this version, as it came. kind is NOTE_COPY,
 * into the delay queue of delay_s seconds, or NOTE_DEAD, with the reason. Copies what it needs. */
void outbox_add_undecoded(struct outbox *o, enum note_kind kind, int delay_s,
                          const struct broker_event *event, unsigned epoch, const char *reason);

/* outbox_publish: what is due. An error is a loss of the connection. */
struct err outbox_publish(struct outbox *o, struct broker *b) MUST_CHECK;

/* outbox_confirmed: the broker has the message of that tag, which is over with that. True: *ack is
 * a delivery that may be acknowledged now (PROTOCOL C10). */
bool outbox_confirmed(struct outbox *o, uint64_t publish_tag, struct outbox_delivery *ack);

/* outbox_refused: a BROKER_REFUSED; the message is published again a little later. */
void outbox_refused(struct outbox *o, const struct broker_event *event);

/* outbox_lost: the connection is gone. Retries stay for the next one, the others are over. */
void outbox_lost(struct outbox *o);

#endif
