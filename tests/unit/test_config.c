/* The table-driven reader, on a table of its own that has every type. */
#include "config_fixture.h"

struct item {
    char *name;
    int size;
    char *secret;
};

struct sample {
    char *text, *lines, *secret, *colour_name, *need;
    int number, colour;
    bool flag;
    int64_t wait_ms;
    struct conf_texts words;
    struct conf_durations waits;
    struct conf_groups items;
};

static const char *const colours[] = {"red", "green", NULL};

static const struct conf_key item_keys[] = {
    {"size", CONF_INT, CONF_REQUIRED, offsetof(struct item, size), NULL, 1, 9, NULL, NULL,
     "Its size."},
    {"secret", CONF_TEXT, CONF_SECRET, offsetof(struct item, secret), "", 0, 0, NULL, NULL, "Ssh."},
};
static const struct conf_table item_table = {item_keys, 2, sizeof(struct item), true};

#define AT(field) offsetof(struct sample, field)
static const struct conf_key keys[] = {
    {"text", CONF_TEXT, 0, AT(text), "plain", 1, 40, NULL, NULL, "A text."},
    {"deep.lines", CONF_TEXT, CONF_LINES, AT(lines), "", 0, 0, NULL, NULL, "Lines."},
    {"deep.secret", CONF_TEXT, CONF_SECRET, AT(secret), "", 0, 64, NULL, NULL, "A secret."},
    {"deep.down.number", CONF_INT, 0, AT(number), "7", -5, 100, NULL, NULL, "A number."},
    {"flag", CONF_BOOL, 0, AT(flag), "true", 0, 0, NULL, NULL, "A `flag`."},
    {"wait", CONF_DURATION, 0, AT(wait_ms), "10s", 250, 172800000, NULL, NULL, "A wait."},
    {"colour", CONF_CHOICE, 0, AT(colour), "green", 0, 0, colours, NULL, "A colour."},
    {"colour_name", CONF_TEXT, 0, AT(colour_name), "red", 0, 0, colours, NULL, "Its name."},
    {"words", CONF_TEXT_LIST, 0, AT(words), "a, b", 1, 9, NULL, NULL, "Words."},
    {"waits", CONF_DURATION_LIST, 0, AT(waits), "1m,5m", 1000, 3600000, NULL, NULL, "Waits."},
    {"need", CONF_TEXT, CONF_REQUIRED, AT(need), NULL, 1, 0, NULL, NULL, "What it needs."},
    {"items", CONF_GROUPS, 0, AT(items), NULL, 0, 0, NULL, &item_table, "Items."},
};
#undef AT
static const struct conf_table table = {keys, sizeof keys / sizeof *keys, sizeof(struct sample),
                                        true};

static struct err read_text(const char *text, struct sample *s)
{
    return conf_read(fixture_write("t.cfg", text), &table, s);
}

static void absent_keys_get_their_defaults(void **state)
{
    (void)state;
    struct sample s;
    struct err e = read_text("need = \"x\";", &s);
    assert_string_equal(e.text, "");
    assert_string_equal(s.text, "plain");
    assert_string_equal(s.lines, "");
    assert_string_equal(s.secret, "");
    assert_int_equal(s.number, 7);
    assert_true(s.flag);
    assert_int_equal(s.wait_ms, 10000);
    assert_int_equal(s.colour, 1);
    assert_string_equal(s.colour_name, "red");
    assert_int_equal(s.words.count, 2);
    assert_string_equal(s.words.items[1], "b");
    assert_int_equal(s.waits.count, 2);
    assert_int_equal(s.waits.ms[1], 300000);
    assert_int_equal(s.items.count, 0);
    conf_free(&table, &s);
    conf_free(&table, &s); /* a second time is harmless */
}

