/* Templates: what they render, what they refuse, and where they say it is wrong. The published
 * specification's cases are in tests/system/test_mustache.py. */
#include "template_fixture.h"

static void templates_render_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *plain, *html; /* html NULL: as plain */
    } rows[] = {
        {"nothing", "", "", NULL},
        {"no tags", "a } }} { b", "a } }} { b", NULL},
        {"variable", "Dear {{name}}!", "Dear Ada!", NULL},
        {"blanks in tags", "{{ name }}{{\tname\n}}{{{ name }}}{{& name }}", "AdaAdaAdaAda", NULL},
        {"escaped in HTML only", "{{html}}", "<b>\"&'", "&lt;b&gt;&quot;&amp;&#39;"},
        {"raw", "{{{html}}}{{&html}}", "<b>\"&'<b>\"&'", NULL},
        {"literals are never escaped", "<&{{name}}", "<&Ada", NULL},
        {"null is empty", "[{{none}}]", "[]", NULL},
        {"true and false", "{{yes}} {{no}}", "true false", NULL},
        {"nested, as it was written", "{{order.total}}", "3.50", NULL},
        {"UTF-8 name", "{{\xec\x9d\xb4\xeb\xa6\x84}}", "\xea\xb8\xb8", NULL},
        {"a closing brace after a tag", "{{name}}}", "Ada}", NULL},
        {"comment", "a{{! {{ any\nthing }}b", "ab", NULL},
        {"comment on its own line", "a\n  {{! x }}  \nb", "a\nb", NULL},
        {"comment on its own CRLF line", "a\r\n{{! x }}\r\nb", "a\r\nb", NULL},
        {"comment on the last line", "a\n  {{! x }}", "a\n", NULL},
        {"two comment lines", "{{!a}}\n{{!b}}\nc", "c", NULL},
        {"comment after a tag keeps the line", "{{name}} {{! x }}\nb", "Ada \nb", NULL},
        {"comment before text keeps the line", " {{! x }} y", "  y", NULL},
        {"section", "a{{#yes}}b{{/yes}}c", "abc", NULL},
        {"section that is false", "a{{#no}}b{{/no}}c", "ac", NULL},
        {"false are", "{{#no}}1{{/no}}{{#none}}2{{/none}}{{#list}}3{{/list}}{{#empty}}4{{/empty}}",
         "", NULL},
        {"zeros are false", "{{#zero}}1{{/zero}}{{#sum}}2{{/sum}}{{#minus}}3{{/minus}}", "", NULL},
        {"true are", "{{#map}}1{{/map}}{{#digits}}2{{/digits}}{{#dot}}3{{/dot}}", "123", NULL},
        {"absent is false", "[{{#nope}}{{x}}{{/nope}}{{^nope}}no{{/nope}}]", "[no]", NULL},
        {"absent below is false", "{{#order.x}}1{{/order.x}}{{^name.x}}2{{/name.x}}", "2", NULL},
        {"inverted", "{{^no}}a{{/no}}{{^yes}}b{{/yes}}c", "ac", NULL},
        {"inverted list", "{{^list}}none{{/list}}{{^words}}some{{/words}}", "none", NULL},
        {"list of texts", "{{#words}}{{.}},{{/words}}", "a,b,c,", NULL},
        {"list of maps", "{{#rooms}}{{room}}: {{n}}\n{{/rooms}}", "Sales: 3\nHelp: 1\n", NULL},
        {"outer names inside", "{{#rooms}}{{name}} {{/rooms}}", "Ada Ada ", NULL},
        {"inner names first", "{{#kids}}{{v}}{{#kids}}{{v}}{{/kids}}{{v}}{{/kids}}{{v}}",
         "branchleafleafbranchroot", NULL},
        {"a section about a text", "{{#name}}<{{.}}>{{/name}}", "<Ada>", NULL},
        {"a map in a section", "{{#order}}{{total}}{{none}}{{/order}}", "3.50", NULL},
        {"lists in lists", "{{#rooms}}{{#words}}{{n}}{{.}}{{/words}};{{/rooms}}", "3a3b3c;1a1b1c;",
         NULL},
        {"section lines are gone", "a\n {{#yes}} \nb\n{{/yes}}\nc\n", "a\nb\nc\n", NULL},
        {"a loop over lines", "{{#words}}\n- {{.}}\n{{/words}}\nend", "- a\n- b\n- c\nend", NULL},
        {"after an inverted section", "{{^no}}a{{/no}}b{{^yes}}c{{/yes}}d", "abd", NULL},
        {"other delimiters", "{{=<% %>=}}<%name%> {{name}} <%={{ }}=%>{{name}}", "Ada {{name}} Ada",
         NULL},
        {"raw with other delimiters", "{{=<% %>=}}<%{html}%><%&html%>", "<b>\"&'<b>\"&'", NULL},
        {"a long delimiter", "{{=<<<<<<<<<<<<<<<< | =}}<<<<<<<<<<<<<<<<name|", "Ada", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct template *t = compile(rows[i].input);
        renders(rows[i].name, t, TEMPLATE_PLAIN, rows[i].plain);
        renders(rows[i].name, t, TEMPLATE_HTML, rows[i].html ? rows[i].html : rows[i].plain);
        template_free(t);
    }
}

