/* Which prefetch a queue should have: a transport that is down gives up its slots, and what is in
 * hand stays bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consumer/broker_queues.h"

static void the_prefetch_follows_the_transport(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool down;
        int now, in_hand, want;
    } rows[] = {
        {"at the start", false, 0, 0, 4},
        {"as it should be", false, 4, 4, 4},
        {"after a loss of the connection", false, 0, 4, 4},
        {"more is in hand than one prefetch: later", false, 0, 5, 0},
        {"it goes down", true, 4, 4, 0},
        {"it goes down with nothing in hand", true, 4, 0, 1},
        {"down, some are still in hand", true, 0, 2, 0},
        {"down, the probe is in hand", true, 0, 1, 0},
        {"down, nothing is in hand: a probe", true, 0, 0, 1},
        {"down, the probe came", true, 1, 1, 1},
        {"up again, with the probe", false, 1, 1, 4},
        {"up again before all went back", false, 0, 4, 4},
        {"up again, many in hand", false, 1, 5, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct broker_queue q = {
            .down = rows[i].down, .prefetch = rows[i].now, .in_hand = rows[i].in_hand};
        int wanted = broker_queues_wanted(&q, 4);
        if (wanted != rows[i].want) fail_msg("%s: %d", rows[i].name, wanted);
    }
}

/* One of prefetch 1 has nothing to narrow. */
static void a_prefetch_of_one_is_the_same_up_and_down(void **state)
{
    (void)state;
    struct broker_queue q = {.down = true, .prefetch = 1, .in_hand = 1};
    assert_int_equal(broker_queues_wanted(&q, 1), 1);
    q.down = false;
    assert_int_equal(broker_queues_wanted(&q, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_prefetch_follows_the_transport),
        cmocka_unit_test(a_prefetch_of_one_is_the_same_up_and_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