static const char everything[] =
    "# a comment: @include, 12345678901\n"
    "// and \" another /* \n/* 12345678901 \" @include */\n"
    "text = \"가나\";\n"
    "deep : { lines = \"a\\nb\"; secret = \"s\"; down = { number = -5 } }\n"
    "flag = false; wait = \"2d\"; colour = \"red\"; colour_name = \"green\";\n"
    "words = (\"x\", \"@include\", \"z\"); waits = [\"90s\"]; need = \"n\";\n"
    "items = { one = { size = 1; }; two-b = { size = 2; secret = \"t\"; }; };\n";

static void given_values_replace_the_defaults(void **state)
{
    (void)state;
    struct sample s;
    struct err e = read_text(everything, &s);
    assert_string_equal(e.text, "");
    assert_string_equal(s.text, "가나");
    assert_string_equal(s.lines, "a\nb");
    assert_string_equal(s.secret, "s");
    assert_int_equal(s.number, -5);
    assert_false(s.flag);
    assert_int_equal(s.wait_ms, 172800000);
    assert_int_equal(s.colour, 0);
    assert_string_equal(s.colour_name, "green");
    assert_int_equal(s.words.count, 3);
    assert_int_equal(s.waits.count, 1);
    assert_int_equal(s.waits.ms[0], 90000);
    assert_int_equal(s.items.count, 2);
    const struct item *items = s.items.items;
    assert_string_equal(items[1].name, "two-b");
    assert_int_equal(items[1].size, 2);
    assert_string_equal(items[1].secret, "t");
    conf_free(&table, &s);
}

static void no_beginning_of_a_file_crashes_or_leaks(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof everything; len++) {
        struct sample s;
        struct err e = conf_read(fixture_write_bytes("t.cfg", everything, len), &table, &s);
        if (!e.code) conf_free(&table, &s);
    }
}