static void wrong_templates_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *want;
    } rows[] = {
        {"open tag", "ab\n cd {{name", "t:2:5: a tag that is not closed"},
        {"open raw tag", "{{{name}}", "t:1:1: a tag that is not closed"},
        {"open at the end", "{{", "t:1:1: a tag that is not closed"},
        {"open comment", "{{! x", "t:1:1: a tag that is not closed"},
        {"columns count characters", "\xec\x9d\xb4{{name", "t:1:2: "},
        {"empty name", "{{}}", "t:1:1: a tag without a name"},
        {"blank name", "{{{ }}}", "t:1:1: a tag without a name"},
        {"tag in a tag", "{{a {{b}}", "t:1:1: a name with a character"},
        {"blank in a name", "{{a b}}", "t:1:1: a name with a character"},
        {"empty part", "{{a..b}}", "t:1:1: a dotted name with an empty part"},
        {"leading dot", "{{.a}}", "t:1:1: a dotted name with an empty part"},
        {"trailing dot", "{{#a.}}{{/a.}}", "t:1:1: a dotted name with an empty part"},
        {"unclosed section", "a\n  {{#a}}\n{{#b}}{{/b}}",
         "t:2:3: a section that is not closed: {{#a}}"},
        {"unclosed inverted section", "{{^a}}", "t:1:1: a section that is not closed: {{^a}}"},
        {"crossed sections", "{{#a}}\n{{^b}}\n x{{/a}}{{/b}}",
         "t:3:3: {{/a}} where {{/b}} is due, for the section opened in line 2"},
        {"end without a section", "\n {{/a}}", "t:2:2: {{/a}} without a section to close"},
        {"end too many", "{{#a}}{{/a}}{{/a}}", "t:1:13: {{/a}} without a section to close"},
        {"a section without a name", "{{#}}{{/}}", "t:1:1: a tag without a name"},
        {"one delimiter", "{{=<%=}}", "t:1:1: delimiters are two words"},
        {"three delimiters", "{{=a b c=}}", "t:1:1: delimiters are two words"},
        {"no delimiters", "{{= =}}", "t:1:1: delimiters are two words"},
        {"equals signs", "{{== ==}}", "t:1:1: delimiters are two words"},
        {"long delimiters", "{{=12345678901234567 b=}}", "t:1:1: delimiters are two words"},
        {"delimiters not closed", "{{=<% %>}}", "t:1:1: a tag that is not closed"},
        {"the old delimiters", "{{=<% %>=}}<%#a%>{{/a}}", "a section that is not closed: {{#a}}"},
        {"a partial where there are none", "x{{> a}}", "t:1:2: partials belong into text and html"},
        {"invalid UTF-8", "ab\xff", "t:1:3: not valid UTF-8"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct template *t;
        struct err e = compile_as("t", rows[i].input, NULL, &t);
        if (e.code != ERR_CONFIG || !strstr(e.text, rows[i].want))
            fail_msg("%s: %d %s", rows[i].name, e.code, e.text);
        assert_null(t);
    }
}

