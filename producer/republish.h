/* Publishes chunks again whose messages are not kept anywhere: their part of the audience is read
 * anew (PROTOCOL P5). */
#ifndef MAILFLOCK_PRODUCER_REPUBLISH_H
#define MAILFLOCK_PRODUCER_REPUBLISH_H

#include <stdint.h>

#include "common/audience.h"
#include "common/chunk.h"
#include "common/db.h"
#include "common/enrich.h"
#include "producer/publisher.h"

/* All borrowed. */
struct republish {
    struct db *control;
    struct audience *audience; /* its place is lost: seek */
    struct enrich *enrich;     /* NULL where the campaign asks no service */
    struct publisher *publisher;
    uint64_t most; /* no more chunks than that */
};

/* Which chunks of run publisher->run. */
enum republish_which {
    REPUBLISH_PLANNED,
    REPUBLISH_OVERDUE,      /* next_due has passed, no live lease; each gets a new next_due (P6) */
    REPUBLISH_LONG_OVERDUE, /* the same, but next_due is hours ago */
};

struct republished {
    uint64_t n;
    struct err unreadable; /* the first chunk's that could not be read again, if there is one */
};

/* republish: publishes them all, in order, or the first of them. What cannot be read again does not
 * hold up the others: it is logged, stays as it was, and goes into *done. An error: the others
 * could not go either. */
struct err republish(const struct republish *r, enum republish_which which,
                     struct republished *done) MUST_CHECK;

/* An SQL condition on a chunk c: what REPUBLISH_OVERDUE means, as long ago as INTERVAL says. */
#define REPUBLISH_OVERDUE_SINCE(interval)                                                          \
    "(c.state IN ('planned', 'queued') AND c.next_due < UTC_TIMESTAMP(6) - INTERVAL " interval     \
    " AND (c.token IS NULL OR c.lease_until < UTC_TIMESTAMP(6)))"

#endif
