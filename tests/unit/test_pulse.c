/* Threads that go on, that do not run, and that have been silent for too long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "consumer/metrics.h"

static const struct settings SETTINGS = {
    .broker.connect_timeout_ms = 10000,
    .database.connect_timeout_ms = 20000,
    .worker = {.lease_ms = 60000, .stuck_after_ms = 300000},
};

static void silent_for(enum pulse_thread thread, int64_t ms)
{
    METRICS_SET(beat_us[thread], clock_boot_us() - ms * 1000);
}

static void who_does_not_run_is_not_stuck(void **state)
{
    (void)state;
    pulse_start(&SETTINGS);
    for (int i = 0; i < PULSE_THREADS; i++) {
        assert_int_equal(pulse_silent_us((enum pulse_thread)i), 0);
        assert_false(pulse_is_stuck((enum pulse_thread)i));
    }
}

static void each_may_be_silent_for_the_longest_call_more(void **state)
{
    (void)state;
    static const int64_t limit_ms[] = {
        [PULSE_BROKER] = 300000 + 10000,
        [PULSE_LEDGER] = 300000 + 3 * 60000,
        [PULSE_SENDER] = 300000,
    };
    pulse_start(&SETTINGS);
    for (int i = 0; i < PULSE_THREADS; i++) {
        enum pulse_thread thread = (enum pulse_thread)i;
        silent_for(thread, limit_ms[i] - 60000);
        assert_false(pulse_is_stuck(thread));
        silent_for(thread, limit_ms[i] + 1);
        assert_true(pulse_is_stuck(thread));
        for (int k = 0; k < PULSE_THREADS; k++)
            if (k != i) assert_false(pulse_is_stuck((enum pulse_thread)k));
        pulse_beat(thread);
        assert_false(pulse_is_stuck(thread));
        silent_for(thread, limit_ms[i] + 1);
        pulse_end(thread);
        assert_false(pulse_is_stuck(thread));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_does_not_run_is_not_stuck),
        cmocka_unit_test(each_may_be_silent_for_the_longest_call_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
