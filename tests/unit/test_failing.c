/* When failed recipients are worth a line in the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consumer/failing.h"

/* How many lines n outcomes bring, one in so many of them failed, at this time. */
static int lines(struct failing *f, int n, int one_in, int64_t now_us)
{
    int said = 0;
    for (int i = 0; i < n; i++) {
        struct outcome o = {.status = i % one_in == 0 ? OUTCOME_FAILED : OUTCOME_SENT, .code = 550};
        if (!failing_count(f, &o, now_us)) continue;
        assert_int_equal(f->last.code, 550);
        failing_said(f, now_us);
        said++;
    }
    return said;
}

static void a_share_and_a_number_of_failures_bring_a_line(void **state)
{
    (void)state;
    static const struct {
        int n, one_in, want;
    } rows[] = {{FAILING_LEAST - 1, 1, 0}, {FAILING_LEAST, 1, 1}, {1000, 2, 1},
                {1000, FAILING_SHARE, 1},  {100000, 20, 0},       {100000, 1000, 0}};
    for (int i = 0; i < 6; i++) {
        struct failing f = {0};
        if (lines(&f, rows[i].n, rows[i].one_in, 1) != rows[i].want) fail_msg("row %d", i);
    }
}

static void there_is_one_line_a_minute(void **state)
{
    (void)state;
    struct failing f = {0};
    assert_int_equal(lines(&f, 100000, 1, 1), 1);
    assert_int_equal(lines(&f, 100000, 1, FAILING_EVERY_S * 1000000LL), 0);
    assert_int_equal(lines(&f, FAILING_LEAST, 1, FAILING_EVERY_S * 1000000LL + 1), 1);
}

static void what_went_well_before_does_not_hide_what_fails_now(void **state)
{
    (void)state;
    struct failing f = {0};
    assert_int_equal(lines(&f, 1000000, 1000000, 1), 0);
    assert_int_equal(lines(&f, 100, 1, 1 + FAILING_EVERY_S * 1000000LL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_and_a_number_of_failures_bring_a_line),
        cmocka_unit_test(what_went_well_before_does_not_hide_what_fails_now),
        cmocka_unit_test(there_is_one_line_a_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
