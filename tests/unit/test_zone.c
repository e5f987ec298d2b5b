/* Time zones: files of the database, and files that are none. tests/system/test_cron_oracle.py
 * compares every zone with Python's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/civil.h"
#include "common/clock.h"
#include "common/zone.h"
#include "common/zone_rule.h"

static int64_t utc(const char *iso)
{
    int64_t utc_s;
    if (!clock_iso_parse(iso, &utc_s)) fail_msg("'%s' is no time", iso);
    return utc_s;
}

static struct zone *load(const char *name)
{
    struct zone *zone = NULL;
    struct err e = zone_load(&zone, name);
    assert_string_equal(e.text, "");
    return zone;
}

static void days_and_dates_are_each_others_inverse(void **state)
{
    (void)state;
    assert_int_equal(civil_days(1970, 1, 1), 0);
    assert_int_equal(civil_days(2026, 11, 23), 20780);
    assert_int_equal(civil_weekday(20780), 1);
    assert_int_equal(civil_weekday(-1), 3);
    assert_int_equal(civil_day_of(-1), -1);
    assert_int_equal(civil_day_of(CIVIL_DAY_S), 1);
    struct civil_date last = civil_date(civil_days(1899, 12, 31));
    for (int64_t days = civil_days(1900, 1, 1); days < civil_days(2401, 1, 1); days++) {
        struct civil_date d = civil_date(days);
        bool new_month = last.day == civil_month_days(last.year, last.month);
        assert_int_equal(d.day, new_month ? 1 : last.day + 1);
        assert_int_equal(d.month, new_month ? last.month % 12 + 1 : last.month);
        assert_int_equal(d.year, last.year + (new_month && last.month == 12));
        assert_int_equal(civil_days(d.year, d.month, d.day), days);
        last = d;
    }
}

struct row {
    const char *zone, *at;
    int offset_s;
};

static const struct row rows[] = {
    {"UTC", "2026-01-01T00:00:00Z", 0},
    {"Asia/Seoul", "2026-07-01T00:00:00Z", 32400},
    {"Asia/Seoul", "1988-07-01T00:00:00Z", 36000},
    {"Asia/Kathmandu", "2026-01-01T00:00:00Z", 20700},
    {"America/New_York", "2026-03-08T06:59:59Z", -18000},
    {"America/New_York", "2026-03-08T07:00:00Z", -14400},
    {"America/New_York", "2026-11-01T06:00:00Z", -18000},
    {"Europe/Dublin", "2199-07-01T00:00:00Z", 3600}, /* its summer is its standard time */
    {"Europe/Dublin", "2199-12-01T00:00:00Z", 0},
    {"America/Santiago", "2050-01-01T00:00:00Z", -10800}, /* summer in January */
    {"America/Santiago", "2050-07-01T00:00:00Z", -14400},
    {"Etc/GMT-14", "2026-01-01T00:00:00Z", 50400},
};

static void offsets_are_those_of_the_database(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct zone *zone = load(rows[i].zone);
        int offset_s = zone_offset(zone, utc(rows[i].at));
        if (offset_s != rows[i].offset_s)
            fail_msg("%s at %s: %d, not %d", rows[i].zone, rows[i].at, offset_s, rows[i].offset_s);
        zone_free(zone);
    }
}

/* What the clocks skip happens when they skip it; what they repeat, the first time. */
static void an_instant_has_each_wall_time(void **state)
{
    (void)state;
    struct zone *zone = load("Europe/Berlin");
    int64_t gap_s = utc("2026-03-29T01:00:00Z"), fold_s = utc("2026-10-25T01:00:00Z");
    for (int64_t wall_s = gap_s; wall_s < gap_s + 4 * 3600; wall_s += 60) {
        int64_t utc_s = zone_instant(zone, wall_s);
        bool skipped = wall_s >= gap_s + 3600 && wall_s < gap_s + 7200;
        assert_int_equal(utc_s, skipped                 ? gap_s
                                : wall_s < gap_s + 3600 ? wall_s - 3600
                                                        : wall_s - 7200);
    }
    for (int64_t wall_s = fold_s; wall_s < fold_s + 4 * 3600; wall_s += 60)
        assert_int_equal(zone_instant(zone, wall_s),
                         wall_s < fold_s + 7200 ? wall_s - 7200 : wall_s - 3600);
    zone_free(zone);
}

