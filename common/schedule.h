/* When a campaign's runs begin: cron expressions in a time zone. Pure once compiled. */
#ifndef MAILFLOCK_SCHEDULE_H
#define MAILFLOCK_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/cron.h"
#include "common/zone.h"

/* An occurrence is a moment that one or more of the expressions give. */
struct schedule {
    struct conf_texts expressions; /* as written, as timezone is; none: nothing ever occurs */
    char *timezone;
    int64_t start_within_ms; /* an occurrence later than this is missed; whole seconds */
    struct cron *crons;      /* of the expressions, and the zone: owned; see schedule_free */
    struct zone *zone;
};

/* schedule_compile: makes crons and zone of the texts. On failure they are unset, and *wrong is the
 * number of the expression that cannot be parsed, or the number of expressions where it is the time
 * zone; errors as of cron_parse and zone_load. */
struct err schedule_compile(struct schedule *s, size_t *wrong) MUST_CHECK;

/* schedule_free: frees what schedule_compile made; harmless on a zeroed struct. */
void schedule_free(struct schedule *s);

/* schedule_next, schedule_previous: the nearest occurrence after, or before, a moment in UTC
 * seconds. False where there is none. */
bool schedule_next(const struct schedule *s, int64_t after_s, int64_t *at_s);
bool schedule_previous(const struct schedule *s, int64_t before_s, int64_t *at_s);

/* schedule_digest: of expressions and time zone; another one: the schedule was changed. */
uint64_t schedule_digest(const struct schedule *s);

#endif
