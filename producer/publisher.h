/* Publishes chunk messages with confirms (PROTOCOL P3) and marks their chunks queued (P4). Bodies
 * are not kept: what was refused or lost stays planned, and its owner publishes it again from the
 * audience (P5). Owns the broker connection; after a loss it connects anew within start_limit. */
#ifndef MAILFLOCK_PRODUCER_PUBLISHER_H
#define MAILFLOCK_PRODUCER_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/broker.h"
#include "common/content.h"
#include "common/db.h"
#include "common/db_clock.h"
#include "common/settings.h"

enum { PUBLISHER_WINDOW = 128, PUBLISHER_REASON_SIZE = 160 };

/* A message on its way. */
struct publisher_flight {
    uint64_t tag;
    uint32_t chunk, attempt;
    size_t bytes;
};

struct publisher {
    const struct settings *settings; /* borrowed, as control and content */
    struct db *control;
    const struct content *content;
    char key[BROKER_KEY_SIZE]; /* of the run's chunks */
    uint64_t run;
    struct broker *broker;
    struct publisher_flight flights[PUBLISHER_WINDOW];
    unsigned n_flights;
    size_t flight_bytes;
    uint32_t confirmed[PUBLISHER_WINDOW]; /* not marked queued yet, all of one attempt */
    unsigned n_confirmed, confirmed_attempt;
    uint64_t published;                  /* confirmed, over the whole life */
    bool missed;                         /* something was refused or lost: it is planned still */
    char refusal[PUBLISHER_REASON_SIZE]; /* why the last refused one was refused, or "" */
    bool cancelled;                      /* the run was cancelled while waiting */
    bool despite_cancel;                 /* a cancelled run's rest: go on */
    struct db_clock clock;               /* for BROKER_HEADER_PUBLISHED */
    int64_t looked_us, stop_seen_us, wait_since_us;
};

/* publisher_open: connects and declares the queue of the content with all its delays (P3: every
 * queue first). control is the connection that holds the run's lock. */
struct err publisher_open(struct publisher *p, const struct settings *settings, struct db *control,
                          const struct content *content) MUST_CHECK;
void publisher_close(struct publisher *p);

/* publisher_put: publishes one message of run p->run; waits while the window is full or the broker
 * asks for it, for as long as that lasts. ERR_STATE once the run is cancelled or a wish to stop is
 * older than a few seconds. */
struct err publisher_put(struct publisher *p, uint32_t chunk, uint32_t attempt, const void *body,
                         size_t len) MUST_CHECK;

/* publisher_poll: takes the confirms that are there and marks their chunks queued. */
struct err publisher_poll(struct publisher *p) MUST_CHECK;

/* publisher_tend: the same, for whoever waits for something else: once every while it looks whether
 * the run was cancelled; ERR_STATE then. */
struct err publisher_tend(struct publisher *p) MUST_CHECK;

/* publisher_settle: the same, and waits until no message is on its way; errors as publisher_put. */
struct err publisher_settle(struct publisher *p) MUST_CHECK;

#endif
