/* Refused senders: who waits, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consumer/set_aside.h"

enum { S = 1000000 };

static struct set_aside aside;
static int64_t now;

static int setup(void **state)
{
    (void)state;
    now = 1000 * (int64_t)S;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    set_aside_fini(&aside);
    return 0;
}

static int refused(const char *transport, const char *from)
{
    return set_aside_refused(&aside, transport, from, now);
}

static int waits(const char *transport, const char *from)
{
    return set_aside_wait(&aside, transport, from, now);
}

static void only_this_sender_on_this_transport_waits(void **state)
{
    (void)state;
    assert_int_equal(waits("relay", "a@x"), 0);
    assert_int_equal(refused("relay", "a@x"), SET_ASIDE_DELAYS_S[0]);
    assert_int_equal(waits("relay", "a@x"), SET_ASIDE_DELAYS_S[0]);
    assert_int_equal(waits("relay", "b@x"), 0);
    assert_int_equal(waits("other", "a@x"), 0);
    assert_int_equal(set_aside_count(&aside, now), 1);
}

static void refusals_of_the_same_trouble_count_once(void **state)
{
    (void)state;
    refused("relay", "a@x");
    for (int i = 0; i < 20; i++) assert_int_equal(refused("relay", "a@x"), 0);
    now += SET_ASIDE_DELAYS_S[0] * (int64_t)S;
    assert_int_equal(refused("relay", "a@x"), SET_ASIDE_DELAYS_S[1]);
}

static void waits_grow_to_the_longest(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        int want = SET_ASIDE_DELAYS_S[i < SET_ASIDE_STEPS ? i : SET_ASIDE_STEPS - 1];
        assert_int_equal(waits("relay", "a@x"), 0);
        assert_int_equal(refused("relay", "a@x"), want);
        assert_int_equal(waits("relay", "a@x"), want);
        now += want * (int64_t)S;
    }
}

static void what_is_left_of_a_wait_is_rounded_up_to_a_delay(void **state)
{
    (void)state;
    for (int i = 0; i < SET_ASIDE_STEPS; i++) now += refused("relay", "a@x") * (int64_t)S;
    refused("relay", "a@x"); /* the longest */
    int64_t end = now + SET_ASIDE_DELAYS_S[SET_ASIDE_STEPS - 1] * (int64_t)S;
    for (int i = 0; i < SET_ASIDE_STEPS; i++) {
        now = end - SET_ASIDE_DELAYS_S[i] * (int64_t)S;
        assert_int_equal(waits("relay", "a@x"), SET_ASIDE_DELAYS_S[i]);
    }
    now = end - 1;
    assert_int_equal(waits("relay", "a@x"), SET_ASIDE_DELAYS_S[0]);
    now = end;
    assert_int_equal(waits("relay", "a@x"), 0);
}

static void a_sender_is_forgotten_when_a_mail_is_answered_after_its_time(void **state)
{
    (void)state;
    refused("relay", "a@x");
    refused("relay", "b@x");
    assert_false(set_aside_answered(&aside, "relay", "a@x", now)); /* from before the refusal */
    assert_false(set_aside_answered(&aside, "relay", "c@x", now));
    now += SET_ASIDE_DELAYS_S[0] * (int64_t)S;
    assert_true(set_aside_answered(&aside, "relay", "a@x", now));
    assert_int_equal(refused("relay", "a@x"), SET_ASIDE_DELAYS_S[0]); /* anew */
    assert_int_equal(refused("relay", "b@x"), SET_ASIDE_DELAYS_S[1]); /* still known */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(only_this_sender_on_this_transport_waits),
        TEST(refusals_of_the_same_trouble_count_once),
        TEST(waits_grow_to_the_longest),
        TEST(what_is_left_of_a_wait_is_rounded_up_to_a_delay),
        TEST(a_sender_is_forgotten_when_a_mail_is_answered_after_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
