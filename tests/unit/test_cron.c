/* Cron expressions: what is refused, and when the others occur. tests/system/test_cron_oracle.py
 * compares thousands more with another program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/clock.h"
#include "common/cron.h"

static void parse(const char *text, struct cron *out)
{
    struct err e = cron_parse(text, out);
    assert_string_equal(e.text, "");
}

static struct zone *load(const char *name)
{
    struct zone *zone = NULL;
    struct err e = zone_load(&zone, name);
    assert_string_equal(e.text, "");
    return zone;
}

static int64_t utc(const char *iso)
{
    int64_t utc_s;
    if (!clock_iso_parse(iso, &utc_s)) fail_msg("'%s' is no time", iso);
    return utc_s;
}

/* ---- what is refused */

struct bad {
    const char *text, *says;
};

static const struct bad bad[] = {
    {"", "column 1: there are 0 fields, five are needed"},
    {"* * *", "column 6: there are 3 fields, five are needed: minute, hour, day of month, month"},
    {"*", "column 2: there is 1 field, five"},
    {"* * * * * /bin/mail", "column 11: there are more than five fields"},
    {"61 * * * *", "column 1: '61' is not a minute: 0 to 59 are"},
    {"0 24 * * *", "column 3: '24' is not an hour: 0 to 23 are"},
    {"0 9,13,24 * * *", "column 8: '24' is not an hour"},
    {"0 0 0 * *", "column 5: '0' is not a day of the month: 1 to 31 are"},
    {"0 0 32 * *", "column 5: '32' is not a day of the month"},
    {"0 0 1 13 *", "column 7: '13' is not a month: 1 to 12 or jan and so on are"},
    {"0 0 1 foo *", "column 7: 'foo' is not a month"},
    {"0 0 * * 8", "column 9: '8' is not a day of the week: 0 to 7 or sun and so on are"},
    {"0 0 * * jan", "column 9: 'jan' is not a day of the week"},
    {"0 0 * * monday", "column 9: 'monday' is not a day of the week"},
    {"jan * * * *", "column 1: 'jan' is not a minute"},
    {"100000000000000000000 * * * *", "column 1: '10000000000000000000' is not a minute"},
    {"1,,2 * * * *", "column 3: a minute is missing: 0 to 59"},
    {", * * * *", "column 1: a minute is missing"},
    {"0 9, * * *", "column 5: an hour is missing"},
    {"5- * * * *", "column 3: a minute is missing"},
    {"-5 * * * *", "column 1: a minute is missing"},
    {"0 0 * */ *", "column 9: '' is not a step: 1 to 12 are"},
    {"*/0 * * * *", "column 3: '0' is not a step: 1 to 59 are"},
    {"*/60 * * * *", "column 3: '60' is not a step: 1 to 59 are"},
    {"*/99999999999999999999 * * * *", "column 3: '99999999999999999999' is not a step"},
    {"*/5x * * * *", "column 3: '5x' is not a step"},
    {"*/-5 * * * *", "column 3: '' is not a step"},
    {"*/2/3 * * * *", "column 4: a comma or a blank is expected here"},
    {"5/15 * * * *", "column 2: a step needs a range: 5-59/..., or */..."},
    {"** * * * *", "column 2: a comma or a blank is expected here"},
    {"*-5 * * * *", "column 2: a comma or a blank is expected here"},
    {"1-5-9 * * * *", "column 4: a comma or a blank is expected here"},
    {"22-2 * * * *", "column 1: the range '22-2' runs backwards; write two, with a comma"},
    {"0 0 * * fri-mon", "column 9: the range 'fri-mon' runs backwards"},
    {"0 0 * nov-feb *", "column 7: the range 'nov-feb' runs backwards"},
    {"? * * * *", "column 1: '?' is not a minute"},
    {"0 0 L * *", "column 5: 'L' is not a day of the month"},
    {"0 0 30 2 *", "column 5: there is no such day in any of these months"},
    {"0 0 31 2,4,6,9,11 *", "column 5: there is no such day in any of these months"},
    {"0 0 30,31 feb */2", "column 5: there is no such day in any of these months"},
    {"@reboot", "column 1: '@reboot' is not known; @hourly, @daily"},
    {"@", "column 1: '@' is not known"},
    {" @daily 5", "column 9: nothing stands behind @daily"},
    {"0 0 1\n* *", "column 10: there are 4 fields"},
};

