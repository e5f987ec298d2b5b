/* The pace of connecting: how long a transport waits, and how many connections it keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "consumer/connect_pace.h"

enum { MS = 1000, S = 1000000, MOST = 20 };

static struct connect_pace p;
static int64_t now;
static int wait_ms;

static int setup(void **state)
{
    (void)state;
    connect_pace_init(&p, MOST);
    now = 1000 * (int64_t)S;
    return 0;
}

static int room(int n_open, int n_connecting)
{
    return connect_pace_room(&p, n_open, n_connecting, now);
}

static void at_first_all_connections_may_be_opened(void **state)
{
    (void)state;
    assert_int_equal(room(0, 0), MOST);
    assert_int_equal(room(5, 10), 5);
    assert_int_equal(room(MOST, 0), 0);
}

static void waits_grow_while_the_server_is_down_and_one_connection_tries(void **state)
{
    (void)state;
    int longest = 0;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(connect_pace_failed(&p, 0, now, &wait_ms), CONNECT_PACE_WAITS);
        assert_in_range(wait_ms, CONNECT_WAIT_BASE_MS, CONNECT_WAIT_MAX_MS);
        if (wait_ms > longest) longest = wait_ms;
        assert_int_equal(room(0, 0), 0);
        now += wait_ms * (int64_t)MS;
        assert_int_equal(room(0, 0), 1);
        assert_int_equal(room(0, 1), 0);
    }
    assert_true(longest > CONNECT_WAIT_MAX_MS / 2);
}

static void connections_that_fail_together_are_one_failure(void **state)
{
    (void)state;
    connect_pace_failed(&p, 0, now, &wait_ms);
    for (int i = 0; i < MOST; i++)
        assert_int_equal(connect_pace_failed(&p, 0, now, &wait_ms), CONNECT_PACE_COUNTED);
    assert_int_equal(p.failures, 1);
}

static void an_accepted_mail_ends_a_failure_whatever_becomes_of_it(void **state)
{
    (void)state;
    connect_pace_failed(&p, 0, now, &wait_ms);
    now += wait_ms * (int64_t)MS;
    connect_pace_welcome(&p, 1, now);
    assert_int_equal(room(1, 0), MOST - 1);
}

static void a_server_that_drops_every_connection_is_asked_less_and_less(void **state)
{
    (void)state;
    int64_t began = now;
    for (int i = 0; i < 60; i++) { /* each is accepted and lost before a mail is answered */
        connect_pace_welcome(&p, 1, now);
        connect_pace_lost(&p, now, &wait_ms);
        now += wait_ms * (int64_t)MS;
        if (i > 0) assert_int_equal(room(0, 0), 1);
    }
    /* The later waits are 15 s on average, by chance: together 800 s, give or take 65. */
    assert_true(now - began > 400 * (int64_t)S);
    connect_pace_answered(&p);
    assert_int_equal(room(0, 0), MOST);
}

static void a_connection_that_did_good_ends_with_the_shortest_wait(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        assert_int_equal(connect_pace_ended(&p, now, &wait_ms), CONNECT_PACE_WAITS);
        assert_in_range(wait_ms, CONNECT_WAIT_BASE_MS, 2 * CONNECT_WAIT_BASE_MS);
        now += wait_ms * (int64_t)MS;
        assert_int_equal(room(0, 0), MOST);
    }
}

/* A relay that takes a number of connections, for some hours: how many were refused. */
static int refused_in(int takes, int64_t us)
{
    int n_open = 0, refused = 0;
    for (int64_t end = now + us; now < end; now += 100 * MS) {
        for (int r = room(n_open, 0); r > 0; r--) {
            if (n_open < takes) {
                connect_pace_welcome(&p, ++n_open, now);
            } else {
                connect_pace_failed(&p, n_open, now, &wait_ms);
                refused++;
            }
        }
    }
    assert_int_equal(n_open, takes < MOST ? takes : MOST);
    return refused;
}

static void the_number_that_the_relay_takes_is_found_and_kept(void **state)
{
    (void)state;
    for (int takes = 1; takes <= MOST; takes++) {
        setup(NULL);
        int at_first = refused_in(takes, 10 * (int64_t)S);
        assert_in_range(at_first, 0, MOST);
        int later = refused_in(takes, 3600 * (int64_t)S);
        if (takes < MOST) assert_in_range(later, 3, 60); /* one more is tried now and then */
        if (takes == MOST) assert_int_equal(later, 0);
    }
}

static void a_relay_that_takes_more_again_gets_more(void **state)
{
    (void)state;
    refused_in(4, 600 * (int64_t)S);
    int n_open = 4;
    for (int64_t end = now + 600 * (int64_t)S; now < end; now += 100 * MS)
        for (int r = room(n_open, 0); r > 0; r--) connect_pace_welcome(&p, ++n_open, now);
    assert_int_equal(n_open, MOST);
}

static void a_server_that_was_down_is_not_held_to_what_it_took_before(void **state)
{
    (void)state;
    connect_pace_welcome(&p, 1, now);
    assert_int_equal(connect_pace_failed(&p, 3, now, &wait_ms), CONNECT_PACE_LIMITED);
    assert_int_equal(room(3, 0), 0);
    connect_pace_failed(&p, 0, now, &wait_ms);
    now += wait_ms * (int64_t)MS;
    connect_pace_welcome(&p, 1, now);
    assert_int_equal(room(1, 0), MOST - 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(at_first_all_connections_may_be_opened),
        TEST(waits_grow_while_the_server_is_down_and_one_connection_tries),
        TEST(connections_that_fail_together_are_one_failure),
        TEST(an_accepted_mail_ends_a_failure_whatever_becomes_of_it),
        TEST(a_server_that_drops_every_connection_is_asked_less_and_less),
        TEST(a_connection_that_did_good_ends_with_the_shortest_wait),
        TEST(the_number_that_the_relay_takes_is_found_and_kept),
        TEST(a_relay_that_takes_more_again_gets_more),
        TEST(a_server_that_was_down_is_not_held_to_what_it_took_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
