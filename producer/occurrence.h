/* Which occurrences of a schedule `due` has to deal with. The rule is in docs/schedules.md. Pure.
 */
#ifndef MAILFLOCK_PRODUCER_OCCURRENCE_H
#define MAILFLOCK_PRODUCER_OCCURRENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/schedule.h"

enum {
    OCCURRENCE_MAX = 100,       /* of each kind at a time */
    OCCURRENCE_AHEAD_MS = 2000, /* one that comes so soon is waited for */
};

/* What is remembered of a campaign from one `due` to the next. */
struct occurrence_mark {
    bool known;
    uint64_t digest; /* of the schedule as it was then */
    int64_t until_s; /* occurrences up to this second are settled: started or missed */
};

/* Both in the order of time. */
struct occurrences {
    int64_t missed[OCCURRENCE_MAX]; /* too late to be started */
    unsigned n_missed;
    bool more_missed;            /* before those there are others */
    int64_t due[OCCURRENCE_MAX]; /* to be started; the last may lie up to AHEAD in the future */
    unsigned n_due;
    int64_t until_s; /* up to this second, now at most, there are no others */
};

/* occurrences_find: what lies between the mark and now_us, the database's clock. */
void occurrences_find(const struct schedule *schedule, const struct occurrence_mark *mark,
                      int64_t now_us, struct occurrences *out);

#endif
