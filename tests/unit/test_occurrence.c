/* What `due` makes of schedules: merged expressions, and what is due or missed since a mark. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "producer/occurrence.h"

static int64_t utc(const char *iso)
{
    int64_t utc_s;
    if (!clock_iso_parse(iso, &utc_s)) fail_msg("'%s' is no time", iso);
    return utc_s;
}

/* A schedule of up to two expressions; an empty one is left out. */
static struct schedule make(char *texts[2], const char *zone, int within_s)
{
    size_t wrong;
    struct schedule s = {.expressions = {texts, texts[1] ? 2 : texts[0] != NULL},
                         .timezone = (char *)zone,
                         .start_within_ms = within_s * 1000LL};
    struct err e = schedule_compile(&s, &wrong);
    assert_string_equal(e.text, "");
    return s;
}

static void expressions_of_a_schedule_are_merged(void **state)
{
    (void)state;
    struct schedule s = make((char *[]){"0 9 * * *", "0,30 9 * * mon"}, "Asia/Seoul", 900);
    static const char *const want[] = {"2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z",
                                       "2026-11-23T00:30:00Z", "2026-11-24T00:00:00Z"};
    int64_t at_s = utc("2026-11-21T12:00:00Z");
    for (int i = 0; i < 4; i++) {
        assert_true(schedule_next(&s, at_s, &at_s));
        assert_int_equal(at_s, utc(want[i]));
    }
    for (int i = 3; i--;) {
        assert_true(schedule_previous(&s, at_s, &at_s));
        assert_int_equal(at_s, utc(want[i]));
    }
    schedule_free(&s);
    s = make((char *[]){NULL, NULL}, "UTC", 900);
    assert_false(schedule_next(&s, 0, &at_s));
    assert_false(schedule_previous(&s, 0, &at_s));
    schedule_free(&s);
    schedule_free(&s); /* a second time is harmless */
}

static void what_is_wrong_in_a_schedule_is_told(void **state)
{
    (void)state;
    char *texts[] = {"0 9 * * *", "61 9 * * *"};
    struct schedule s = {.expressions = {texts, 2}, .timezone = "UTC"};
    size_t wrong;
    struct err e = schedule_compile(&s, &wrong);
    assert_int_equal(e.code, ERR_INPUT);
    assert_int_equal(wrong, 1);
    s.expressions.count = 1;
    s.timezone = "Asia/Soul";
    e = schedule_compile(&s, &wrong);
    assert_int_equal(e.code, ERR_CONFIG);
    assert_int_equal(wrong, 1);
    assert_null(s.crons);
    assert_null(s.zone);
}

static void another_schedule_has_another_digest(void **state)
{
    (void)state;
    static const struct {
        char *texts[2];
        const char *zone;
    } rows[] = {{{"0 9 * * *"}, "UTC"},
                {{"0 9 * * *"}, "Asia/Seoul"},
                {{"0 19 * * *"}, "UTC"},
                {{"0 9 * * *", "0 9 * * *"}, "UTC"},
                {{NULL}, "UTC"},
                {{"0 9 * * *", "1 9 * * *"}, "UTC"},
                {{"1 9 * * *", "0 9 * * *"}, "UTC"}};
    enum { ROWS = sizeof rows / sizeof *rows };
    uint64_t digests[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        struct schedule s =
            make((char *[]){rows[i].texts[0], rows[i].texts[1]}, rows[i].zone, (int)i);
        digests[i] = schedule_digest(&s);
        for (size_t j = 0; j < i; j++) assert_true(digests[i] != digests[j]);
        s.start_within_ms = 0; /* does not matter */
        assert_true(schedule_digest(&s) == digests[i]);
        schedule_free(&s);
    }
}

/* ---- since a mark */

enum mark { NEW, SAME, CHANGED };

/* Times are of 2026-11-23, in UTC. */
struct row {
    const char *name, *expression;
    int within_s;
    enum mark mark;
    const char *until, *now;  /* the mark's, and the clock; microseconds may follow */
    const char *missed, *due; /* lists with blanks */
};

