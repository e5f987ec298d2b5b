/* mailflock check: the names in templates against columns, the judgement of EXPLAIN, the time in
 * hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "console/check_names.h"
#include "console/check_plan.h"

static const struct db_column COLUMNS[] = {{"id", DB_KIND_INT, true},
                                           {"email", DB_KIND_TEXT, false},
                                           {"name", DB_KIND_TEXT, false},
                                           {"rooms", DB_KIND_JSON, false}};
static const struct recipient_columns SHAPE = {COLUMNS, 4, 0, 1};

static void note(void *arg, const struct template_node *n, enum check_names_problem problem)
{
    static const char MARKS[] = {
        [CHECK_NAMES_NO_COLUMN] = '!', [CHECK_NAMES_NO_JSON] = '.', [CHECK_NAMES_NO_SECTION] = '#'};
    struct buf *out = arg;
    buf_append_format(out, "%s%c%.*s", out->len ? " " : "", MARKS[problem], (int)n->len, n->text);
}

static void names_are_judged_where_they_can_be_known(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"plain", ""},
        {"{{name}} {{{email}}} {{&id}}", ""},
        {"{{nmae}}", "!nmae"},
        {"{{Name}}", "!Name"},
        {"{{{nmae}}} {{&nmae}}", "!nmae !nmae"},
        {"{{rooms.total}} {{name.first}} {{who.first}}", ".name.first !who.first"},
        {"{{#rooms}}{{title}}{{#people}}{{x}}{{/people}}{{/rooms}}{{title}}", "!title"},
        {"{{#rooms.open}}{{title}}{{/rooms.open}}", ""},
        {"{{#name}}{{nmae}}{{.}}{{/name}}", "!nmae"},
        {"{{^name}}{{nmae}}{{/name}}", "!nmae"},
        {"{{^rooms}}{{nmae}}{{/rooms}}", "!nmae"},
        {"{{#romos}}{{title}}{{/romos}}", "#romos"},
        {"{{^romos}}{{title}}{{/romos}}", "#romos !title"},
        {"{{#name}}{{#rooms}}{{title}}{{/rooms}}{{x}}{{/name}}", "!x"},
        {"{{>row}}{{>row}}", "!inner"},
        {"{{#rooms}}{{>row}}{{/rooms}}", ""},
        {"{{#rooms}}{{>row}}{{/rooms}}{{^name}}{{>row}}{{/name}}", "!inner"},
        {"{{>tree}}", "#children"},
    };
    const struct template_source parts[] = {
        {"row.html", "{{inner}}{{name}}", 17},
        {"tree.html", "{{name}}{{#children}}{{>tree}}{{/children}}", 43},
    };
    const struct template_partials partials = {parts, 2};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct template_source source = {"a.html", rows[i].text, strlen(rows[i].text)};
        struct template *t;
        struct buf got;
        struct err e = template_compile(&source, &partials, TEMPLATE_STRICT, &t);
        if (e.code) fail_msg("%s: %s", rows[i].text, e.text);
        buf_init(&got, 1000);
        check_names(t, &SHAPE, note, &got);
        if (strcmp(buf_text(&got), rows[i].want) != 0)
            fail_msg("%s: %s", rows[i].text, buf_text(&got));
        buf_fini(&got);
        template_free(t);
    }
}

static void a_page_ought_to_be_a_range_scan(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct check_plan_row row;
        const char *want; /* part of the problem, NULL for none */
    } rows[] = {
        {"range", {"s", "range", "PRIMARY", "Using where", 500000, true}, NULL},
        {"const", {"s", "const", "PRIMARY", "", 1, true}, NULL},
        {"joined by key", {"p", "eq_ref", "PRIMARY", "", 1, false}, NULL},
        {"joined by many", {"r", "ref", "person", "", 5000, false}, NULL},
        {"a whole table", {"s", "ALL", "", "Using where", 5000, true}, "end to end"},
        {"a whole index", {"s", "index", "PRIMARY", "Using where", 5000, true}, "end to end"},
        {"a small table", {"s", "ALL", "", "Using filesort", 1000, true}, NULL},
        {"a whole table joined", {"p", "ALL", "", "Using join buffer", 5000, false}, "end to end"},
        {"another index", {"s", "ref", "active", "Using where", 5000, true}, "another index"},
        {"sorted", {"s", "range", "name", "Using where; Using filesort", 5000, true}, "sorts"},
        {"temporary", {"s", "range", "name", "Using temporary", 5000, true}, "temporary"},
        {"nothing to read", {"", "", "", "Impossible WHERE", 0, true}, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[CHECK_PLAN_TEXT] = "";
        bool problem = check_plan_problem(&rows[i].row, text);
        if (problem != (rows[i].want != NULL) || (problem && !strstr(text, rows[i].want)))
            fail_msg("%s: %s", rows[i].name, text);
    }
}

static void the_time_in_hand_is_shared_by_the_connections(void **state)
{
    (void)state;
    static const struct {
        int prefetch, chunk, connections;
        int64_t hold_ms, want_ms;
    } rows[] = {
        {4, 500, 20, 1200000, 12000}, {100, 1000, 1, 1200000, 12}, {1, 1, 1000, 1200000, 1200000},
        {1, 3, 2, 1000, 500},         {100, 1000, 1, 1000, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(
            check_hold_ms(rows[i].prefetch, rows[i].chunk, rows[i].connections, rows[i].hold_ms),
            rows[i].want_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_judged_where_they_can_be_known),
        cmocka_unit_test(a_page_ought_to_be_a_range_scan),
        cmocka_unit_test(the_time_in_hand_is_shared_by_the_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
