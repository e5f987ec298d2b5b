/* How a worker's waits for the database fit into its lease. */
#include "consumer/worker.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* PROTOCOL C5, C6: a lease ends for us after nine tenths of it, and is renewed each third. A
 * renewal without an answer is given up; then there is time for another connection and another try.
 */
static void a_renewal_without_an_answer_leaves_time_for_another(void **state)
{
    (void)state;
    for (int lease_s = 5; lease_s <= 600; lease_s++) {
        struct db_config c = {0};
        bound_database(&c, lease_s);
        int left_ms = lease_s * 900 - lease_s * 1000 / 3 - c.io_timeout_ms;
        if (left_ms < 800) fail_msg("lease %d s: %d ms are left", lease_s, left_ms);
        if (lease_s >= 30) assert_true(left_ms >= lease_s * 1000 / 3);
        assert_in_range(c.lock_wait_s, 1, 3);
        assert_true(c.io_timeout_ms > c.lock_wait_s * 1000);
        assert_int_equal(c.session_timeout_s, lease_s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_renewal_without_an_answer_leaves_time_for_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
