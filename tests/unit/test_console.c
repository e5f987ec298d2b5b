/* The command line's own parts: options, text for terminals, CSV, reply code patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "console/console.h"
#include "console/recipients.h"
#include "console/reopen.h"
#include "console/suppress.h"

static void options_are_found_wherever_they_stand(void **state)
{
    (void)state;
    char *argv[] = {"retry", "--csv", "12", "--status=failed", "--code", "4xx", "--", "--x", NULL};
    int argc = 8;
    bool csv = false;
    const char *status = NULL, *code = NULL;
    const struct console_option options[] = {
        {"--csv", &csv, NULL}, {"--status", NULL, &status}, {"--code", NULL, &code}};
    assert_true(console_options(&argc, argv, options, 3, 1, 2));
    assert_int_equal(argc, 3);
    assert_string_equal(argv[1], "12");
    assert_string_equal(argv[2], "--x");
    assert_true(csv);
    assert_string_equal(status, "failed");
    assert_string_equal(code, "4xx");
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        char *argv[4];
        int argc;
    } rows[] = {
        {"unknown option", {"x", "--nope", "1"}, 3},
        {"prefix of an option", {"x", "--cs", "1"}, 3},
        {"value for a flag", {"x", "--csv=1", "1"}, 3},
        {"value missing", {"x", "1", "--code"}, 3},
        {"argument missing", {"x", "--csv"}, 2},
        {"argument too many", {"x", "1", "2"}, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *argv[4];
        memcpy(argv, rows[i].argv, sizeof argv);
        int argc = rows[i].argc;
        bool csv = false;
        const char *code = NULL;
        const struct console_option options[] = {{"--csv", &csv, NULL}, {"--code", NULL, &code}};
        if (console_options(&argc, argv, options, 2, 1, 1)) fail_msg("%s: taken", rows[i].name);
    }
}

static void text_for_terminals_has_no_control_characters(void **state)
{
    (void)state;
    char out[8];
    assert_string_equal(console_text(out, sizeof out, "a\x1b[m\n"), "a?[m?");
    assert_string_equal(console_text(out, sizeof out, "abcdefghij"), "abcdefg");
    assert_string_equal(console_text(out, sizeof out, "abcdef\xc3\xa9"), "abcdef");
    assert_string_equal(console_text(out, sizeof out, "abcde\xc3\xa9"), "abcde\xc3\xa9");
    assert_string_equal(console_text(out, sizeof out, "a\xc2\x9b[m\x7f"), "a?[m?");
    assert_string_equal(console_text(out, sizeof out, "\xc2\xa0\xc2\x80\xc2\x9f."), "\xc2\xa0??.");
    assert_string_equal(console_text(out, sizeof out, "a\xff\xe2\x82"), "a???");
    assert_string_equal(console_text(out, sizeof out, "\xc3\xa9\xa9."), "\xc3\xa9?.");
    assert_string_equal(console_text(out, sizeof out, "\xf0\x9f\x8e\x89"), "\xf0\x9f\x8e\x89");
    assert_string_equal(console_text(out, 4, "\xf0\x9f\x8e\x89"), "");
    assert_string_equal(console_text(out, sizeof out, ""), "");
}

static void whole_numbers_are_read_within_their_limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t least, most;
        bool taken;
        uint32_t want;
    } rows[] = {
        {"0", 0, 5, true, 0},
        {"5", 0, 5, true, 5},
        {"007", 1, 9, true, 7},
        {"4294967295", 0, UINT32_MAX, true, UINT32_MAX},
        {"6", 0, 5, false, 0},
        {"0", 1, 5, false, 0},
        {"4294967296", 0, UINT32_MAX, false, 0},
        {"4294967297", 0, 5, false, 0},
        {"18446744073709551617", 0, 5, false, 0},
        {"", 0, 5, false, 0},
        {"-1", 0, 5, false, 0},
        {"+1", 0, 5, false, 0},
        {" 1", 0, 5, false, 0},
        {"1x", 0, 5, false, 0},
        {"x", 0, 5, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t got;
        bool taken = console_number(rows[i].text, rows[i].least, rows[i].most, &got);
        if (taken != rows[i].taken || (taken && got != rows[i].want))
            fail_msg("'%s'", rows[i].text);
    }
}

static void only_who_changes_chunks_has_a_short_session(void **state)
{
    (void)state;
    struct console c = {.settings.worker.lease_ms = 7500};
    assert_int_equal(console_db_config(&c).session_timeout_s, 0);
    c.changes = true;
    assert_int_equal(console_db_config(&c).session_timeout_s, 8);
}

static void csv_fields_are_quoted_where_they_must_be(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", ""},
        {"plain text", "plain text"},
        {"a,b", "\"a,b\""},
        {"say \"hi\"", "\"say \"\"hi\"\"\""},
        {"a\nb", "\"a\nb\""},
    };
    struct buf out;
    buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&out);
        recipients_csv_field(&out, rows[i].text, strlen(rows[i].text));
        assert_string_equal(buf_text(&out), rows[i].want);
    }
    buf_fini(&out);
}

static void code_patterns_become_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int least, most; /* 0 0: refused */
    } rows[] = {
        {"550", 550, 550}, {"4xx", 400, 499}, {"55X", 550, 559}, {"xxx", 0, 0}, {"4x1", 0, 0},
        {"45", 0, 0},      {"4500", 0, 0},    {"", 0, 0},        {"-1x", 0, 0}, {"4 x", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int least, most;
        bool taken = reopen_parse_code(rows[i].text, &least, &most);
        if (taken != (rows[i].least > 0)) fail_msg("'%s'", rows[i].text);
        if (taken && (least != rows[i].least || most != rows[i].most))
            fail_msg("'%s': %d to %d", rows[i].text, least, most);
    }
}

