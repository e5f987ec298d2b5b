/* Cron expressions: five fields (minute, hour, day of month, month, day of week), or a name such as
 * @daily. docs/schedules.md says what may stand in them. Pure. */
#ifndef MAILFLOCK_CRON_H
#define MAILFLOCK_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/zone.h"

/* Bit n of each set is the value n. */
struct cron {
    uint64_t minutes;
    uint32_t hours;
    uint32_t days;    /* 1 to 31 */
    uint16_t months;  /* 1 to 12 */
    uint8_t weekdays; /* 0 = Sunday */
    bool either_day;  /* one of days and weekdays is enough; else both must fit */
};

/* cron_parse: ERR_INPUT, "column N: ..." where something is wrong with the text; the first column
 * is
 * 1. An expression that no date fits is refused too. */
struct err cron_parse(const char *text, struct cron *out) MUST_CHECK;

/* cron_next: the first occurrence after after_s, UTC. Each wall time of the zone that fits occurs
 * once: where the clocks skip it, when they have done so, and where they repeat it, the first time.
 * False where there is none within 50 years. */
bool cron_next(const struct cron *cron, const struct zone *zone, int64_t after_s, int64_t *at_s);

/* cron_previous: the last occurrence before before_s; false where none is within 50 years. */
bool cron_previous(const struct cron *cron, const struct zone *zone, int64_t before_s,
                   int64_t *at_s);

#endif