static void expressions_are_refused_with_their_column(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cron cron;
        struct err e = cron_parse(bad[i].text, &cron);
        if (e.code != ERR_INPUT || strncmp(e.text, bad[i].says, strlen(bad[i].says)) != 0)
            fail_msg("'%s': '%s', not '%s'", bad[i].text, e.text, bad[i].says);
    }
}

/* ---- what is the same */

static const struct {
    const char *one, *other;
} same[] = {
    {"@hourly", "0 * * * *"},
    {"@daily", "0 0 * * *"},
    {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"},
    {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
    {" @DAILY\t", "0 0 * * *"},
    {"\t0  9\t* * * ", "0 9 * * *"},
    {"0 0 * * 7", "0 0 * * 0"},
    {"0 0 * * sat-sun", "0 0 * * 6,0"},
    {"0 0 * * 5-7", "0 0 * * fri,SAT,Sun"},
    {"0 0 * * 0-7", "0 0 * * 0-6"},
    {"0 0 * jan-DEC *", "0 0 * 1-12 *"},
    {"0 0 * jan,3,mAy *", "0 0 * 1,3,5 *"},
    {"*/20,5 * * * *", "0,5,20,40 * * * *"},
    {"1-10/3 * * * *", "1,4,7,10 * * * *"},
    {"07 09 01 * *", "7 9 1 * *"},
    {"0 0 */7 * *", "0 0 */7 * */1"},
};

static void spellings_mean_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct cron a, b;
        parse(same[i].one, &a);
        parse(same[i].other, &b);
        if (a.minutes != b.minutes || a.hours != b.hours || a.days != b.days ||
            a.months != b.months || a.weekdays != b.weekdays || a.either_day != b.either_day)
            fail_msg("'%s' is not '%s'", same[i].one, same[i].other);
    }
}

/* ---- when they occur */

struct row {
    const char *text, *zone, *after;
    const char *next[4]; /* all occurrences from there on, until NULL */
};

