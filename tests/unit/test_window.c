/* The watermark's window: what it may grow to, and from what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consumer/window.h"

/* A steady flow: commits of commit_us one after the other, with what arrived meanwhile. */
static struct window steady(uint32_t mails_per_s, int64_t commit_us, int64_t pause_us)
{
    struct window w = {0};
    int64_t now = 1000000;
    for (int i = 0; i < 200; i++) {
        int64_t began = now + pause_us;
        int64_t ended = began + commit_us;
        window_observe(&w, (uint32_t)((ended - now) * mails_per_s / 1000000), began, ended);
        now = ended;
    }
    return w;
}

static void a_new_window_is_twice_the_connections(void **state)
{
    (void)state;
    static const uint32_t connections[] = {1, 2, 20, 32, 100, 256, 1000};
    struct window w = {0};
    for (size_t i = 0; i < sizeof connections / sizeof *connections; i++)
        assert_int_equal(window_size(&w, connections[i]), 2 * connections[i]);
}

static void the_size_follows_the_flow(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t mails_per_s, connections;
        int64_t commit_us, pause_us;
        uint32_t least, most;
    } rows[] = {
        {"32 connections at full speed", 20000, 32, 20000, 0, 512, 512},
        {"32 connections, slow commits", 50000, 32, 900000, 0, 512, 512},
        {"32 connections at full speed, quick commits", 20000, 32, 1000, 5000, 380, 400},
        {"32 connections, some speed", 5000, 32, 10000, 0, 200, 220},
        {"100 mails a second", 100, 32, 10000, 0, 32, 64},
        {"100 mails a second, slow commits", 100, 32, 100000, 0, 32, 64},
        {"100 mails a second, rare commits", 100, 20, 5000, 200000, 20, 40},
        {"one connection", 20, 1, 5000, 45000, 2, 2},
        {"256 connections at full speed", 50000, 256, 20000, 0, 512, 512},
        {"300 connections at full speed", 50000, 300, 50000, 0, 600, 600},
        {"1000 connections, nothing to do", 1, 1000, 5000, 1000000, 2000, 2000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct window w = steady(rows[i].mails_per_s, rows[i].commit_us, rows[i].pause_us);
        uint32_t got = window_size(&w, rows[i].connections);
        if (got < rows[i].least || got > rows[i].most)
            fail_msg("%s: got %u, want %u to %u", rows[i].name, got, rows[i].least, rows[i].most);
    }
}

static void there_is_always_room_for_what_every_connection_has_twice(void **state)
{
    (void)state;
    for (uint32_t connections = 1; connections <= 1000; connections++) {
        for (uint32_t rate = 0; rate <= 100000; rate += 20000) {
            struct window w = steady(rate, 20000, 0);
            uint32_t got = window_size(&w, connections);
            uint32_t most = connections > WINDOW_MAX / 2 ? 2 * connections : WINDOW_MAX;
            if (got < 2 * connections || got > most)
                fail_msg("%u connections at %u/s: %u", connections, rate, got);
        }
        if (connections > 40) connections += 37;
    }
}

static void one_slow_commit_is_an_outage(void **state)
{
    (void)state;
    struct window w = steady(1000, 10000, 0);
    uint32_t before = window_size(&w, 20);
    int64_t now = w.last_us;
    window_observe(&w, 10, now, now + 60000000);
    now += 60000000;
    assert_in_range(window_size(&w, 20), before / 2, before * 3 / 2);
    window_observe(&w, 200, now, now + 10000); /* what has piled up */
    assert_in_range(window_size(&w, 20), before / 2, before * 3 / 2);
    for (int i = 0; i < 60; i++, now += 10000) window_observe(&w, 10, now, now + 10000);
    assert_in_range(window_size(&w, 20), before - 2, before + 2);
}

static void the_first_commits_say_little(void **state)
{
    (void)state;
    struct window w = {0};
    window_observe(&w, 40, 1000000, 1500000);
    window_observe(&w, 60, 1505000, 1700000);
    window_observe(&w, 60, 1705000, 1710000);
    assert_in_range(window_size(&w, 32), 64, 70);
}

static void a_night_without_mails_leaves_a_small_window(void **state)
{
    (void)state;
    struct window w = steady(10000, 10000, 0);
    assert_in_range(window_size(&w, 32), 386, 396);
    int64_t now = w.last_us;
    for (int i = 0; i < 40; i++, now += 20000000) window_observe(&w, 0, now, now + 10000);
    assert_int_equal(window_size(&w, 32), 64);
}

static void it_runs_low_when_half_of_what_is_ahead_of_the_connections_is_used(void **state)
{
    (void)state;
    static const struct {
        uint32_t size, used;
        bool low;
    } rows[] = {{64, 64, false},  {64, 49, false},   {64, 48, true},
                {64, 0, true},    {232, 133, false}, {232, 132, true},
                {512, 272, true}, {512, 273, false}, {512, 600, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (window_runs_low(rows[i].size, rows[i].used, 32) != rows[i].low)
            fail_msg("%u of %u used", rows[i].used, rows[i].size);
}

static void two_commits_at_one_moment_do_no_harm(void **state)
{
    (void)state;
    struct window w = {0};
    window_observe(&w, 100, 5000, 5000);
    window_observe(&w, 100, 5000, 5000);
    assert_int_equal(window_size(&w, 20), 40);
    window_observe(&w, 100, 4000, 4500); /* and a clock that goes back */
    assert_in_range(window_size(&w, 20), 40, 512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_window_is_twice_the_connections),
        cmocka_unit_test(the_size_follows_the_flow),
        cmocka_unit_test(there_is_always_room_for_what_every_connection_has_twice),
        cmocka_unit_test(one_slow_commit_is_an_outage),
        cmocka_unit_test(the_first_commits_say_little),
        cmocka_unit_test(a_night_without_mails_leaves_a_small_window),
        cmocka_unit_test(it_runs_low_when_half_of_what_is_ahead_of_the_connections_is_used),
        cmocka_unit_test(two_commits_at_one_moment_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
