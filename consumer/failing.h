/* Notices when many recipients of a run fail, so that somebody can look before all have. Owned by
 * the ledger thread, one for each run. Pure: times are CLOCK_BOOTTIME and come from the caller. */
#ifndef MAILFLOCK_FAILING_H
#define MAILFLOCK_FAILING_H

#include <stdbool.h>
#include <stdint.h>

#include "consumer/outcome.h"

enum {
    FAILING_LEAST = 20, /* failed recipients that are worth a line */
    FAILING_SHARE = 10, /* one in so many */
    FAILING_EVERY_S = 60,
};

struct failing {
    uint32_t failed, outcomes; /* of this minute, since the last line */
    int64_t since_us;          /* when it began */
    int64_t next_us;           /* of the next line at the earliest */
    struct outcome last;       /* that failed */
};

/* failing_count: an outcome of the run; true: a line is due. failing_said: it was written. */
bool failing_count(struct failing *f, const struct outcome *outcome, int64_t now_us);
void failing_said(struct failing *f, int64_t now_us);

#endif
