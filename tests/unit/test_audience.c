/* The placeholders of audience SQL, the order of ids, the producer's command line. */
#include <fcntl.h>
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/audience_sql.h"
#include "common/id_order.h"
#include "producer/options.h"

#define Q "SELECT id FROM s WHERE id > :after ORDER BY id LIMIT :limit"

static void the_sql_is_one_select_that_only_reads_page_by_page(void **state)
{
    (void)state;
    static const struct {
        const char *name, *sql, *want; /* want: part of the problem, NULL for good */
    } rows[] = {
        {"plain", Q, NULL},
        {"no limit", "SELECT id FROM s WHERE id > :after", ":limit"},
        {"no after", "SELECT id FROM s LIMIT :limit", ":after"},
        {"no order", "SELECT id FROM s WHERE id > :after LIMIT :limit", "ORDER BY id"},
        {"an order in name only", "SELECT id FROM reorder by WHERE :after LIMIT :limit", "ORDER"},
        {"an order in a comment", "SELECT :after /* ORDER BY */ LIMIT :limit", "ORDER BY id"},
        {"after in a quote", "SELECT ':after' LIMIT :limit", ":after"},
        {"after in a comment", "SELECT 1 /* :after */ LIMIT :limit", ":after"},
        {"limit behind --", "SELECT :after -- LIMIT :limit", ":limit"},
        {"limit behind #", "SELECT :after # LIMIT :limit", ":limit"},
        {"a longer name", "SELECT :after LIMIT :limits", ":limit"},
        {"a second line", "SELECT :after -- why\nORDER  \n By id LIMIT :limit", NULL},
        {"two minus signs without a blank", "SELECT 1--:after ORDER BY 1 LIMIT :limit", NULL},
        {"open quote", "SELECT 'a :after LIMIT :limit", "does not end"},
        {"open comment", Q " /* and", "does not end"},
        {"open comment of three bytes", Q " /*/", "does not end"},
        {"escaped quote", "SELECT 'it\\'s' FROM (" Q ") x", NULL},
        {"doubled quote", "SELECT 'it''s' FROM (" Q ") x", NULL},
        {"backslash in an identifier", "SELECT `a\\` FROM (" Q ") x", NULL},
        {"quote in a comment", "SELECT :after -- don't\n ORDER BY 1 LIMIT :limit", NULL},
        {"nothing", "", "must be a SELECT"},
        {"only a comment", "-- nothing", "must be a SELECT"},
        {"DELETE", "DELETE FROM s WHERE id > :after ORDER BY id LIMIT :limit", "must be a SELECT"},
        {"CALL", "CALL p(:after, :limit)", "must be a SELECT"},
        {"a comment first", "/* who */ -- and\n " Q, NULL},
        {"parentheses first", "(" Q ")", NULL},
        {"WITH first", "with x as (" Q ") SELECT * FROM x", NULL},
        {"two statements", Q "; DROP TABLE s", "one statement"},
        {"two statements with a comment between", Q ";/**/-- x\nDROP TABLE s", "one statement"},
        {"semicolons at the end", Q " ;\n; -- done", NULL},
        {"a semicolon in a quote", "SELECT ';' FROM (" Q ") x", NULL},
        {"a file", Q " INTO OUTFILE '/tmp/x'", "INTO"},
        {"a variable", "SELECT id into @a FROM (" Q ") x", "INTO"},
        {"columns called into", "SELECT t.into, `into`, @into, 'into', into_x FROM (" Q ") t",
         NULL},
        {"locks", Q " FOR UPDATE", "lock rows"},
        {"locks over lines", Q " for /* a */\n share", "lock rows"},
        {"locks the old way", Q " LOCK IN SHARE MODE", "lock rows"},
        {"FOR of other kinds", "SELECT SUBSTRING(a FROM 1 FOR 3) FROM (" Q ") t", NULL},
        {"a comment that is executed", Q " /*! INTO OUTFILE '/tmp/x' */", "executes"},
        {"one that MariaDB executes", Q " /*M! FOR UPDATE */", "executes"},
        {"a hint", "SELECT /*+ MAX_EXECUTION_TIME(1000) */ * FROM (" Q ") t", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *problem = audience_sql_problem(rows[i].sql);
        bool good = rows[i].want ? problem && strstr(problem, rows[i].want) : !problem;
        if (!good) fail_msg("%s: %s", rows[i].name, problem ? problem : "no problem");
    }
}

static void placeholders_are_replaced_where_they_are_placeholders(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *want;
    } rows[] = {
        {Q, "SELECT id FROM s WHERE id > 'x' ORDER BY id LIMIT 7"},
        {"a :after, :after b", "a 'x', 'x' b"},
        {":scheduled_at", "'2026-01-02 03:04:05'"},
        {"':after' \":limit\" `:after` :limit", "':after' \":limit\" `:after` 7"},
        {"/* :after */ :after -- :limit\n:limit # :limit",
         "/* :after */ 'x' -- :limit\n7 # :limit"},
        {":afternoon :Limit ::after :", ":afternoon :Limit :'x' :"},
        {"SELECT 1 ; \n;", "SELECT 1"},
        {"SELECT ';' ; -- done", "SELECT ';'  -- done"},
        {"'a\\':after' :limit", "'a\\':after' 7"},
        {"\"a\"\":after\" :limit", "\"a\"\":after\" 7"},
        {"@a:=1, :limit", "@a:=1, 7"},
        {"", ""},
    };
    const struct audience_values values = {"'x'", "7", "'2026-01-02 03:04:05'"};
    struct buf out;
    buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&out);
        audience_sql_fill(rows[i].sql, &values, &out);
        assert_string_equal(buf_text(&out), rows[i].want);
    }
    buf_fini(&out);
}