static void every_unit_of_time_is_understood(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {{"250ms", 250}, {"10s", 10000}, {"5m", 300000}, {"1h", 3600000}, {"2d", 172800000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[80];
        snprintf(text, sizeof text, "need = \"x\"; wait = \"%s\";", rows[i].text);
        struct sample s;
        struct err e = read_text(text, &s);
        assert_string_equal(e.text, "");
        assert_int_equal(s.wait_ms, rows[i].ms);
        conf_free(&table, &s);
    }
}

/* Bad files: the error is of that code and names file, line, key and what would be right. */
struct bad {
    const char *claim, *text;
    const char *tells[4];
};

static const struct bad bad[] = {
    {"unknown_key_gets_a_suggestion", "\ntxet = \"a\";", {"t.cfg:2: key 'txet'", "'text'?"}},
    {"unknown_deep_key_gets_a_suggestion",
     "deep = {\n down = { numbers = 1; }; };",
     {"t.cfg:2: key 'deep.down.numbers' is not known", "did you mean 'deep.down.number'?"}},
    {"unknown_key_known_elsewhere_is_pointed_to", "number = 1;", {"mean 'deep.down.number'?"}},
    {"unknown_group_gets_a_suggestion", "deap = { lines = \"\"; };", {"'deap'", "'deep'?"}},
    {"unknown_key_like_no_other_lists_what_is_known",
     "deep = { qqqq = 1; };",
     {"'deep.qqqq'", "known here: lines, secret, down"}},
    {"unknown_key_in_a_named_group",
     "items = { one = {\n sise = 1; }; };",
     {"t.cfg:2: key 'items.one.sise'", "'size'?"}},
    {"key_given_twice", "text = \"a\";\ntext = \"b\";", {"t.cfg:2", "duplicate"}},
    {"syntax_error_has_its_line", "text = \"a\";\nflag = = true;", {"t.cfg:2: syntax error"}},
    {"unclosed_text", "text = \"a;\n", {"t.cfg:", "syntax error", "quotes"}},
    {"text_for_an_integer",
     "\n\ndeep = { down = { number = \"7\"; }; };",
     {"t.cfg:3: deep.down.number must be an integer from -5 to 100", "not the text '7'"}},
    {"fraction_for_an_integer", "deep: { down: { number = 7.5; }; };", {"not the number 7.5"}},
    {"integer_for_a_text", "text = 5;", {"text must be a text, not the number 5"}},
    {"integer_for_a_flag", "flag = 1;", {"flag must be true or false, not the number 1"}},
    {"group_for_a_text", "text = { a = 1; };", {"text must be a text, not a group"}},
    {"value_for_a_group", "deep = 5;", {"t.cfg:1: deep must be a group: deep = { ... };"}},
    {"text_for_a_list", "words = \"a\";", {"words must be a list of texts"}},
    {"integer_in_a_list", "words = [1, 2];", {"words must be", "not the number 1"}},
    {"integer_above_its_range",
     "deep = { down = { number = 101; }; };",
     {"t.cfg:1: deep.down.number", "from -5 to 100, not 101"}},
    {"integer_below_its_range", "deep = { down = { number = -6; }; };", {"not -6"}},
    {"integer_past_32_bits",
     "#\ndeep = { down = { number = 4294967303; }; };",
     {"t.cfg:2: a number has more than 9 digits"}},
    {"hexadecimal_past_32_bits",
     "text = \"\\\"\";\ndeep = { down = { number = 0x100000007; }; };",
     {"t.cfg:2: a number has more than 9 digits"}},
    {"duration_without_unit", "wait = 10;", {"wait must be a duration", "ms, s, m, h or d"}},
    {"duration_with_a_wrong_unit", "wait = \"10 s\";", {"250ms to 2d", "not '10 s'"}},
    {"duration_of_nothing", "wait = \"s\";", {"not 's'"}},
    {"duration_below_zero", "wait = \"-1s\";", {"not '-1s'"}},
    {"duration_above_its_range", "wait = \"3d\";", {"from 250ms to 2d", "not '3d'"}},
    {"duration_past_64_bits", "wait = \"999999999999999999d\";", {"from 250ms to 2d"}},
    {"duration_in_a_list", "waits = [\"1m\", \"x\"];", {"waits", "from 1s to 1h", "not 'x'"}},
    {"unknown_choice", "colour = \"blue\";", {"colour must be red or green, not 'blue'"}},
    {"text_outside_its_choices", "colour_name = \"blue\";", {"must be red or green, not 'blue'"}},
    {"empty_text_where_one_is_needed", "text = \"\";", {"t.cfg:1: text must not be empty"}},
    {"text_too_long", "text = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\";", {"45", "40"}},
    {"line_break_in_a_line", "text = \"a\\nBcc: b\";", {"t.cfg:1: text must be one line"}},
    {"text_that_is_not_utf8", "text = \"\xc3(\";", {"t.cfg:1: text is not UTF-8"}},
    {"surrogate_in_a_text", "text = \"\xed\xa0\x80\";", {"is not UTF-8"}},
    {"missing_key", "flag = true;", {"t.cfg: need is missing: What it needs."}},
    {"missing_key_in_a_named_group",
     "need = \"x\";\nitems = {\n one = { }; };",
     {"t.cfg:3: items.one.size is missing"}},
    {"named_group_that_is_a_value", "items = { one = 1; };", {"items.one must be a group"}},
    {"named_group_with_a_bad_name", "items = { One = { size = 1; }; };", {"One", "lower-case"}},
    {"include_behind_a_comment", "/* \"\n*/ @include \"gone\"", {"t.cfg:2: @include"}},
    {"include", "text = \"a\";\n  @include \"/etc/passwd\"\n", {"t.cfg:2: @include"}},
    {"secret_of_a_wrong_type_is_not_shown",
     "deep = { secret = 4711; };",
     {"deep.secret must be a text, not something else"}},
    {"secret_file_that_is_missing",
     "deep = {\n secret_file = \"gone\"; };",
     {"t.cfg:2: deep.secret_file", "gone: No such file"}},
    {"secret_file_that_is_no_text", "deep = { secret_file = 1; };", {"the path of a file"}},
    {"secret_both_ways",
     "deep = { secret = \"a\"; secret_file = \"b\"; };",
     {"deep.secret_file", "deep.secret is given as well"}},
    {"file_beside_a_key_that_is_no_secret", "text_file = \"a\";", {"key 'text_file' is not known"}},
};

static void refuses(void **state)
{
    const struct bad *row = *state;
    struct sample s;
    struct err e = read_text(row->text, &s);
    if (!e.code) conf_free(&table, &s);
    assert_tells(&e, ERR_CONFIG, row->tells, 4);
    assert_null(strstr(e.text, "4711"));
}

static void files_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    struct sample s;
    struct err e = conf_read(fixture_path("gone.cfg"), &table, &s);
    assert_tells(&e, ERR_IO, (const char *[]){"gone.cfg: No such file"}, 1);
    e = conf_read(fixture_dir, &table, &s);
    assert_tells(&e, ERR_IO, (const char *[]){fixture_dir, "not a regular file"}, 2);
    assert_int_equal(mkfifo(fixture_path("fifo"), 0600), 0);
    e = conf_read(fixture_path("fifo"), &table, &s);
    assert_tells(&e, ERR_IO, (const char *[]){"fifo is not a regular file"}, 1);
    e = conf_read(fixture_write_bytes("nul.cfg", "need = \"x\0\";", 12), &table, &s);
    assert_tells(&e, ERR_CONFIG, (const char *[]){"nul.cfg holds a NUL byte"}, 1);
    char *large = mem_alloc(2000000);
    memset(large, '\n', 2000000);
    e = conf_read(fixture_write_bytes("large.cfg", large, 2000000), &table, &s);
    free(large);
    assert_tells(&e, ERR_TOO_BIG, (const char *[]){"large.cfg"}, 1);
}

