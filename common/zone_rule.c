/* POSIX TZ texts, with what RFC 8536 adds to them: names in angle brackets, and times of change
 * from -167 to 167 hours. */
#include "common/zone_rule.h"

#include <string.h>

#include "common/civil.h"

enum { SUMMER_LEAD_S = 3600, CHANGE_TIME_S = 2 * 3600, HOURS_MAX = 167 };

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool skip(const char **p, char c)
{
    if (**p != c) return false;
    ++*p;
    return true;
}

/* At least three letters, or anything in angle brackets. */
static bool skip_name(const char **p)
{
    const char *start = *p;
    if (skip(p, '<')) {
        *p += strcspn(*p, ">");
        return skip(p, '>');
    }
    while (is_letter(**p)) ++*p;
    return *p - start >= 3;
}

static bool take_number(const char **p, int least, int most, int *out)
{
    int n = 0;
    const char *start = *p;
    for (; **p >= '0' && **p <= '9' && *p - start < 4; ++*p) n = n * 10 + (**p - '0');
    *out = n;
    return *p > start && n >= least && n <= most;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(const char **p, int32_t *out)
{
    bool negative = skip(p, '-');
    if (!negative) skip(p, '+');
    int h, m = 0, s = 0;
    if (!take_number(p, 0, HOURS_MAX, &h)) return false;
    if (skip(p, ':') && !take_number(p, 0, 59, &m)) return false;
    if (skip(p, ':') && !take_number(p, 0, 59, &s)) return false;
    *out = (h * 3600 + m * 60 + s) * (negative ? -1 : 1);
    return true;
}

static bool take_day(const char **p, struct zone_rule_change *c)
{
    if (skip(p, 'M')) {
        c->kind = ZONE_RULE_WEEKDAY;
        return take_number(p, 1, 12, &c->month) && skip(p, '.') && take_number(p, 1, 5, &c->week) &&
               skip(p, '.') && take_number(p, 0, 6, &c->weekday);
    }
    if (skip(p, 'J')) {
        c->kind = ZONE_RULE_DAY_NO_LEAP;
        return take_number(p, 1, 365, &c->day);
    }
    c->kind = ZONE_RULE_DAY;
    return take_number(p, 0, 365, &c->day);
}

static bool take_change(const char **p, struct zone_rule_change *c)
{
    *c = (struct zone_rule_change){.time_s = CHANGE_TIME_S};
    if (!skip(p, ',') || !take_day(p, c)) return false;
    return !skip(p, '/') || take_time(p, &c->time_s);
}

bool zone_rule_parse(const char *text, struct zone_rule *out)
{
    const char *p = text;
    int32_t west_s;
    *out = (struct zone_rule){0};
    if (!skip_name(&p) || !take_time(&p, &west_s)) return false;
    out->standard_s = -west_s;
    if (!*p) return true;
    out->has_summer = true;
    out->summer_s = out->standard_s + SUMMER_LEAD_S;
    if (!skip_name(&p)) return false;
    if (*p != ',') {
        if (!take_time(&p, &west_s)) return false;
        out->summer_s = -west_s;
    }
    return take_change(&p, &out->begins) && take_change(&p, &out->ends) && !*p;
}

static int64_t day_of(const struct zone_rule_change *c, int64_t year)
{
    int64_t new_year = civil_days(year, 1, 1);
    if (c->kind == ZONE_RULE_DAY) return new_year + c->day;
    if (c->kind == ZONE_RULE_DAY_NO_LEAP)
        return new_year + c->day - 1 + (civil_is_leap(year) && c->day > 31 + 28);
    int64_t first = civil_days(year, c->month, 1);
    int day = (c->weekday - civil_weekday(first) + 7) % 7 + 7 * (c->week - 1);
    while (day >= civil_month_days(year, c->month)) day -= 7;
    return first + day;
}

int64_t zone_rule_moment(const struct zone_rule_change *change, int64_t year, int32_t before_s)
{
    return day_of(change, year) * CIVIL_DAY_S + change->time_s - before_s;
}
