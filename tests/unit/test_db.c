/* The parts of the database module that need no database: what a failure means, and what comes of
 * one that nobody answers. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/db.h"

static void failures_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        int native;
        enum db_failure want;
    } rows[] = {
        {1205, DB_FAILURE_RETRY},     /* lock wait timeout */
        {1213, DB_FAILURE_RETRY},     /* deadlock */
        {2002, DB_FAILURE_LOST},      /* no socket */
        {2003, DB_FAILURE_LOST},      /* no host */
        {2005, DB_FAILURE_LOST},      /* unknown host */
        {2006, DB_FAILURE_LOST},      /* server has gone away */
        {2013, DB_FAILURE_LOST},      /* lost during query */
        {2014, DB_FAILURE_LOST},      /* commands out of sync */
        {2027, DB_FAILURE_LOST},      /* malformed packet */
        {2055, DB_FAILURE_LOST},      /* lost, extended */
        {1053, DB_FAILURE_LOST},      /* server shutdown */
        {1077, DB_FAILURE_LOST},      /* normal shutdown */
        {1159, DB_FAILURE_LOST},      /* read timeout */
        {1317, DB_FAILURE_LOST},      /* query interrupted */
        {1927, DB_FAILURE_LOST},      /* MariaDB: connection killed */
        {4031, DB_FAILURE_LOST},      /* MySQL: closed for inactivity */
        {1044, DB_FAILURE_REFUSED},   /* no right to the database */
        {1045, DB_FAILURE_REFUSED},   /* wrong password */
        {1049, DB_FAILURE_REFUSED},   /* no such database */
        {1021, DB_FAILURE_FULL},      /* disk full */
        {1026, DB_FAILURE_FULL},      /* error on write */
        {1040, DB_FAILURE_FULL},      /* too many connections */
        {1114, DB_FAILURE_FULL},      /* table full */
        {1203, DB_FAILURE_FULL},      /* too many connections of the user */
        {1290, DB_FAILURE_READ_ONLY}, /* read_only, or another option that forbids it */
        {1836, DB_FAILURE_READ_ONLY}, /* read only mode */
        {1054, DB_FAILURE_STATEMENT}, /* unknown column */
        {1062, DB_FAILURE_STATEMENT}, /* duplicate key */
        {1064, DB_FAILURE_STATEMENT}, /* syntax */
        {1146, DB_FAILURE_STATEMENT}, /* no such table */
        {1366, DB_FAILURE_STATEMENT}, /* incorrect string value */
        {1690, DB_FAILURE_STATEMENT}, /* out of range */
        {0, DB_FAILURE_STATEMENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e = err_make(ERR_DB, rows[i].native, "x");
        if (db_failure_of(&e) != rows[i].want)
            fail_msg("%d: got %d", rows[i].native, db_failure_of(&e));
        e = err_wrap(e, "context");
        assert_int_equal(db_failure_of(&e), rows[i].want);
    }
}

static void names_are_quoted(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"run", "`run`"}, {"a`b", "`a``b`"}, {"``", "``````"}, {"a b'c", "`a b'c`"}};
    struct buf sql;
    buf_init(&sql, 100);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&sql);
        db_quote_name(&sql, rows[i][0]);
        assert_string_equal(buf_text(&sql), rows[i][1]);
    }
    buf_fini(&sql);
}

static const struct db_config NOWHERE = {.host = "127.0.0.1",
                                         .socket = "",
                                         .name = "mailflock",
                                         .user = "somebody",
                                         .password = "secret-word",
                                         .port = 1,
                                         .connect_timeout_ms = 1000,
                                         .io_timeout_ms = 1000,
                                         .ca_file = ""};

static void a_server_that_is_not_there_is_named_and_the_password_is_not(void **state)
{
    (void)state;
    struct db_config config = NOWHERE;
    struct db *db = (struct db *)&config;
    struct err e = db_open(&db, &config);
    assert_null(db);
    assert_int_equal(e.code, ERR_DB);
    assert_int_equal(db_failure_of(&e), DB_FAILURE_LOST);
    assert_non_null(strstr(e.text, "'mailflock' at 127.0.0.1:1 as 'somebody'"));
    assert_null(strstr(e.text, "secret"));
    config.socket = "/nowhere/mysql.sock";
    e = db_open(&db, &config);
    assert_int_equal(db_failure_of(&e), DB_FAILURE_LOST);
    assert_non_null(strstr(e.text, "at /nowhere/mysql.sock as"));
    db_close(NULL);
}

/* A port where connections are taken and nothing is ever said. */
static int silent_port(int *listener)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    *listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(*listener >= 0);
    assert_int_equal(bind(*listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(*listener, 8), 0);
    assert_int_equal(getsockname(*listener, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

static void a_server_that_says_nothing_is_given_up(void **state)
{
    (void)state;
    struct db_config config = NOWHERE;
    struct db *db;
    int listener;
    config.port = silent_port(&listener);
    struct err e = db_open(&db, &config); /* or this would never end */
    close(listener);
    assert_int_equal(e.code, ERR_DB);
    assert_int_equal(db_failure_of(&e), DB_FAILURE_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_say_what_to_do),
        cmocka_unit_test(names_are_quoted),
        cmocka_unit_test(a_server_that_is_not_there_is_named_and_the_password_is_not),
        cmocka_unit_test(a_server_that_says_nothing_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