static const struct row rows[] = {
    {"0 9,13,17 * * *",
     "Asia/Seoul",
     "2026-11-23T00:00:00Z",
     {"2026-11-23T04:00:00Z", "2026-11-23T08:00:00Z", "2026-11-24T00:00:00Z"}},
    {"* * * * *", "UTC", "2026-01-01T00:00:00Z", {"2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"}},
    {"* * * * *", "UTC", "2025-12-31T23:59:59Z", {"2026-01-01T00:00:00Z"}},
    /* either day */
    {"0 0 13 * fri",
     "UTC",
     "2026-11-01T00:00:00Z",
     {"2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"}},
    {"0 0 30 2 mon", "UTC", "2026-02-03T00:00:00Z", {"2026-02-09T00:00:00Z"}},
    /* both days: a day field that begins with a * */
    {"0 0 */2 * mon",
     "UTC",
     "2026-11-01T00:00:00Z",
     {"2026-11-09T00:00:00Z", "2026-11-23T00:00:00Z", "2026-12-07T00:00:00Z"}},
    {"0 0 13 * *", "UTC", "2026-11-13T00:00:00Z", {"2026-12-13T00:00:00Z"}},
    /* leap years; 2100 is none; the 50 years are enough for every 29 February */
    {"0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", {"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
    {"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", {"2104-02-29T00:00:00Z"}},
    {"0 0 29 2 */7", "UTC", "2088-03-01T00:00:00Z", {"2128-02-29T00:00:00Z"}},
    {"0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", {"2026-03-31T00:00:00Z"}},
    /* the clocks skip 02:00 to 03:00: once, as soon as they have done so */
    {"30 2 * * *",
     "Europe/Berlin",
     "2026-03-28T00:00:00Z",
     {"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
    {"0,20,40 2 * * *",
     "Europe/Berlin",
     "2026-03-28T12:00:00Z",
     {"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
    {"0 2,3 * * *",
     "Europe/Berlin",
     "2026-03-28T12:00:00Z",
     {"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T01:00:00Z"}},
    {"*/30 * * * *",
     "Europe/Berlin",
     "2026-03-29T00:30:00Z",
     {"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"}},
    /* they skip midnight */
    {"@daily",
     "Africa/Cairo",
     "2026-04-23T12:00:00Z",
     {"2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"}},
    /* they skip half an hour; a whole day */
    {"15 2 * * *",
     "Australia/Lord_Howe",
     "2026-10-03T00:00:00Z",
     {"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
    {"0 12 * * *",
     "Pacific/Apia",
     "2011-12-29T00:00:00Z",
     {"2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"}},
    /* the clocks repeat 02:00 to 03:00: once, the first time */
    {"30 2 * * *",
     "Europe/Berlin",
     "2026-10-24T12:00:00Z",
     {"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
    {"30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", {"2026-10-26T01:30:00Z"}},
    {"*/30 * * * *",
     "Europe/Berlin",
     "2026-10-25T00:00:00Z",
     {"2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"}},
    {"45 * * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", {"2026-10-25T02:45:00Z"}},
    /* a rule that no file lists the changes of */
    {"0 9 * * *",
     "Europe/Berlin",
     "2150-03-27T12:00:00Z",
     {"2150-03-28T08:00:00Z", "2150-03-29T07:00:00Z"}},
};

static void occurrences_follow_one_another(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct cron cron;
        struct zone *zone = load(row->zone);
        int64_t at_s = utc(row->after), before_s;
        parse(row->text, &cron);
        for (int n = 0; n < 4 && row->next[n]; n++) {
            char iso[CLOCK_ISO_SIZE];
            assert_true(cron_next(&cron, zone, at_s, &at_s));
            if (at_s != utc(row->next[n]))
                fail_msg("'%s' in %s: %s, not %s", row->text, row->zone,
                         clock_iso_format(at_s, iso), row->next[n]);
            assert_true(cron_previous(&cron, zone, at_s + 1, &before_s));
            assert_int_equal(before_s, at_s);
            assert_true(cron_previous(&cron, zone, at_s, &before_s));
            assert_true(n ? before_s == utc(row->next[n - 1]) : before_s <= utc(row->after));
        }
        zone_free(zone);
    }
}

/* Walking back meets what walking forth met, also from between two, over some years of changes. */
static void previous_is_the_mirror_of_next(void **state)
{
    (void)state;
    static const char *const texts[] = {"*/17 0-4 * * *", "30 2 * * sun", "0 0 1,15,31 * */3",
                                        "59 23 28-31 */2 *"};
    static const char *const zones[] = {"Europe/Berlin", "America/St_Johns", "Africa/Casablanca",
                                        "Australia/Lord_Howe", "UTC"};
    enum { MOST = 4000 };
    static int64_t met[MOST];
    for (size_t i = 0; i < 20; i++) {
        struct cron cron;
        struct zone *zone = load(zones[i / 4]);
        int64_t at_s = utc("2024-01-01T00:00:00Z"), until_s = utc("2026-01-01T00:00:00Z");
        int n = 0;
        parse(texts[i % 4], &cron);
        while (n < MOST && cron_next(&cron, zone, at_s, &at_s) && at_s < until_s) met[n++] = at_s;
        assert_in_range(n, 5, MOST);
        at_s = met[n - 1] + 1;
        while (n) {
            int64_t between_s = n < 2 ? at_s : met[n - 2] + (met[n - 1] - met[n - 2] + 1) / 2;
            assert_true(cron_previous(&cron, zone, at_s, &at_s));
            assert_int_equal(at_s, met[--n]);
            assert_true(cron_previous(&cron, zone, between_s, &between_s));
            assert_int_equal(between_s, met[n ? n - 1 : 0]);
        }
        zone_free(zone);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_are_refused_with_their_column),
        cmocka_unit_test(spellings_mean_the_same),
        cmocka_unit_test(occurrences_follow_one_another),
        cmocka_unit_test(previous_is_the_mirror_of_next),
    };
    return cmocka_run_group_tests_name("cron", tests, NULL, NULL);
}