static void names_that_are_no_zone_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"Asia/Soul",   "",
                                        "asia/seoul ", "../../etc/passwd",
                                        "/etc/zones",  "Asia",
                                        "Asia/",       "zone.tab",
                                        "leapseconds", "Asia//Seoul",
                                        "KST-9",       "right/Asia/Seoul"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct zone *zone = NULL;
        struct err e = zone_load(&zone, names[i]);
        assert_null(zone);
        if (e.code != ERR_CONFIG) fail_msg("'%s': %s", names[i], e.text);
    }
    struct zone *zone;
    struct err e = zone_load(&zone, "Asia/Soul");
    assert_non_null(strstr(e.text, "'Asia/Soul' is no time zone of /usr/share/zoneinfo"));
}

static void rules_are_parsed_whole_or_not_at_all(void **state)
{
    (void)state;
    static const char *const good[] = {
        "KST-9",
        "<-03>3",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "EST5EDT,M3.2.0,M11.1.0",
        "IST-1GMT0,M10.5.0,M3.5.0/1",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "EET-2EEST,M3.4.4/50,M10.4.4/50",
        "AAA1:30:15BBB,J60/0,365/24",
        "XXX3EDT4,0/0,J365/23",
    };
    static const char *const wrong[] = {
        "",
        "K-9",
        "KST",
        "KST-9X",
        "<+09-9",
        "KST-168",
        "KST-9KDT",
        "KST-9KDT,M3.2.0",
        "KST-9KDT,M13.2.0,M11.1.0",
        "KST-9KDT,M3.6.0,M11.1.0",
        "KST-9KDT,M3.2.7,M11.1.0",
        "KST-9KDT,J0,M11.1.0",
        "KST-9KDT,366,M11.1.0",
        "KST-9KDT,M3.2.0,M11.1.0,",
        "KST-9:60",
    };
    struct zone_rule rule;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!zone_rule_parse(good[i], &rule)) fail_msg("'%s' is a rule", good[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (zone_rule_parse(wrong[i], &rule)) fail_msg("'%s' is no rule", wrong[i]);
}

static void rules_name_the_day(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        int64_t year;
        const char *moment;
    } days[] = {
        {"M3.2.0", 2026, "2026-03-08T02:00:00Z"},    {"M10.5.0/3", 2026, "2026-10-25T03:00:00Z"},
        {"M2.5.4/-1", 2024, "2024-02-28T23:00:00Z"}, {"M8.1.6/24", 2026, "2026-08-02T00:00:00Z"},
        {"J60/0", 2024, "2024-03-01T00:00:00Z"},     {"J60/0", 2025, "2025-03-01T00:00:00Z"},
        {"J59/0", 2024, "2024-02-28T00:00:00Z"},     {"59/0", 2024, "2024-02-29T00:00:00Z"},
        {"59/0", 2025, "2025-03-01T00:00:00Z"},      {"0/0", 2025, "2025-01-01T00:00:00Z"},
    };
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        char text[64];
        struct zone_rule rule;
        snprintf(text, sizeof text, "AAA0BBB,%s,M12.1.0", days[i].change);
        assert_true(zone_rule_parse(text, &rule));
        int64_t at_s = zone_rule_moment(&rule.begins, days[i].year, 0);
        if (at_s != utc(days[i].moment)) fail_msg("%s: not %s", days[i].change, days[i].moment);
    }
}

/* ---- files that are cut or lie */

static void append_be(struct buf *b, int64_t n, int bytes)
{
    for (; bytes > 8; bytes--) buf_append_char(b, 0);
    while (bytes--) buf_append_char(b, (char)((uint64_t)n >> (8 * bytes)));
}

static void append_header(struct buf *b, char version, int leaps, int times, int types)
{
    const int counts[] = {0, 0, leaps, times, types, 4};
    buf_append_text(b, "TZif");
    buf_append_char(b, version);
    append_be(b, 0, 8);
    append_be(b, 0, 7);
    for (int i = 0; i < 6; i++) append_be(b, counts[i], 4);
}

struct file {
    char version;
    int leaps, types;
    int64_t first_s, second_s, offset_s;
    int chosen;
    const char *footer;
};