static void a_secret_may_stand_in_a_file_beside_the_configuration(void **state)
{
    (void)state;
    fixture_write("pw", "geheim \n");
    struct sample s;
    struct err e = read_text("need = \"x\"; deep = { secret_file = \"pw\"; };", &s);
    assert_string_equal(e.text, "");
    assert_string_equal(s.secret, "geheim ");
    conf_free(&table, &s);
}

static void the_environment_overrides_the_file(void **state)
{
    (void)state;
    static const char *const variables[][2] = {{"MAILFLOCK_DEEP_DOWN_NUMBER", "42"},
                                               {"MAILFLOCK_FLAG", "FALSE"},
                                               {"MAILFLOCK_WAIT", "1h"},
                                               {"MAILFLOCK_COLOUR", "red"},
                                               {"MAILFLOCK_WORDS", " p ,q"},
                                               {"MAILFLOCK_WAITS", ""},
                                               {"MAILFLOCK_NEED", "from outside"},
                                               {"MAILFLOCK_ITEMS_TWO_B_SIZE", "9"}};
    enum { VARIABLES = sizeof variables / sizeof *variables };
    for (int i = 0; i < VARIABLES; i++) setenv(variables[i][0], variables[i][1], 1);
    setenv("MAILFLOCK_DEEP_SECRET_FILE", fixture_write("pw", "s3\r\n"), 1);
    struct sample s;
    struct err e = read_text("text = \"t\"; items = { two-b = { }; };", &s);
    for (int i = 0; i < VARIABLES; i++) unsetenv(variables[i][0]);
    unsetenv("MAILFLOCK_DEEP_SECRET_FILE");
    assert_string_equal(e.text, "");
    assert_string_equal(s.text, "t");
    assert_string_equal(s.secret, "s3");
    assert_int_equal(s.number, 42);
    assert_false(s.flag);
    assert_int_equal(s.wait_ms, 3600000);
    assert_int_equal(s.colour, 0);
    assert_int_equal(s.words.count, 2);
    assert_string_equal(s.words.items[0], "p");
    assert_int_equal(s.waits.count, 0);
    assert_string_equal(s.need, "from outside");
    assert_int_equal(((struct item *)s.items.items)->size, 9);
    conf_free(&table, &s);
}