static void a_missing_variable_is_named(void **state)
{
    (void)state;
    render_fails("x{{name}}{{nam}}", &vars, "variable nam is missing");
    render_fails("{{order.tax}}", &vars, "variable order.tax is missing");
    render_fails("{{name.x}}", &vars, "variable name.x is missing");
    render_fails("{{name}}", NULL, "variable name is missing");
    render_fails("{{#rooms}}{{nam}}{{/rooms}}", &vars, "variable nam is missing");
    render_fails("{{#order}}{{{tax}}}{{/order}}", &vars, "variable tax is missing");
    render_fails("{{^nope}}{{nope}}{{/nope}}", &vars, "variable nope is missing");
    render_fails("{{#name}}{{name.x}}{{/name}}", &vars, "variable name.x is missing");
}

static void a_list_or_map_is_not_text(void **state)
{
    (void)state;
    render_fails("{{list}}", &vars, "variable list is not text");
    render_fails("{{{order}}}", &vars, "variable order is not text");
    render_fails("{{.}}", &vars, "variable . is not text");
    render_fails("{{#rooms}}{{.}}{{/rooms}}", &vars, "variable . is not text");
}

static void lenient_rules_render_what_is_absent_as_nothing(void **state)
{
    (void)state;
    static const char text[] = "[{{nope}}{{order.x.y}}{{{name.x}}}{{>nope}}]{{name}}";
    struct template *t;
    struct err e = template_compile(&(struct template_source){"t", text, strlen(text)}, NULL,
                                    TEMPLATE_LENIENT, &t);
    assert_string_equal(e.text, "");
    renders("lenient", t, TEMPLATE_PLAIN, "[]Ada");
    template_free(t);
}

/* "{{#s}}" times n, a text, "{{/s}}" times n. */
static void nest(struct buf *out, const char *section, int n, const char *text)
{
    buf_reset(out);
    for (int i = 0; i < n; i++) buf_append_format(out, "{{#%s}}", section);
    buf_append_text(out, text);
    for (int i = 0; i < n; i++) buf_append_format(out, "{{/%s}}", section);
}

static void sections_nest_to_their_maximum(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 16);
    nest(&text, "yes", TEMPLATE_DEPTH_MAX, "{{name}}");
    struct template *t = compile(buf_text(&text));
    renders("deep", t, TEMPLATE_PLAIN, "Ada");
    template_free(t);
    nest(&text, "a", TEMPLATE_DEPTH_MAX + 1, "");
    struct err e = compile_as("t", buf_text(&text), NULL, &t);
    assert_int_equal(e.code, ERR_CONFIG);
    assert_string_equal(e.text, "t:1:193: sections nested deeper than 32");
    buf_fini(&text);
}

static void endless_repetition_fails_the_recipient(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 16);
    nest(&text, "words", 20, ""); /* three items in each: 3^20 times nothing */
    render_fails(buf_text(&text), &vars, "the template repeats more than a mail may");
    buf_fini(&text);
}

static void what_does_not_fit_is_left_out_and_told(void **state)
{
    (void)state;
    struct template_trouble trouble;
    struct buf text, out;
    buf_init(&text, 1 << 16);
    buf_init(&out, 1000);
    nest(&text, "words", 20, "long"); /* 3^20 times 4 bytes; ends at the buffer's maximum */
    struct template *t = compile(buf_text(&text));
    assert_true(template_render(t, &vars, TEMPLATE_PLAIN, &out, &trouble));
    assert_true(out.too_big);
    template_free(t);
    buf_fini(&out);
    buf_fini(&text);
}

