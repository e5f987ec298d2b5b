/* The broker's queues as one worker uses them: one for each transport of its settings, each with a
 * consumer and a prefetch of its own, and the lane's own queue of earlier versions, which is
 * drained. A transport that is down gives up its consumer; then at most one chunk is asked for at a
 * time, as a probe, and the others wait in their queue. Broker thread only. */
#ifndef MAILFLOCK_BROKER_QUEUES_H
#define MAILFLOCK_BROKER_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/broker.h"
#include "common/settings.h"

struct broker_queue {
    char key[BROKER_KEY_SIZE];
    bool old;      /* of earlier versions: there may be none, and it is not declared */
    bool down;     /* of a transport that is down */
    bool declared; /* over this connection */
    int prefetch;  /* as it is consumed now; 0: it is not */
    int in_hand;   /* its messages that are not acknowledged */
    int64_t look_at_us;
};

/* Queues of parked messages that are remembered as declared; with more they are declared again. */
enum { BROKER_QUEUES_PARKED = 16 };

struct broker_queues {
    const struct settings *settings;
    struct broker_queue *items; /* of the transports, in the order of the settings; the old one */
    int n;
    int delays_s[BROKER_DELAYS_MAX], n_delays; /* declared over this connection */
    uint64_t parked[BROKER_QUEUES_PARKED];     /* runs; the same */
    unsigned n_parked;                         /* that were ever declared over it */
};

/* broker_queues_init: borrows the settings. */
void broker_queues_init(struct broker_queues *q, const struct settings *settings);
void broker_queues_fini(struct broker_queues *q);

/* broker_queues_wanted: the prefetch with which a queue should be consumed now, of which prefetch
 * is the full one; as it is where that is not to be changed yet. Pure. */
int broker_queues_wanted(const struct broker_queue *queue, int prefetch);

/* broker_queues_settled: each is consumed as it should be. */
bool broker_queues_settled(const struct broker_queues *q);

/* broker_queues_mend: declares and consumes as it should be. An error: not all of them could be;
 * the connection may be lost, which broker_next then says. */
struct err broker_queues_mend(struct broker_queues *q, struct broker *b) MUST_CHECK;

/* broker_queues_stop: no new deliveries from any. */
struct err broker_queues_stop(struct broker_queues *q, struct broker *b) MUST_CHECK;

/* broker_queues_cancelled: RabbitMQ ended that consumer. broker_queues_lost: the connection is
 * gone. broker_queues_refused: something that was declared is not there any more. */
void broker_queues_cancelled(struct broker_queues *q, int consumer);
void broker_queues_lost(struct broker_queues *q);
void broker_queues_refused(struct broker_queues *q);

/* broker_queues_take: that consumer got a message. broker_queues_let_go: the message, or what it
 * was in hand for, is over. broker_queues_in_hand: how many are not, of all consumers. */
void broker_queues_take(struct broker_queues *q, int consumer);
void broker_queues_let_go(struct broker_queues *q, int consumer);
int broker_queues_in_hand(const struct broker_queues *q);

/* broker_queues_reach: before a publish: declares the queue of that key and, where delay_s is not
 * 0, that delay queue, unless this connection has done so. */
struct err broker_queues_reach(struct broker_queues *q, struct broker *b, const char *key,
                               int delay_s) MUST_CHECK;

/* broker_queues_reach_parked: the same for the queue of a run's parked messages. */
struct err broker_queues_reach_parked(struct broker_queues *q, struct broker *b,
                                      uint64_t run) MUST_CHECK;

#endif