/* Bad variables: the error names the variable and what would be right. */
struct bad_variable {
    const char *claim, *variable, *value;
    const char *tells[3];
};

static const struct bad_variable bad_variables[] = {
    {"variable_that_is_no_integer",
     "MAILFLOCK_DEEP_DOWN_NUMBER",
     "4x",
     {"MAILFLOCK_DEEP_DOWN_NUMBER must be an integer from -5 to 100", "'4x'"}},
    {"variable_out_of_range", "MAILFLOCK_DEEP_DOWN_NUMBER", "101", {"-5 to 100, not 101"}},
    {"empty_variable_for_an_integer", "MAILFLOCK_DEEP_DOWN_NUMBER", "", {"NUMBER must be"}},
    {"variable_that_is_no_flag", "MAILFLOCK_FLAG", "yes", {"MAILFLOCK_FLAG must be true or"}},
    {"variable_that_is_no_duration", "MAILFLOCK_WAIT", "soon", {"MAILFLOCK_WAIT must be a dur"}},
    {"variable_with_an_empty_item", "MAILFLOCK_WORDS", "a,,b", {"MAILFLOCK_WORDS must not be"}},
    {"variable_of_a_named_group", "MAILFLOCK_ITEMS_ONE_SIZE", "0", {"_ONE_SIZE must be", "1 to 9"}},
    {"variable_whose_file_is_missing",
     "MAILFLOCK_DEEP_SECRET_FILE",
     "/nonexistent/pw",
     {"MAILFLOCK_DEEP_SECRET_FILE", "/nonexistent/pw: No such file"}},
};

static void refuses_variable(void **state)
{
    const struct bad_variable *row = *state;
    setenv(row->variable, row->value, 1);
    struct sample s;
    struct err e = read_text("need = \"x\"; items = { one = { size = 1; }; };", &s);
    unsetenv(row->variable);
    if (!e.code) conf_free(&table, &s);
    assert_tells(&e, ERR_CONFIG, row->tells, 3);
}

static void a_secret_both_as_variable_and_as_file_is_refused(void **state)
{
    (void)state;
    setenv("MAILFLOCK_DEEP_SECRET", "4711", 1);
    setenv("MAILFLOCK_DEEP_SECRET_FILE", fixture_write("pw", "4711"), 1);
    struct sample s;
    struct err e = read_text("need = \"x\";", &s);
    unsetenv("MAILFLOCK_DEEP_SECRET");
    unsetenv("MAILFLOCK_DEEP_SECRET_FILE");
    assert_tells(&e, ERR_CONFIG, (const char *[]){"MAILFLOCK_DEEP_SECRET_FILE", "keep one"}, 2);
    assert_null(strstr(e.text, "4711"));
}

static void a_table_that_takes_nothing_from_the_environment_ignores_it(void **state)
{
    (void)state;
    struct conf_table deaf = table;
    deaf.from_environment = false;
    setenv("MAILFLOCK_TEXT", "loud", 1);
    struct sample s;
    struct err e = conf_read(fixture_write("t.cfg", "need = \"x\";"), &deaf, &s);
    unsetenv("MAILFLOCK_TEXT");
    assert_string_equal(e.text, "");
    assert_string_equal(s.text, "plain");
    conf_free(&deaf, &s);
}