static const struct row rows[] = {
    {"nothing yet", "0 9 * * *", 900, SAME, "08:58:00", "08:59:00", "", ""},
    {"due on the second", "0 9 * * *", 900, SAME, "08:59:00", "09:00:00", "", "09:00:00"},
    {"settled before", "0 9 * * *", 900, SAME, "09:00:00", "09:01:00", "", ""},
    {"after an outage", "0 9 * * *", 900, SAME, "07:00:00", "09:14:30", "", "09:00:00"},
    {"as late as can be", "0 9 * * *", 900, SAME, "07:00:00", "09:15:00", "", "09:00:00"},
    {"a moment too late", "0 9 * * *", 900, SAME, "07:00:00", "09:15:00.000001", "09:00:00", ""},
    {"some late, some not", "0 * * * *", 900, SAME, "05:30:00", "09:10:00",
     "06:00:00 07:00:00 08:00:00", "09:00:00"},
    {"several in time", "*/5 * * * *", 900, SAME, "08:00:00", "09:02:00",
     "08:05:00 08:10:00 08:15:00 08:20:00 08:25:00 08:30:00 08:35:00 08:40:00 08:45:00",
     "08:50:00 08:55:00 09:00:00"},
    {"soon: waited for", "0 9 * * *", 900, SAME, "08:58:00", "08:59:58.000000", "", "09:00:00"},
    {"not so soon", "0 9 * * *", 900, SAME, "08:58:00", "08:59:57.999999", "", ""},
    {"none at all", "", 900, SAME, "08:00:00", "09:00:00", "", ""},
    {"none at all, new", "", 900, NEW, NULL, "09:00:00", "", ""},
    {"new, before its time", "0 9 * * *", 900, NEW, NULL, "08:59:30", "", ""},
    {"new, in its minute", "0 9 * * *", 900, NEW, NULL, "09:00:59", "", "09:00:00"},
    {"new, after its minute", "0 9 * * *", 900, NEW, NULL, "09:01:00", "", ""},
    {"changed: nothing of the past", "*/10 * * * *", 900, CHANGED, "09:04:00", "09:05:00", "", ""},
    {"changed, in its minute", "0 9 * * *", 900, CHANGED, "09:00:20", "09:00:30", "", "09:00:00"},
    {"changed in an outage", "*/10 * * * *", 900, CHANGED, "06:00:00", "09:05:00", "",
     "08:50:00 09:00:00"},
    {"the clock was put back", "0 9 * * *", 900, SAME, "09:30:00", "09:00:00", "", ""},
    {"a mark from before the last minute", "* * * * *", 60, SAME, "09:00:00", "09:03:00",
     "09:01:00", "09:02:00 09:03:00"},
};

static int64_t of_day(const char *text)
{
    char iso[40];
    snprintf(iso, sizeof iso, "2026-11-23T%.8sZ", text);
    return utc(iso);
}

static void check_list(const char *name, const char *want, const int64_t *got, unsigned n)
{
    unsigned i = 0;
    for (const char *p = want; *p; p += 8 + (p[8] == ' '), i++)
        if (i >= n || got[i] != of_day(p)) fail_msg("%s: %.8s is missing", name, p);
    if (i != n) fail_msg("%s: %u instead of %u", name, n, i);
}

static void occurrences_are_found_since_the_mark(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        char *texts[2] = {*row->expression ? (char *)row->expression : NULL, NULL};
        struct schedule s = make(texts, "UTC", row->within_s);
        struct occurrence_mark mark = {.known = row->mark != NEW,
                                       .digest = schedule_digest(&s) + (row->mark == CHANGED),
                                       .until_s = row->until ? of_day(row->until) : 0};
        int64_t now_us = of_day(row->now) * 1000000;
        if (row->now[8]) now_us += strtol(row->now + 9, NULL, 10);
        struct occurrences found;
        occurrences_find(&s, &mark, now_us, &found);
        check_list(row->name, row->missed, found.missed, found.n_missed);
        check_list(row->name, row->due, found.due, found.n_due);
        assert_int_equal(found.until_s, of_day(row->now));
        assert_false(found.more_missed);
        schedule_free(&s);
    }
}

static void the_newest_of_many_missed_are_found(void **state)
{
    (void)state;
    struct schedule s = make((char *[]){"* * * * *", NULL}, "UTC", 60);
    struct occurrences found;
    for (int more = 0; more < 2; more++) {
        struct occurrence_mark mark = {true, schedule_digest(&s), of_day("09:00:00")};
        int64_t now_s = mark.until_s + (OCCURRENCE_MAX + more + 2) * 60;
        occurrences_find(&s, &mark, now_s * 1000000, &found);
        assert_int_equal(found.n_missed, OCCURRENCE_MAX);
        assert_int_equal(found.more_missed, more);
        assert_int_equal(found.missed[0], of_day("09:01:00") + more * 60);
        assert_int_equal(found.missed[OCCURRENCE_MAX - 1], now_s - 120);
        assert_int_equal(found.n_due, 2);
        assert_int_equal(found.due[1], now_s);
    }
    schedule_free(&s);
}

/* The rest is found when the mark has passed these. */
static void of_many_due_the_oldest_are_found(void **state)
{
    (void)state;
    struct schedule s = make((char *[]){"* * * * *", NULL}, "UTC", 86400);
    struct occurrence_mark mark = {true, schedule_digest(&s), of_day("09:00:00")};
    struct occurrences found;
    int64_t now_s = of_day("15:00:00"), at_s = mark.until_s;
    int rounds = 0;
    for (; mark.until_s < now_s; mark.until_s = found.until_s, rounds++) {
        occurrences_find(&s, &mark, now_s * 1000000, &found);
        assert_int_equal(found.n_missed, 0);
        for (unsigned i = 0; i < found.n_due; i++) assert_int_equal(found.due[i], at_s += 60);
    }
    assert_int_equal(at_s, now_s);
    assert_int_equal(rounds, 4);
    schedule_free(&s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_of_a_schedule_are_merged),
        cmocka_unit_test(what_is_wrong_in_a_schedule_is_told),
        cmocka_unit_test(another_schedule_has_another_digest),
        cmocka_unit_test(occurrences_are_found_since_the_mark),
        cmocka_unit_test(the_newest_of_many_missed_are_found),
        cmocka_unit_test(of_many_due_the_oldest_are_found),
    };
    return cmocka_run_group_tests_name("occurrence", tests, NULL, NULL);
}