/* A zone of two changes, with an empty first part. */
static void write_file(struct buf *b, const struct file *f)
{
    buf_init(b, 4096);
    append_header(b, f->version, 0, 0, 0);
    buf_append(b, "UTC", 4);
    append_header(b, f->version, f->leaps, 2, f->types);
    append_be(b, f->first_s, 8);
    append_be(b, f->second_s, 8);
    append_be(b, f->chosen, 1);
    append_be(b, 0, 1);
    for (int i = 0; i < f->types; i++) {
        append_be(b, i ? f->offset_s : 0, 4);
        append_be(b, 0, 2);
    }
    buf_append(b, "UTC", 4);
    for (int i = 0; i < f->leaps; i++) append_be(b, 0, 8 + 4);
    buf_append_text(b, f->footer);
}

static const struct file usual = {'2', 0, 2, 1000, 2000, 3600, 1, "\nCET-1\n"};

static struct err parse_file(const struct file *f, struct zone **zone)
{
    struct buf b;
    write_file(&b, f);
    struct err e = zone_parse(zone, (const unsigned char *)b.data, b.len);
    buf_fini(&b);
    return e;
}

static void a_small_file_is_a_zone(void **state)
{
    (void)state;
    struct zone *zone;
    struct err e = parse_file(&usual, &zone);
    assert_string_equal(e.text, "");
    assert_int_equal(zone_offset(zone, INT64_MIN), 0);
    assert_int_equal(zone_offset(zone, 999), 0);
    assert_int_equal(zone_offset(zone, 1000), 3600);
    assert_int_equal(zone_offset(zone, 2000), 0);
    assert_int_equal(zone_instant(zone, 1000), 1000);
    assert_int_equal(zone_instant(zone, 4599), 1000);
    assert_int_equal(zone_instant(zone, 4600), 1000);
    assert_int_equal(zone_instant(zone, 4601), 1001);
    assert_int_equal(zone_instant(zone, 5600), 5600);
    zone_free(zone);
}

static void files_that_lie_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct file file;
        const char *says;
    } wrong[] = {
        {{'\0', 0, 2, 1000, 2000, 3600, 1, "\n\n"}, "not of version 2"},
        {{'2', 1, 2, 1000, 2000, 3600, 1, "\n\n"}, "leap seconds"},
        {{'2', 0, 0, 1000, 2000, 3600, 0, "\n\n"}, "no offset"},
        {{'2', 0, 2, 2000, 2000, 3600, 1, "\n\n"}, "out of order"},
        {{'2', 0, 2, 1000, 2000, 100000, 1, "\n\n"}, "more than a day"},
        {{'2', 0, 2, 1000, 2000, 3600, 2, "\n\n"}, "not there"},
        {{'2', 0, 2, 1000, 2000, 3600, 1, ""}, "last line is missing"},
        {{'2', 0, 2, 1000, 2000, 3600, 1, "\nCET-1"}, "last line is missing"},
        {{'2', 0, 2, 1000, 2000, 3600, 1, "\nCET\n"}, "no rule"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct zone *zone;
        struct err e = parse_file(&wrong[i].file, &zone);
        if (e.code != ERR_INPUT || !strstr(e.text, wrong[i].says))
            fail_msg("'%s', not '%s'", e.text, wrong[i].says);
    }
}

/* Each from memory of exactly its length, so that a sanitizer sees a read beyond it. */
static void files_cut_anywhere_are_refused(void **state)
{
    (void)state;
    struct buf b;
    write_file(&b, &usual);
    for (size_t len = 0; len < b.len; len++) {
        struct zone *zone;
        unsigned char *part = malloc(len ? len : 1);
        assert_non_null(part);
        memcpy(part, b.data, len);
        struct err e = zone_parse(&zone, part, len);
        assert_int_equal(e.code, ERR_INPUT);
        free(part);
    }
    buf_fini(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_and_dates_are_each_others_inverse),
        cmocka_unit_test(offsets_are_those_of_the_database),
        cmocka_unit_test(an_instant_has_each_wall_time),
        cmocka_unit_test(names_that_are_no_zone_are_refused),
        cmocka_unit_test(rules_are_parsed_whole_or_not_at_all),
        cmocka_unit_test(rules_name_the_day),
        cmocka_unit_test(a_small_file_is_a_zone),
        cmocka_unit_test(files_that_lie_are_refused),
        cmocka_unit_test(files_cut_anywhere_are_refused),
    };
    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
