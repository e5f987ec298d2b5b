/* What answers mean and how long they make us wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/enrich_policy.h"
#include "common/service_pace.h"

static void answers_are_taken_waited_for_or_refused(void **state)
{
    (void)state;
    static const struct {
        enum http_end end;
        int status;
        const char *type;
        enum enrich_verdict want;
        const char *tells;
    } rows[] = {
        {HTTP_ANSWERED, 200, "application/json", ENRICH_TAKE, NULL},
        {HTTP_ANSWERED, 200, "Application/JSON; charset=utf-8", ENRICH_TAKE, NULL},
        {HTTP_ANSWERED, 200, "application/json;charset=utf-8", ENRICH_TAKE, NULL},
        {HTTP_ANSWERED, 200, "application/hal+json", ENRICH_TAKE, NULL},
        {HTTP_ANSWERED, 200, "application/vnd.crm.v1+json; v=1", ENRICH_TAKE, NULL},
        {HTTP_ANSWERED, 200, "text/html; charset=utf-8", ENRICH_REFUSE,
         "'text/html; charset=utf-8'"},
        {HTTP_ANSWERED, 200, "application/xml", ENRICH_REFUSE, "application/xml"},
        {HTTP_ANSWERED, 200, "application/jsonx", ENRICH_REFUSE, "application/jsonx"},
        {HTTP_ANSWERED, 200, "text/json", ENRICH_REFUSE, "text/json"},
        {HTTP_ANSWERED, 200, "", ENRICH_REFUSE, "no content type"},
        {HTTP_ANSWERED, 201, "application/json", ENRICH_REFUSE, "answers 201, not 200"},
        {HTTP_ANSWERED, 204, "", ENRICH_REFUSE, "answers 204"},
        {HTTP_ANSWERED, 301, "text/html", ENRICH_REFUSE, "leads to 'http://else.example/'"},
        {HTTP_ANSWERED, 307, "", ENRICH_REFUSE, "leads to 'http://else.example/'"},
        {HTTP_ANSWERED, 400, "application/json", ENRICH_REFUSE, "answers 400"},
        {HTTP_ANSWERED, 401, "application/json", ENRICH_REFUSE, "answers 401"},
        {HTTP_ANSWERED, 404, "text/html", ENRICH_REFUSE, "answers 404"},
        {HTTP_ANSWERED, 408, "", ENRICH_WAIT, "answers 408"},
        {HTTP_ANSWERED, 425, "", ENRICH_WAIT, "answers 425"},
        {HTTP_ANSWERED, 429, "text/html", ENRICH_WAIT, "answers 429"},
        {HTTP_ANSWERED, 500, "", ENRICH_WAIT, "answers 500"},
        {HTTP_ANSWERED, 502, "text/html", ENRICH_WAIT, "answers 502"},
        {HTTP_TOO_BIG, 503, "text/html", ENRICH_WAIT, "answers 503"},
        {HTTP_TOO_BIG, 200, "application/json", ENRICH_REFUSE, "larger"},
        {HTTP_BROKEN, 0, "", ENRICH_WAIT, "the reason"},
        {HTTP_BROKEN, 200, "application/json", ENRICH_WAIT, "the reason"},
        {HTTP_BROKEN, 429, "", ENRICH_WAIT, "answers 429"},
        {HTTP_HOPELESS, 0, "", ENRICH_REFUSE, "the reason"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_answer answer = {.end = rows[i].end,
                                     .status = rows[i].status,
                                     .location = "http://else.example/",
                                     .failure = "the reason"};
        struct err why = err_none();
        snprintf(answer.content_type, sizeof answer.content_type, "%s", rows[i].type);
        enum enrich_verdict got = enrich_judge(&answer, &why);
        if (got != rows[i].want)
            fail_msg("row %zu: %d, not %d: %s", i, got, rows[i].want, why.text);
        if (!rows[i].tells)
            assert_int_equal(why.code, ERR_NONE);
        else if (!why.code || !strstr(why.text, rows[i].tells))
            fail_msg("row %zu: no '%s' in: %s", i, rows[i].tells, why.text);
    }
}

static const struct conf_durations WAITS = {(int64_t[]){1000, 5000, 30000}, 3};

static void the_waits_grow_and_the_last_repeats(void **state)
{
    (void)state;
    static const struct {
        unsigned tries;
        int64_t retry_after_s, want_us;
    } rows[] = {
        {1, 0, 1000000},
        {2, 0, 5000000},
        {3, 0, 30000000},
        {4, 0, 30000000},
        {1000000, 0, 30000000},
        {1, 7, 7000000},
        {3, 7, 30000000},
        {1, 1, 1000000},
        {1, 86400, 86400000000},
        {1, 86401, 86400000000}, /* a day at most */
        {1, INT64_MAX, 86400000000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(enrich_pause_us(&WAITS, rows[i].tries, rows[i].retry_after_s),
                         rows[i].want_us);
}

static void patience_lasts_until_the_deadline_but_for_all_waits(void **state)
{
    (void)state;
    assert_int_equal(enrich_patience_us(&WAITS, 1000, 900000000), 900000000);
    assert_int_equal(enrich_patience_us(&WAITS, 1000, 36001001), 36001001);
    assert_int_equal(enrich_patience_us(&WAITS, 1000, 36000999), 36001000);
    assert_int_equal(enrich_patience_us(&WAITS, 1000, -5), 36001000);
}

static void every_wait_is_waited_once_and_beyond_that_the_patience_counts(void **state)
{
    (void)state;
    static const struct {
        unsigned tries;
        int64_t pause_us, now_us, patience_us;
        bool want;
    } rows[] = {
        {1, 1000000, 0, 36000000, true},
        {3, 30000000, 7000000, 36000000, true}, /* the tries took time, too */
        {4, 30000000, 7000000, 36000000, false},
        {4, 30000000, 7000000, 37000000, true},
        {9999, 30000000, 100, 900000000, true},
        {1, 40000000, 0, 36000000, false}, /* Retry-After past all patience */
        {3, 31000000, 7000000, 36000000, false},
        {1, 40000000, 0, 40000000, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (enrich_is_patient(&WAITS, rows[i].tries, rows[i].pause_us, rows[i].now_us,
                              rows[i].patience_us) != rows[i].want)
            fail_msg("row %zu", i);
}

static void the_pace_is_that_of_the_origin(void **state)
{
    (void)state;
    char long_url[600], out[SERVICE_ORIGIN_SIZE];
    static const char *const rows[][2] = {
        {"https://CRM.example/contacts?x=1", "https://crm.example"},
        {"http://crm.example:8080", "http://crm.example:8080"},
        {"HTTP://crm.example?x", "http://crm.example"},
        {"http://[::1]:80/a/b", "http://[::1]:80"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(service_pace_origin(rows[i][0], out), rows[i][1]);
    snprintf(long_url, sizeof long_url, "http://%0500d/", 0);
    assert_int_equal(strlen(service_pace_origin(long_url, out)), SERVICE_ORIGIN_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_taken_waited_for_or_refused),
        cmocka_unit_test(the_waits_grow_and_the_last_repeats),
        cmocka_unit_test(patience_lasts_until_the_deadline_but_for_all_waits),
        cmocka_unit_test(every_wait_is_waited_once_and_beyond_that_the_patience_counts),
        cmocka_unit_test(the_pace_is_that_of_the_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
