/* Parsing makes a set of bits of each field; the search goes day by day over wall times that fit,
 * and asks the zone when they happen. */
#include "common/cron.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/civil.h"

enum { FIELDS = 5, MINUTE_S = 60, DAY_MINUTES = 24 * 60, SEARCH_DAYS = 50 * 366 };
enum { DAY_OF_MONTH = 2, MONTH = 3, DAY_OF_WEEK = 4 };

/* ---- parsing */

static const char *const MONTHS[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const WEEKDAYS[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct field {
    const char *name;
    int least, most;
    const char *const *words; /* the first stands for least */
} FIELD[FIELDS] = {{"a minute", 0, 59, NULL},
                   {"an hour", 0, 23, NULL},
                   {"a day of the month", 1, 31, NULL},
                   {"a month", 1, 12, MONTHS},
                   {"a day of the week", 0, 7, WEEKDAYS}};

static const struct {
    const char *name, *text;
} NAMED[] = {{"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
             {"@weekly", "0 0 * * 0"},  {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
             {"@annually", "0 0 1 1 *"}};
enum { N_NAMED = sizeof NAMED / sizeof *NAMED };

/* p goes through text; both for columns. */
struct parser {
    const char *text, *p;
    const struct field *field;
};

#define WRONG_AT(at, parser, ...) wrong((int)((at) - (parser)->text) + 1, __VA_ARGS__)

static struct err wrong(int column, const char *format, ...) __attribute__((format(printf, 2, 3)));

static struct err wrong(int column, const char *format, ...)
{
    char what[200];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return err_make(ERR_INPUT, 0, "column %d: %s", column, what);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The length of what an error shows as one word; 0 at the end of a field. */
static int word_len(const char *p)
{
    return (int)strcspn(p, " \t,-/");
}

static struct err wrong_value(const struct parser *parser, const char *start)
{
    const struct field *f = parser->field;
    int len = word_len(start);
    if (!len)
        return WRONG_AT(start, parser, "%s is missing: %d to %d%s", f->name, f->least, f->most,
                        f->words ? ", or a name" : "");
    return WRONG_AT(start, parser, "'%.*s' is not %s: %d to %d%s%s%s", len > 20 ? 20 : len, start,
                    f->name, f->least, f->most, f->words ? " or " : "", f->words ? f->words[0] : "",
                    f->words ? " and so on are" : " are");
}

static int find_word(const struct field *f, const char *text, int len)
{
    for (int i = 0; f->words && f->words[i]; i++)
        if (len == 3 && strncasecmp(text, f->words[i], 3) == 0) return f->least + i;
    return -1;
}

static struct err take_value(struct parser *parser, int *out)
{
    const char *start = parser->p;
    int len = word_len(start), n = 0;
    *out = find_word(parser->field, start, len);
    parser->p += len;
    if (*out >= 0) return err_none();
    for (int i = 0; i < len; i++) {
        if (!is_digit(start[i]) || n > 99) return wrong_value(parser, start);
        n = n * 10 + (start[i] - '0');
    }
    if (!len || n < parser->field->least || n > parser->field->most)
        return wrong_value(parser, start);
    *out = n;
    return err_none();
}

/* A step that reaches beyond the field would only ever give its first value. */
static struct err take_step(struct parser *parser, int *step)
{
    const char *start = parser->p;
    int len = word_len(start), n = 0, most = parser->field->most;
    for (int i = 0; i < len && is_digit(start[i]) && n <= most; i++) n = n * 10 + (start[i] - '0');
    parser->p += strspn(start, "0123456789");
    if (len && parser->p == start + len && n >= 1 && n <= most) {
        *step = n;
        return err_none();
    }
    return WRONG_AT(start, parser, "'%.*s' is not a step: 1 to %d are", len > 20 ? 20 : len, start,
                    most);
}

/* VALUE or FIRST-LAST; *single where it is one value. */
static struct err take_range(struct parser *parser, int *first, int *last, bool *single)
{
    const char *start = parser->p;
    TRY(take_value(parser, first));
    *last = *first;
    *single = *parser->p != '-';
    if (*single) return err_none();
    parser->p++;
    TRY(take_value(parser, last));
    /* A range can end with a Sunday: sat-sun. */
    if (parser->field == &FIELD[DAY_OF_WEEK] && *last == 0 && *first > 0) *last = 7;
    if (*last >= *first) return err_none();
    return WRONG_AT(start, parser, "the range '%.*s' runs backwards; write two, with a comma",
                    (int)(parser->p - start), start);
}

/* One item of a list, up to the comma or the end of the field. */
static struct err take_item(struct parser *parser, uint64_t *bits)
{
    const char *start = parser->p;
    const struct field *f = parser->field;
    int first = f->least, last = f->most, step = 1;
    bool single = false;
    if (*parser->p == '*')
        parser->p++;
    else
        TRY(take_range(parser, &first, &last, &single));
    if (*parser->p == '/') {
        if (single)
            return WRONG_AT(parser->p, parser, "a step needs a range: %.*s-%d/..., or */...",
                            (int)(parser->p - start), start, f->most);
        parser->p++;
        TRY(take_step(parser, &step));
    }
    for (int n = first; n <= last; n += step) *bits |= UINT64_C(1) << n;
    return err_none();
}

static struct err take_field(struct parser *parser, uint64_t *bits)
{
    *bits = 0;
    for (;;) {
        TRY(take_item(parser, bits));
        if (*parser->p != ',') break;
        parser->p++;
    }
    if (!*parser->p || is_blank(*parser->p)) return err_none();
    return WRONG_AT(parser->p, parser, "a comma or a blank is expected here");
}

static struct err count_fields(const char *text)
{
    int n = 0;
    for (const char *p = text + strspn(text, " \t"); *p; n++) {
        size_t len = strcspn(p, " \t");
        if (n == FIELDS)
            return wrong((int)(p - text) + 1, "there are more than five fields; a command or a "
                                              "year has no place here");
        p += len + strspn(p + len, " \t");
    }
    if (n == FIELDS) return err_none();
    return wrong((int)strlen(text) + 1,
                 "there %s %d field%s, five are needed: minute, hour, day of month, month, day of "
                 "week",
                 n == 1 ? "is" : "are", n, n == 1 ? "" : "s");
}

static struct err take_name(const char *name, const char **text)
{
    size_t blanks = strspn(name, " \t"), len = strcspn(name + blanks, " \t");
    *text = name;
    if (name[blanks] != '@') return err_none();
    for (int i = 0; i < N_NAMED; i++) {
        if (strlen(NAMED[i].name) != len || strncasecmp(name + blanks, NAMED[i].name, len) != 0)
            continue;
        *text = NAMED[i].text;
        const char *rest = name + blanks + len;
        rest += strspn(rest, " \t");
        if (!*rest) return err_none();
        return wrong((int)(rest - name) + 1, "nothing stands behind %s", NAMED[i].name);
    }
    return wrong((int)blanks + 1,
                 "'%.*s' is not known; @hourly, @daily, @midnight, @weekly, "
                 "@monthly, @yearly and @annually are",
                 len > 20 ? 20 : (int)len, name + blanks);
}

static bool has_date(const struct cron *c)
{
    enum { LEAP_YEAR = 2000 };
    for (int month = 1; month <= 12; month++)
        for (int day = 1; day <= civil_month_days(LEAP_YEAR, month); day++)
            if (c->months >> month & 1 && c->days >> day & 1) return true;
    return c->either_day;
}

struct err cron_parse(const char *text, struct cron *out)
{
    struct parser parser = {.text = text};
    uint64_t bits[FIELDS];
    const char *starts[FIELDS];
    TRY(take_name(text, &parser.text));
    TRY(count_fields(parser.text));
    parser.p = parser.text;
    for (int i = 0; i < FIELDS; i++) {
        parser.field = &FIELD[i];
        parser.p += strspn(parser.p, " \t");
        starts[i] = parser.p;
        TRY(take_field(&parser, &bits[i]));
    }
    *out = (struct cron){
        .minutes = bits[0],
        .hours = (uint32_t)bits[1],
        .days = (uint32_t)bits[DAY_OF_MONTH],
        .months = (uint16_t)bits[MONTH],
        .weekdays = (uint8_t)((bits[DAY_OF_WEEK] | bits[DAY_OF_WEEK] >> 7) & 0x7f),
        .either_day = *starts[DAY_OF_MONTH] != '*' && *starts[DAY_OF_WEEK] != '*',
    };
    if (has_date(out)) return err_none();
    return WRONG_AT(starts[DAY_OF_MONTH], &parser, "there is no such day in any of these months");
}

/* ---- searching */

static bool fits_day(const struct cron *c, int64_t days)
{
    struct civil_date date = civil_date(days);
    if (!(c->months >> date.month & 1)) return false;
    bool day = c->days >> date.day & 1, weekday = c->weekdays >> civil_weekday(days) & 1;
    return c->either_day ? day || weekday : day && weekday;
}

/* The first set bit from n on, the last one up to n; -1 without. */
static int bit_from(uint64_t bits, int n)
{
    uint64_t left = n < 64 ? bits >> n << n : 0;
    return left ? __builtin_ctzll(left) : -1;
}

static int bit_until(uint64_t bits, int n)
{
    uint64_t left = bits & (UINT64_MAX >> (63 - n));
    return left ? 63 - __builtin_clzll(left) : -1;
}

/* The first fitting minute of a day from minute on, the last one up to it; -1 without. */
static int minute_from(const struct cron *c, int minute)
{
    int hour = bit_from(c->hours, minute / 60);
    int m = hour == minute / 60 ? bit_from(c->minutes, minute % 60) : -1;
    if (m >= 0) return hour * 60 + m;
    hour = bit_from(c->hours, minute / 60 + 1);
    return hour < 0 ? -1 : hour * 60 + bit_from(c->minutes, 0);
}

static int minute_until(const struct cron *c, int minute)
{
    int hour = bit_until(c->hours, minute / 60);
    int m = hour == minute / 60 ? bit_until(c->minutes, minute % 60) : -1;
    if (m >= 0) return hour * 60 + m;
    hour = minute >= 60 ? bit_until(c->hours, minute / 60 - 1) : -1;
    return hour < 0 ? -1 : hour * 60 + bit_until(c->minutes, 59);
}

/* A search over wall times, by days and minutes. */
struct place {
    int64_t days;
    int minute; /* of the day */
};

static struct place place_of(int64_t wall_s)
{
    int64_t days = civil_day_of(wall_s);
    return (struct place){days, (int)((wall_s - days * CIVIL_DAY_S) / MINUTE_S)};
}

static int64_t wall_of(struct place at)
{
    return at.days * CIVIL_DAY_S + (int64_t)at.minute * MINUTE_S;
}

/* Moves to the first fitting wall time from here on, if there is one until that day. */
static bool seek_next(const struct cron *c, struct place *at, int64_t until)
{
    for (; at->days <= until; at->days++, at->minute = 0) {
        if (!fits_day(c, at->days)) continue;
        int minute = minute_from(c, at->minute);
        if (minute < 0) continue;
        at->minute = minute;
        return true;
    }
    return false;
}

static bool seek_previous(const struct cron *c, struct place *at, int64_t until)
{
    for (; at->days >= until; at->days--, at->minute = DAY_MINUTES - 1) {
        if (!fits_day(c, at->days)) continue;
        int minute = minute_until(c, at->minute);
        if (minute < 0) continue;
        at->minute = minute;
        return true;
    }
    return false;
}

/* Later wall times never happen earlier, so the first one that happens after after_s is it. */
bool cron_next(const struct cron *cron, const struct zone *zone, int64_t after_s, int64_t *at_s)
{
    struct place at = place_of(after_s + zone_offset(zone, after_s));
    int64_t until = at.days + SEARCH_DAYS;
    while (seek_next(cron, &at, until)) {
        *at_s = zone_instant(zone, wall_of(at));
        if (*at_s > after_s) return true;
        at = place_of(wall_of(at) + MINUTE_S);
    }
    return false;
}

/* Begins high enough where the clocks were put back within the last day: what they showed before
 * that is higher than what they show now. */
bool cron_previous(const struct cron *cron, const struct zone *zone, int64_t before_s,
                   int64_t *at_s)
{
    int64_t now_s = before_s + zone_offset(zone, before_s);
    int64_t yesterday_s = before_s + zone_offset(zone, before_s - CIVIL_DAY_S);
    struct place at = place_of(now_s > yesterday_s ? now_s : yesterday_s);
    int64_t until = at.days - SEARCH_DAYS;
    while (seek_previous(cron, &at, until)) {
        *at_s = zone_instant(zone, wall_of(at));
        if (*at_s < before_s) return true;
        at = place_of(wall_of(at) - MINUTE_S);
    }
    return false;
}
