/* The rule at the end of a zone file, which says how its clocks go on after the last change that
 * the file lists: a POSIX TZ text such as CET-1CEST,M3.5.0,M10.5.0/3 (RFC 8536, 3.3). Pure. */
#ifndef MAILFLOCK_ZONE_RULE_H
#define MAILFLOCK_ZONE_RULE_H

#include <stdbool.h>
#include <stdint.h>

/* A day of every year and a time of it. */
struct zone_rule_change {
    enum { ZONE_RULE_WEEKDAY, ZONE_RULE_DAY, ZONE_RULE_DAY_NO_LEAP } kind;
    /* WEEKDAY: the given weekday (0 = Sunday) of week 1 to 5 (5 = the last one) of a month. */
    int month, week, weekday;
    int day;        /* DAY: 0 to 365. DAY_NO_LEAP: 1 to 365, where 29 February does not count. */
    int32_t time_s; /* from midnight, by the clocks before the change */
};

struct zone_rule {
    int32_t standard_s, summer_s; /* offsets from UTC, positive is east */
    bool has_summer;              /* else standard_s holds all year, and the rest is unset */
    struct zone_rule_change begins, ends;
};

/* zone_rule_parse: false for anything but a whole rule. */
bool zone_rule_parse(const char *text, struct zone_rule *out);

/* zone_rule_moment: when the change happens in that year; before_s is the offset until then. */
int64_t zone_rule_moment(const struct zone_rule_change *change, int64_t year, int32_t before_s);

#endif
