/* When a transport counts as down: several failures in a row, and no answer for a while. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consumer/health.h"

enum { S = 1000000 };

static void it_is_down_after_several_failures_and_five_seconds(void **state)
{
    (void)state;
    struct health h = {0};
    assert_true(health_failed(&h, 100 * S));
    assert_int_equal(h.state, HEALTH_FAILING);
    assert_false(health_failed(&h, 100 * S + 1)); /* quickly one after the other */
    assert_false(health_failed(&h, 100 * S + 2));
    assert_false(health_failed(&h, 105 * S - 1));
    assert_int_equal(h.state, HEALTH_FAILING);
    assert_true(health_failed(&h, 105 * S));
    assert_int_equal(h.state, HEALTH_DOWN);
    assert_false(health_failed(&h, 200 * S));
    assert_int_equal(h.state, HEALTH_DOWN);
}

static void long_waits_need_several_failures_too(void **state)
{
    (void)state;
    struct health h = {0};
    health_failed(&h, 100 * S);
    assert_false(health_failed(&h, 130 * S));
    assert_int_equal(h.state, HEALTH_FAILING);
    assert_true(health_failed(&h, 160 * S));
    assert_int_equal(h.state, HEALTH_DOWN);
}

static void an_answer_between_failures_keeps_it_up(void **state)
{
    (void)state;
    struct health h = {0};
    for (int i = 0; i < 100; i++) {
        health_failed(&h, i * S);
        health_failed(&h, i * S + S / 3);
        assert_int_equal(h.state, HEALTH_FAILING);
        assert_true(health_answered(&h, i * S + S / 2));
        assert_int_equal(h.state, HEALTH_UP);
        assert_false(health_answered(&h, i * S + S / 2));
    }
}

static void go_down(struct health *h, int64_t from_us)
{
    for (int i = 0; i < 3; i++) health_failed(h, from_us + i * 3 * S);
    assert_int_equal(h->state, HEALTH_DOWN);
}

static void the_delay_grows_while_it_comes_and_goes(void **state)
{
    (void)state;
    static const int WANT[] = {1, 15, 60, 300, 300, 300};
    struct health h = {0};
    assert_int_equal(health_delay_s(&h), 1);
    int64_t now_us = 100 * S;
    for (int i = 0; i < 6; i++, now_us += 20 * S) {
        go_down(&h, now_us);
        assert_int_equal(health_delay_s(&h), WANT[i]);
        health_answered(&h, now_us + 10 * S);
    }
    go_down(&h, now_us + 100 * S); /* it was well for a while */
    assert_int_equal(health_delay_s(&h), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_down_after_several_failures_and_five_seconds),
        cmocka_unit_test(long_waits_need_several_failures_too),
        cmocka_unit_test(an_answer_between_failures_keeps_it_up),
        cmocka_unit_test(the_delay_grows_while_it_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