static void a_template_past_its_maximum_is_too_big(void **state)
{
    (void)state;
    char *text = mem_alloc(TEMPLATE_TEXT_MAX + 1);
    memset(text, 'x', TEMPLATE_TEXT_MAX + 1);
    struct template *t;
    struct template_source source = {"t", text, TEMPLATE_TEXT_MAX + 1};
    assert_int_equal(template_compile(&source, NULL, TEMPLATE_STRICT, &t).code, ERR_TOO_BIG);
    source.len = TEMPLATE_TEXT_MAX;
    assert_int_equal(template_compile(&source, NULL, TEMPLATE_STRICT, &t).code, ERR_NONE);
    template_free(t);
    /* a partial of half the size that is met with two indentations */
    struct template_source partial = {"p", text, TEMPLATE_TEXT_MAX / 2};
    struct template_partials partials = {&partial, 1};
    assert_int_equal(compile_as("t", "{{>p}}", &partials, &t).code, ERR_NONE);
    template_free(t);
    assert_int_equal(compile_as("t", "{{>p}}\n {{>p}}\n", &partials, &t).code, ERR_TOO_BIG);
    for (size_t i = 0; i + 5 <= TEMPLATE_TEXT_MAX; i += 5) memcpy(text + i, "{{a}}", 5);
    source.len = 5 * (TEMPLATE_NODES_MAX - 2);
    assert_int_equal(template_compile(&source, NULL, TEMPLATE_STRICT, &t).code, ERR_NONE);
    template_free(t);
    source.len += 5;
    assert_int_equal(template_compile(&source, NULL, TEMPLATE_STRICT, &t).code, ERR_TOO_BIG);
    free(text);
}

static void any_bytes_compile_or_are_refused(void **state)
{
    (void)state;
    static const char *const bits[] = {
        "{{", "{{{", "}}",       "}}}",   "!",    "#",          "^",         "/",
        "&",  "a",   ".",        " ",     "\n",   "{{>p",       "{{=| |=}}", "|",
        "=",  ">",   "\xc3\xa9", "words", "\r\n", "{{#words}}", "{{/words}}"};
    struct partials own;
    const struct template_partials *partials =
        partials_of((const char *const[]){"p=x{{#words}}\n {{>p}}{{.}}\n{{/words}}", NULL}, &own);
    uint32_t seed = 11;
    struct buf text, out;
    int compiled = 0;
    buf_init(&text, 1 << 16);
    buf_init(&out, 1 << 10);
    for (int round = 0; round < 50000; round++) {
        buf_reset(&text);
        for (int n = round % 12; n; n--) {
            seed = seed * 1664525u + 1013904223u;
            buf_append_text(&text, bits[(seed >> 16) % COUNT(bits)]);
        }
        struct template *t;
        struct template_trouble trouble;
        struct err e = compile_as("t", buf_text(&text), partials, &t);
        assert_true(e.code == ERR_NONE || e.code == ERR_CONFIG);
        assert_int_equal(e.code == ERR_NONE, t != NULL);
        if (!t) continue;
        compiled++;
        buf_reset(&out);
        if (!template_render(t, &vars, TEMPLATE_HTML, &out, &trouble))
            assert_non_null(trouble.problem);
        template_free(t);
    }
    assert_true(compiled > 1000);
    buf_fini(&out);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_render_what_the_table_says),
        cmocka_unit_test(wrong_templates_are_refused_with_their_place),
        cmocka_unit_test(a_missing_variable_is_named),
        cmocka_unit_test(a_list_or_map_is_not_text),
        cmocka_unit_test(lenient_rules_render_what_is_absent_as_nothing),
        cmocka_unit_test(sections_nest_to_their_maximum),
        cmocka_unit_test(endless_repetition_fails_the_recipient),
        cmocka_unit_test(what_does_not_fit_is_left_out_and_told),
        cmocka_unit_test(a_template_past_its_maximum_is_too_big),
        cmocka_unit_test(any_bytes_compile_or_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
