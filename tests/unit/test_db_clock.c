/* The database's clock, as a program carries it on between two answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/db_clock.h"

enum { MS = 1000, S = 1000 * MS };
#define HOUR_US 3600000000LL

static int64_t offset_us(struct db_clock *c)
{
    return db_clock_now_us(c) - clock_boot_us();
}

static void assert_offset(struct db_clock *c, int64_t want_us)
{
    int64_t off_us = offset_us(c) - want_us;
    if (off_us > 100 * MS || off_us < -100 * MS) fail_msg("%lld us off", (long long)off_us);
}

static void before_the_first_answer_it_is_the_calendar_of_the_host(void **state)
{
    (void)state;
    struct db_clock c;
    db_clock_init(&c);
    assert_offset(&c, clock_utc_us() - clock_boot_us());
}

static void an_answer_is_of_the_middle_of_its_round_trip(void **state)
{
    (void)state;
    struct db_clock c;
    db_clock_init(&c);
    db_clock_observe(&c, 100 * S, 1000 * HOUR_US, 104 * S);
    assert_offset(&c, 1000 * HOUR_US - 102 * S);
}

static void a_slow_answer_that_agrees_changes_nothing(void **state)
{
    (void)state;
    struct db_clock c;
    int64_t offset = 1000 * HOUR_US;
    db_clock_init(&c);
    db_clock_observe(&c, 100 * S, offset + 100 * S, 100 * S);
    db_clock_observe(&c, 200 * S, offset + 201 * S, 230 * S); /* the middle would be 14 s off */
    assert_offset(&c, offset);
    db_clock_observe(&c, 300 * S, offset + 300 * S + 10 * MS, 300 * S + 20 * MS);
    assert_offset(&c, offset);
}

static void an_answer_that_contradicts_counts_however_slow(void **state)
{
    (void)state;
    struct db_clock c;
    int64_t offset = 1000 * HOUR_US;
    db_clock_init(&c);
    db_clock_observe(&c, 100 * S, offset + 100 * S, 100 * S);
    for (int64_t step = -2 * HOUR_US; step <= 2 * HOUR_US; step += 4 * HOUR_US) {
        db_clock_observe(&c, 200 * S, offset + step + 205 * S, 210 * S);
        assert_offset(&c, offset + step);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_the_first_answer_it_is_the_calendar_of_the_host),
        cmocka_unit_test(an_answer_is_of_the_middle_of_its_round_trip),
        cmocka_unit_test(a_slow_answer_that_agrees_changes_nothing),
        cmocka_unit_test(an_answer_that_contradicts_counts_however_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