static const char *add(struct id_order *o, const char *id)
{
    return id_order_add(o, id, strlen(id));
}

static void integers_ascend_by_value_over_the_whole_range(void **state)
{
    (void)state;
    struct id_order o;
    id_order_init(&o, true);
    id_order_start(&o, NULL);
    static const char *const good[] = {
        "-9223372036854775808", "-10", "-9", "0", "9", "10", "00042", "9223372036854775808",
        "18446744073709551615"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (i % 3 == 0) id_order_page(&o);
        assert_null(add(&o, good[i]));
    }
    assert_string_equal(add(&o, "18446744073709551615"), "is a duplicate");
    assert_non_null(strstr(add(&o, "5"), "not in the order"));
    assert_non_null(strstr(add(&o, "-5"), "not in the order"));
    assert_non_null(add(&o, "abc"));
    id_order_start(&o, "100");
    id_order_page(&o);
    assert_string_equal(add(&o, "100"), "is a duplicate");
    assert_null(add(&o, "101"));
    id_order_fini(&o);
}

static void texts_come_once_in_two_pages(void **state)
{
    (void)state;
    struct id_order o;
    id_order_init(&o, false);
    id_order_start(&o, "start");
    id_order_page(&o);
    assert_string_equal(add(&o, "start"), "is a duplicate");
    assert_null(add(&o, "b"));
    assert_null(add(&o, "B"));
    assert_null(add(&o, "a")); /* their order is the database's to judge */
    assert_string_equal(add(&o, "b"), "is a duplicate");
    id_order_page(&o);
    assert_string_equal(add(&o, "B"), "is a duplicate");
    assert_null(add(&o, "c"));
    id_order_page(&o);
    assert_null(add(&o, "B")); /* two pages ago: forgotten */
    id_order_fini(&o);
}

static void a_page_of_texts_may_be_large(void **state)
{
    (void)state;
    struct id_order o;
    char id[16];
    id_order_init(&o, false);
    id_order_start(&o, NULL);
    for (int page = 0; page < 3; page++) {
        id_order_page(&o);
        for (int i = 0; i < 20000; i++) {
            snprintf(id, sizeof id, "id-%d-%d", page, i);
            assert_null(add(&o, id));
        }
    }
    assert_string_equal(add(&o, "id-2-0"), "is a duplicate");
    assert_string_equal(add(&o, "id-1-19999"), "is a duplicate");
    id_order_fini(&o);
}

static void integers_are_told_from_texts(void **state)
{
    (void)state;
    static const char *const good[] = {"0", "-1", "18446744073709551615", "-9223372036854775808"};
    static const char *const bad[] = {
        "", "-", "1a", "+1", " 1", "1 ", "18446744073709551616", "-9223372036854775809", "1 OR 1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(id_order_is_int(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(id_order_is_int(bad[i]));
}

/* options_read with what it says thrown away. */
static bool read_quietly(int argc, char **argv, struct options *got)
{
    int own = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
    assert_true(own >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
    optind = 0; /* glibc: begin anew */
    bool good = options_read(argc, argv, got);
    assert_true(dup2(own, STDERR_FILENO) >= 0);
    close(own);
    close(nowhere);
    return good;
}

static void the_command_line_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *words; /* separated by one space */
        bool good;
        struct options want;
    } rows[] = {
        {"run welcome", true, {.campaign = "welcome"}},
        {"-c x.cfg run welcome --dry-run", true, {.campaign = "welcome", .dry_run = true}},
        {"run welcome --at 2026-01-02T03:04:05Z",
         true,
         {.campaign = "welcome", .has_at = true, .at_s = 1767323045}},
        {"run welcome --at tomorrow", false, {0}},
        {"run welcome --at 1969-12-31T00:00:00Z", false, {0}},
        {"run", false, {0}},
        {"run a b", false, {0}},
        {"walk", false, {0}},
        {"", false, {0}},
        {"--unknown", false, {0}},
        {"due", true, {.command = OPTIONS_DUE}},
        {"due now", false, {0}},
        {"due --dry-run", false, {0}},
        {"-t", true, {.command = OPTIONS_CHECK}},
        {"-t welcome", true, {.command = OPTIONS_CHECK, .campaign = "welcome"}},
        {"-t run welcome", true, {.command = OPTIONS_CHECK, .campaign = "welcome"}},
        {"-t a b", false, {0}},
        {"-V", true, {.command = OPTIONS_VERSION}},
        {"-h", true, {.command = OPTIONS_HELP}},
        {"--help-config", true, {.command = OPTIONS_HELP_CONFIG}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char copy[100], *argv[12] = {"mailflock-producer"}, *rest = copy;
        int argc = 1;
        snprintf(copy, sizeof copy, "%s", rows[i].words);
        while (rest && *rest) argv[argc++] = strsep(&rest, " ");
        struct options got;
        bool good = read_quietly(argc, argv, &got);
        const struct options *want = &rows[i].want;
        if (good != rows[i].good) fail_msg("'%s': %s", rows[i].words, good ? "taken" : "refused");
        if (!good) continue;
        if (got.command != want->command || got.has_at != want->has_at || got.at_s != want->at_s ||
            got.dry_run != want->dry_run ||
            strcmp(got.campaign ? got.campaign : "-", want->campaign ? want->campaign : "-"))
            fail_msg("'%s' is misunderstood", rows[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sql_is_one_select_that_only_reads_page_by_page),
        cmocka_unit_test(placeholders_are_replaced_where_they_are_placeholders),
        cmocka_unit_test(integers_ascend_by_value_over_the_whole_range),
        cmocka_unit_test(texts_come_once_in_two_pages),
        cmocka_unit_test(a_page_of_texts_may_be_large),
        cmocka_unit_test(integers_are_told_from_texts),
        cmocka_unit_test(the_command_line_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
