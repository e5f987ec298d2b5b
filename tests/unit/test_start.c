/* Starting: patience with services that are not there yet, within a limit. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/start.h"

/* Nobody listens there. */
static char LOCALHOST[] = "127.0.0.1", NOTHING[] = "", WORD[] = "x";

static struct settings nowhere(int64_t start_limit_ms)
{
    struct settings s = {.start_limit_ms = start_limit_ms};
    s.broker.host = s.database.host = LOCALHOST;
    s.broker.port = s.database.port = 1;
    s.broker.vhost = s.broker.user = s.broker.password = WORD;
    s.database.name = s.database.user = s.database.password = WORD;
    s.database.socket = s.broker.ca_file = s.database.ca_file = NOTHING;
    s.broker.connect_timeout_ms = s.database.connect_timeout_ms = 1000;
    s.broker.heartbeat_ms = 10000;
    return s;
}

/* Standard error into nothing, since each try is logged; returns how many lines came. */
static int quiet(int back)
{
    static int own, caught;
    static char text[100000];
    if (!back) {
        char name[] = "/tmp/mailflock-test-start-XXXXXX";
        own = dup(STDERR_FILENO);
        caught = mkstemp(name);
        unlink(name);
        return dup2(caught, STDERR_FILENO);
    }
    dup2(own, STDERR_FILENO);
    close(own);
    ssize_t n = pread(caught, text, sizeof text - 1, 0);
    close(caught);
    text[n > 0 ? n : 0] = '\0';
    int lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++) lines++;
    return lines;
}

static void a_service_that_does_not_come_is_an_error_after_the_limit(void **state)
{
    (void)state;
    for (int broker = 0; broker < 2; broker++) {
        struct settings s = nowhere(3000);
        struct db_config db_config = start_db_config(&s, "test");
        struct broker_config broker_config = start_broker_config(&s, "test");
        struct db *db;
        struct broker *b;
        quiet(0);
        struct err e =
            broker ? start_broker(&s, &broker_config, &b) : start_db(&s, &db_config, &db);
        int lines = quiet(1);
        assert_int_equal(e.code, broker ? ERR_BROKER : ERR_DB);
        assert_non_null(strstr(e.text, "gave up after "));
        assert_non_null(strstr(e.text, " s (start_limit)"));
        assert_true(lines >= 1 && lines <= 16); /* it tried again, and said so each time */
    }
}

static void no_limit_means_one_try(void **state)
{
    (void)state;
    struct settings s = nowhere(0);
    struct db_config config = start_db_config(&s, "test");
    struct db *db;
    quiet(0);
    struct err e = start_db(&s, &config, &db);
    assert_int_equal(quiet(1), 0);
    assert_int_equal(e.code, ERR_DB);
}

static void a_lease_is_rounded_up_to_whole_seconds(void **state)
{
    (void)state;
    static const struct {
        int64_t lease_ms;
        int want;
    } rows[] = {{1, 1}, {999, 1}, {1000, 1}, {1001, 2}, {60000, 60}, {1800000, 1800}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct settings s = {.worker.lease_ms = rows[i].lease_ms};
        assert_int_equal(start_lease_s(&s), rows[i].want);
    }
}

static void settings_reach_the_modules(void **state)
{
    (void)state;
    struct settings s = nowhere(0);
    s.database.tls = true;
    struct db_config d = start_db_config(&s, "prog");
    assert_true(d.tls && d.tls_verify);
    assert_string_equal(d.program, "prog");
    assert_in_range(d.lock_wait_s, 1, 3); /* PROTOCOL C5 */
    struct broker_config b = start_broker_config(&s, "name");
    assert_int_equal(b.heartbeat_s, 10);
    assert_null(b.ca_file); /* "" is the system's */
    assert_true(b.max_body >= 4u * 1024 * 1024);
    s.broker.ca_file = WORD;
    assert_string_equal(start_broker_config(&s, "name").ca_file, "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_that_does_not_come_is_an_error_after_the_limit),
        cmocka_unit_test(no_limit_means_one_try),
        cmocka_unit_test(a_lease_is_rounded_up_to_whole_seconds),
        cmocka_unit_test(settings_reach_the_modules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
