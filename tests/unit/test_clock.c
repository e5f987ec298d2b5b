/* ISO 8601 in and out, and the bounds of a backoff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"

static void times_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input;
        int64_t want;
    } rows[] = {
        {"zulu", "2026-01-02T03:04:05Z", 1767323045},
        {"no zone is UTC", "2026-01-02T03:04:05", 1767323045},
        {"no seconds", "2026-01-02T03:04Z", 1767323040},
        {"a blank for the T", "2026-01-02 03:04:05Z", 1767323045},
        {"east of Greenwich", "2026-01-02T12:04:05+09:00", 1767323045},
        {"west of Greenwich", "2026-01-01T22:34:05-04:30", 1767323045},
        {"zone without seconds", "2026-01-02T12:04+09:00", 1767323040},
        {"minus nothing", "2026-01-02T03:04:05-00:00", 1767323045},
        {"leap day", "2024-02-29T00:00Z", 1709164800},
        {"leap day of a century", "2000-02-29T23:59:59Z", 951868799},
        {"the epoch", "1970-01-01T00:00:00Z", 0},
        {"the second before the epoch", "1969-12-31T23:59:59Z", -1},
        {"past 32 bits", "2038-01-19T03:14:08Z", 2147483648},
        {"last of the four-digit years", "9999-12-31T23:59:59Z", 253402300799},
        {"a zone that changes the year", "2026-01-01T00:30:00+01:00", 1767223800},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t got = 0;
        if (!clock_iso_parse(rows[i].input, &got)) fail_msg("%s: refused", rows[i].name);
        if (got != rows[i].want)
            fail_msg("%s: got %lld, want %lld", rows[i].name, (long long)got,
                     (long long)rows[i].want);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input;
    } rows[] = {
        {"nothing", ""},
        {"a word", "tomorrow"},
        {"a date alone", "2026-01-02"},
        {"a time alone", "03:04:05Z"},
        {"cut after the T", "2026-01-02T"},
        {"cut in the minutes", "2026-01-02T03:0"},
        {"cut in the seconds", "2026-01-02T03:04:0"},
        {"colon and no seconds", "2026-01-02T03:04:"},
        {"30 February", "2026-02-30T00:00Z"},
        {"29 February of no leap year", "2026-02-29T00:00Z"},
        {"29 February of a plain century", "2100-02-29T00:00Z"},
        {"month 0", "2026-00-10T00:00Z"},
        {"month 13", "2026-13-10T00:00Z"},
        {"day 0", "2026-01-00T00:00Z"},
        {"31 April", "2026-04-31T00:00Z"},
        {"hour 24", "2026-01-02T24:00Z"},
        {"minute 60", "2026-01-02T03:60Z"},
        {"second 60", "2026-01-02T03:04:60Z"},
        {"blank in front", " 2026-01-02T03:04Z"},
        {"blank behind", "2026-01-02T03:04Z "},
        {"blank for a digit of the day", "2026-01- 2T03:04Z"},
        {"blank for a digit of the hour", "2026-01-02T 3:04Z"},
        {"plus in the year", "+026-01-02T03:04Z"},
        {"minus in the year", "-026-01-02T03:04Z"},
        {"plus in the month", "2026-+1-02T03:04Z"},
        {"one digit short, one blank long", "2026-1- 02T03:04Z"},
        {"fraction", "2026-01-02T03:04:05.5Z"},
        {"small t", "2026-01-02t03:04Z"},
        {"small z", "2026-01-02T03:04z"},
        {"slashes", "2026/01/02T03:04Z"},
        {"zone in words", "2026-01-02T03:04 UTC"},
        {"zone without a colon", "2026-01-02T03:04+0900"},
        {"zone without minutes", "2026-01-02T03:04+09"},
        {"zone with a blank", "2026-01-02T03:04+ 9:00"},
        {"zone with two signs", "2026-01-02T03:04--9:00"},
        {"zone too far", "2026-01-02T03:04+15:00"},
        {"zone with minute 60", "2026-01-02T03:04+09:60"},
        {"text behind the zone", "2026-01-02T03:04+09:00Z"},
        {"two zones", "2026-01-02T03:04ZZ"},
        {"five-digit year", "12026-01-02T03:04Z"},
        {"full-width digits", "\xef\xbc\x92"
                              "026-01-02T03:04Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t got = 77;
        if (clock_iso_parse(rows[i].input, &got)) fail_msg("%s: taken", rows[i].name);
        assert_int_equal(got, 77);
    }
}

static void times_are_written_as_they_are_read(void **state)
{
    (void)state;
    static const struct {
        int64_t input;
        const char *want;
    } rows[] = {
        {0, "1970-01-01T00:00:00Z"},         {1767323045, "2026-01-02T03:04:05Z"},
        {951868799, "2000-02-29T23:59:59Z"}, {2147483648, "2038-01-19T03:14:08Z"},
        {-1, "1969-12-31T23:59:59Z"},        {253402300799, "9999-12-31T23:59:59Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[CLOCK_ISO_SIZE];
        int64_t back;
        assert_string_equal(clock_iso_format(rows[i].input, text), rows[i].want);
        assert_true(clock_iso_parse(text, &back));
        assert_true(back == rows[i].input);
    }
}

static void a_year_of_five_digits_is_not_written_cut(void **state)
{
    (void)state;
    char text[CLOCK_ISO_SIZE];
    assert_string_equal(clock_iso_format(253402300800, text), "");
    assert_string_equal(clock_iso_format(INT64_MAX, text), "");
}

static void a_backoff_stays_between_base_and_the_doubled_base(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int tries, base_ms, max_ms, least, most;
    } rows[] = {
        {"first try", 0, 100, 5000, 100, 200},
        {"second try", 1, 100, 5000, 100, 400},
        {"fifth try", 4, 100, 5000, 100, 3200},
        {"at the maximum", 6, 100, 5000, 100, 5000},
        {"far past it", 1000000, 100, 5000, 100, 5000},
        {"the shift that would overflow", 31, 250, 30000, 250, 30000},
        {"less than no try", -5, 100, 5000, 100, 200},
        {"base and maximum alike", 9, 50, 50, 50, 50},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int least = INT32_MAX, most = 0;
        for (int k = 0; k < 3000; k++) {
            int ms = clock_backoff_ms(rows[i].tries, rows[i].base_ms, rows[i].max_ms);
            if (ms < least) least = ms;
            if (ms > most) most = ms;
        }
        if (least < rows[i].least || most > rows[i].most)
            fail_msg("%s: from %d to %d", rows[i].name, least, most);
        int span = rows[i].most - rows[i].least; /* jitter: it uses the whole of it */
        if (least > rows[i].least + span / 10 || most < rows[i].most - span / 10)
            fail_msg("%s: only from %d to %d", rows[i].name, least, most);
    }
}

static void clocks_go_forward_in_microseconds(void **state)
{
    (void)state;
    int64_t boot = clock_boot_us(), utc = clock_utc_us();
    clock_sleep_ms(3);
    assert_true(clock_boot_us() - boot >= 3000);
    assert_true(utc > 1600000000LL * 1000000 && utc < 32503680000LL * 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_parsed),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(times_are_written_as_they_are_read),
        cmocka_unit_test(a_year_of_five_digits_is_not_written_cut),
        cmocka_unit_test(a_backoff_stays_between_base_and_the_doubled_base),
        cmocka_unit_test(clocks_go_forward_in_microseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