static void a_rule_between_keys_is_told_with_its_place(void **state)
{
    (void)state;
    const char *file = fixture_write("t.cfg", "need = \"x\";\nitems = {\n one = { size = 1; }; };");
    struct err e = conf_error(file, &table, "items.one.size", "is %d", 1);
    assert_tells(&e, ERR_CONFIG, (const char *[]){"t.cfg:3: items.one.size: is 1"}, 1);
    e = conf_error(file, &table, "items.one.secret", "is gone");
    assert_tells(&e, ERR_CONFIG, (const char *[]){"t.cfg:3: items.one.secret: is gone"}, 1);
    setenv("MAILFLOCK_ITEMS_ONE_SIZE", "1", 1);
    e = conf_error(file, &table, "items.one.size", "is 1");
    unsetenv("MAILFLOCK_ITEMS_ONE_SIZE");
    assert_tells(&e, ERR_CONFIG, (const char *[]){"MAILFLOCK_ITEMS_ONE_SIZE (items.one.size)"}, 1);
}

static void help_names_type_default_and_range_of_every_key(void **state)
{
    (void)state;
    struct buf text, markdown;
    buf_init(&text, 65536);
    buf_init(&markdown, 65536);
    conf_help(&table, CONF_HELP_TEXT, &text);
    conf_help(&table, CONF_HELP_MARKDOWN, &markdown);
    assert_non_null(strstr(buf_text(&text), "deep.down.number\n"
                                            "    an integer from -5 to 100; default: 7\n"
                                            "    A number.\n"));
    assert_non_null(strstr(buf_text(&text), "items.NAME.size\n"
                                            "    an integer from 1 to 9; required\n"));
    assert_non_null(strstr(buf_text(&text), "    A flag.\n"));
    assert_non_null(strstr(buf_text(&markdown),
                           "| `waits` | a list of durations from 1s to 1h | `1m,5m` | Waits. |\n"));
    assert_non_null(strstr(buf_text(&markdown), "| `need` | a text | required |"));
    buf_fini(&text);
    buf_fini(&markdown);
}

static void only_well_formed_utf8_passes(void **state)
{
    (void)state;
    static const char *const good[] = {"", "a", "é", "가", "🎉", "\xf4\x8f\xbf\xbf"};
    static const char *const wrong[] = {"\x80",         "\xc0\xaf",         "\xc3",
                                        "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                                        "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xea\xb0"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(conf_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(conf_utf8_valid(wrong[i], strlen(wrong[i])));
    assert_false(conf_utf8_valid("a\0b", 3));
}

enum {
    BAD = sizeof bad / sizeof *bad,
    BAD_VARIABLES = sizeof bad_variables / sizeof *bad_variables
};

int main(void)
{
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(absent_keys_get_their_defaults),
        cmocka_unit_test(given_values_replace_the_defaults),
        cmocka_unit_test(no_beginning_of_a_file_crashes_or_leaks),
        cmocka_unit_test(every_unit_of_time_is_understood),
        cmocka_unit_test(files_that_cannot_be_read_are_named),
        cmocka_unit_test(a_secret_may_stand_in_a_file_beside_the_configuration),
        cmocka_unit_test(the_environment_overrides_the_file),
        cmocka_unit_test(a_secret_both_as_variable_and_as_file_is_refused),
        cmocka_unit_test(a_table_that_takes_nothing_from_the_environment_ignores_it),
        cmocka_unit_test(a_rule_between_keys_is_told_with_its_place),
        cmocka_unit_test(help_names_type_default_and_range_of_every_key),
        cmocka_unit_test(only_well_formed_utf8_passes),
    };
    static struct CMUnitTest files[BAD], variables[BAD_VARIABLES];
    for (int i = 0; i < BAD; i++)
        files[i] = (struct CMUnitTest){bad[i].claim, refuses, NULL, NULL, (void *)&bad[i]};
    for (int i = 0; i < BAD_VARIABLES; i++)
        variables[i] = (struct CMUnitTest){bad_variables[i].claim, refuses_variable, NULL, NULL,
                                           (void *)&bad_variables[i]};
    int failed = cmocka_run_group_tests_name("config", plain, fixture_setup, fixture_teardown);
    failed += cmocka_run_group_tests_name("config refuses", files, fixture_setup, fixture_teardown);
    return failed + cmocka_run_group_tests_name("config refuses in the environment", variables,
                                                fixture_setup, fixture_teardown);
}