static void an_address_has_one_key(void **state)
{
    (void)state;
    static const struct {
        const char *address, *want; /* want: the key, or with problem part of it */
        bool problem;
    } rows[] = {
        {"Mia@Example.NET", "mia@example.net", false},
        {"a@B\xc3\xbc"
         "cher.de",
         "a@xn--bcher-kva.de", false},
        {"jos\xc3\xa9@x.y", "jos\xc3\xa9@x.y", false},
        {"nobody", "no @", true},
        {"", "empty", true},
        {" a@b.c", "space", true},
        {"a@b.c\n", "line break", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char key[ADDRESS_MAX + 1] = "";
        const char *problem = suppress_key(rows[i].address, strlen(rows[i].address), key);
        bool good = rows[i].problem ? problem && strstr(problem, rows[i].want)
                                    : !problem && strcmp(key, rows[i].want) == 0;
        if (!good) fail_msg("'%s': %s", rows[i].address, problem ? problem : key);
    }
}

static void a_reason_fits_its_column(void **state)
{
    (void)state;
    char longest[3 * 256 + 1] = "";
    for (int i = 0; i < 255; i++) memcpy(longest + 3 * i, "\xea\xb0\x80", 3);
    assert_null(suppress_reason_problem(longest, 3 * 255));
    memcpy(longest + 3 * 255, "\xea\xb0\x80", 3);
    assert_non_null(strstr(suppress_reason_problem(longest, 3 * 256), "255 characters"));
    assert_null(suppress_reason_problem("", 0));
    assert_non_null(strstr(suppress_reason_problem("a\nb", 3), "control"));
    assert_non_null(strstr(suppress_reason_problem("a\xff", 2), "UTF-8"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_one_key),
        cmocka_unit_test(a_reason_fits_its_column),
        cmocka_unit_test(options_are_found_wherever_they_stand),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(text_for_terminals_has_no_control_characters),
        cmocka_unit_test(whole_numbers_are_read_within_their_limits),
        cmocka_unit_test(only_who_changes_chunks_has_a_short_session),
        cmocka_unit_test(csv_fields_are_quoted_where_they_must_be),
        cmocka_unit_test(code_patterns_become_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
