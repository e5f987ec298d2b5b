/* Dead letters: which ones are meant, and bodies made fit for a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <limits.h>

#include "console/dead.h"

static void a_choice_is_a_number_an_id_or_all(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool all;
        int number;
        bool is_id;
    } rows[] = {
        {"all", true, 0, false},
        {"1", false, 1, false},
        {"007", false, 7, false},
        {"0", false, INT_MAX, false},
        {"2147483648", false, INT_MAX, false},
        {"99999999999999999999999", false, INT_MAX, false},
        {"12/7/1", false, 0, true},
        {"1 ", false, 0, true},
        {"+1", false, 0, true},
        {"", false, 0, true},
        {"ALL", false, 0, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dead_choice c = dead_choice_parse(rows[i].text);
        if (c.all != rows[i].all || c.number != rows[i].number || (c.id != NULL) != rows[i].is_id)
            fail_msg("'%s': all=%d number=%d id=%s", rows[i].text, c.all, c.number, c.id);
    }
}

static void bodies_are_fit_for_a_terminal(void **state)
{
    (void)state;
    static const struct {
        const char *name, *body;
        size_t max;
        const char *want;
    } rows[] = {
        {"plain", "abc", 10, "abc"},
        {"empty", "", 10, ""},
        {"controls", "a\x1b[m\r\x7f", 10, "a?[m??"},
        {"line breaks stay", "a\n\tb", 10, "a\n\tb"},
        {"UTF-8 stays", "\xc3\xa9\xf0\x9f\x8c\xb7", 10, "\xc3\xa9\xf0\x9f\x8c\xb7"},
        {"other bytes do not",
         "\xff"
         "a\xc3",
         10, "?a?"},
        {"C1 controls",
         "a\xc2\x9b"
         "b\xc2\xa0",
         10, "a?b\xc2\xa0"},
        {"cut", "abcdef", 4, "abcd\n... and 2 bytes more"},
        {"a recipient a line", "{\"v\":1,\"r\":[{\"p\":0,\"m\":{}},{\"p\":1}]}", 100,
         "{\"v\":1,\"r\":[\n{\"p\":0,\"m\":{}},\n{\"p\":1}]}"},
        {"braces in texts", "{\"a\":\"{\\\"{\",\"b\":\"}\"}", 100,
         "{\"a\":\"{\\\"{\",\"b\":\"}\"}"},
    };
    struct buf out;
    buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&out);
        dead_append_body(&out, rows[i].body, strlen(rows[i].body), rows[i].max);
        if (strcmp(buf_text(&out), rows[i].want) != 0)
            fail_msg("%s: '%s'", rows[i].name, buf_text(&out));
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_choice_is_a_number_an_id_or_all),
        cmocka_unit_test(bodies_are_fit_for_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
