/* Names of workers: distinct, and short enough for the ledger's columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumer/worker_name.h"

enum { PID_MOST = 4194304, HOST_MOST = 64 };

static void a_short_host_name_stands_as_it_is(void **state)
{
    (void)state;
    char name[WORKER_NAME_SIZE];
    worker_name_make(name, "mail-7.example.com", 4242);
    assert_string_equal(name, "mail-7.example.com-4242");
}

static void host_names_of_every_length_give_names_that_fit_and_differ(void **state)
{
    (void)state;
    for (size_t len = 1; len <= HOST_MOST; len++) {
        for (size_t at = 0; at < len; at++) { /* they differ in one character anywhere */
            char one[HOST_MOST + 1] = "", other[HOST_MOST + 1] = "";
            char first[WORKER_NAME_SIZE], second[WORKER_NAME_SIZE];
            memset(one, 'h', len);
            memset(other, 'h', len);
            other[at] = 'x';
            for (long pid = 1; pid <= PID_MOST; pid += PID_MOST - 1) {
                worker_name_make(first, one, pid);
                worker_name_make(second, other, pid);
                assert_true(strlen(first) < WORKER_NAME_SIZE);
                assert_string_not_equal(first, second);
            }
        }
    }
}

static void a_long_host_name_keeps_its_end_and_the_process(void **state)
{
    (void)state;
    char name[WORKER_NAME_SIZE];
    const char *host = "mailflock-consumer-bulk-europe-west-production-5d9c7b6f4d-x2x7q";
    worker_name_make(name, host, 1);
    assert_non_null(strstr(name, "-5d9c7b6f4d-x2x7q-1"));
    worker_name_make(name, host, PID_MOST);
    assert_non_null(strstr(name, "-5d9c7b6f4d-x2x7q-4194304"));
}

static void strange_characters_do_not_reach_the_ledger(void **state)
{
    (void)state;
    char one[WORKER_NAME_SIZE], other[WORKER_NAME_SIZE];
    worker_name_make(one, "a b\xff\"", 1);
    worker_name_make(other, "a b\xfe\"", 1);
    assert_string_not_equal(one, other);
    for (const char *p = one; *p; p++) assert_true(*p > ' ' && *p < 0x7f && *p != '"');
}

static void a_name_of_the_settings_is_used_to_its_last_character(void **state)
{
    (void)state;
    char name[WORKER_NAME_SIZE], wanted[WORKER_NAME_SIZE] = "";
    memset(wanted, 'w', 63);
    wanted[63] = '7';
    worker_name_choose(name, wanted);
    assert_string_equal(name, wanted);
}

static void without_one_host_and_process_make_it(void **state)
{
    (void)state;
    char name[WORKER_NAME_SIZE], wanted[WORKER_NAME_SIZE];
    struct utsname system;
    assert_int_equal(uname(&system), 0);
    worker_name_choose(name, "");
    worker_name_make(wanted, system.nodename, (long)getpid());
    assert_string_equal(name, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_host_name_stands_as_it_is),
        cmocka_unit_test(host_names_of_every_length_give_names_that_fit_and_differ),
        cmocka_unit_test(a_long_host_name_keeps_its_end_and_the_process),
        cmocka_unit_test(strange_characters_do_not_reach_the_ledger),
        cmocka_unit_test(a_name_of_the_settings_is_used_to_its_last_character),
        cmocka_unit_test(without_one_host_and_process_make_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
