/* Connections are shared out so that all of them and the reserve fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/file_limit.h"

static char NOTHING[] = "", PORT[] = "127.0.0.1:9180";

static struct settings with(struct settings_transport *transports, size_t count, char *listen)
{
    struct settings s = {.transports = {transports, count}};
    s.worker.listen = listen;
    return s;
}

static void everything_is_counted(void **state)
{
    (void)state;
    struct settings_transport t[] = {{.connections = 20}, {.connections = 5}};
    struct settings quiet = with(t, 2, NOTHING), seen = with(t, 2, PORT);
    assert_int_equal(file_limit_needed(&quiet, 3), 3 + FILE_LIMIT_RESERVE +
                                                       2 * FILE_LIMIT_TRANSPORT +
                                                       25 * FILE_LIMIT_CONNECTION);
    assert_int_equal(file_limit_needed(&seen, 3),
                     file_limit_needed(&quiet, 3) + FILE_LIMIT_METRICS);
}

static void shares_fit_and_nobody_is_left_without(void **state)
{
    (void)state;
    static const int wants[] = {1000, 50, 20, 1, 1};
    enum { N = sizeof wants / sizeof *wants };
    size_t wanted = 0;
    for (int i = 0; i < N; i++) wanted += (size_t)wants[i];
    for (size_t room = N; room <= wanted + 10; room++) {
        size_t total = 0;
        for (int i = 0; i < N; i++) {
            int share = file_limit_share(wants[i], N, room, wanted);
            assert_in_range(share, 1, wants[i]);
            total += (size_t)share;
        }
        if (total > room) fail_msg("room %zu, shared out %zu", room, total);
        if (total + N < room && room <= wanted) fail_msg("room %zu, only %zu used", room, total);
        if (room >= wanted) assert_int_equal(total, wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_counted),
        cmocka_unit_test(shares_fit_and_nobody_is_left_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
