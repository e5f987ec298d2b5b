/* Templates: what they render, what they refuse, and where they say it is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/template.h"

#define TEXT(bytes)                                                                                \
    {                                                                                              \
        .kind = VALUE_TEXT, .len = sizeof(bytes) - 1, .text = (bytes)                              \
    }

static const struct value_field order_fields[] = {
    {"total", 5, {.kind = VALUE_NUMBER, .len = 4, .text = "3.50"}},
};
static const struct value_field fields[] = {
    {"name", 4, TEXT("Ada")},
    {"html", 4, TEXT("<b>\"&'")},
    {"none", 4, {.kind = VALUE_NULL}},
    {"yes", 3, {.kind = VALUE_TRUE}},
    {"no", 2, {.kind = VALUE_FALSE}},
    {"list", 4, {.kind = VALUE_LIST}},
    {"order", 5, {.kind = VALUE_MAP, .len = 1, .fields = order_fields}},
    {"\xec\x9d\xb4\xeb\xa6\x84", 6, TEXT("\xea\xb8\xb8")},
};
static const struct value vars = {
    .kind = VALUE_MAP, .len = sizeof fields / sizeof *fields, .fields = fields};

static struct template *compile(const char *text)
{
    struct template *t;
    struct err e = template_compile("t", text, strlen(text), &t);
    if (e.code) fail_msg("%s: %s", text, e.text);
    return t;
}

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
    };
    struct buf out;
    buf_init(&out, 1 << 16);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct template *t = compile(rows[i].input);
        struct template_missing missing;
        for (int html = 0; html < 2; html++) {
            const char *want = html && rows[i].html ? rows[i].html : rows[i].plain;
            buf_reset(&out);
            assert_true(
                template_render(t, &vars, html ? TEMPLATE_HTML : TEMPLATE_PLAIN, &out, &missing));
            if (strcmp(buf_text(&out), want) != 0)
                fail_msg("%s: got %s, want %s", rows[i].name, buf_text(&out), want);
        }
        template_free(t);
    }
    buf_fini(&out);
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
        {"the item itself", "{{.}}", "not supported yet"},
        {"section", "\n{{#a}}{{/a}}", "t:2:1: sections ({{#) are not supported yet"},
        {"inverted", "{{^a}}", "not supported yet"},
        {"section end", "{{/a}}", "not supported yet"},
        {"partial", "{{> a}}", "not supported yet"},
        {"delimiters", "{{=<% %>=}}", "not supported yet"},
        {"invalid UTF-8", "ab\xff", "t:1:3: not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct template *t;
        struct err e = template_compile("t", rows[i].input, strlen(rows[i].input), &t);
        if (e.code != ERR_CONFIG || !strstr(e.text, rows[i].want))
            fail_msg("%s: %d %s", rows[i].name, e.code, e.text);
        assert_null(t);
    }
}

static void render_fails(const char *text, const struct value *with, const char *name,
                         const char *problem)
{
    struct template *t = compile(text);
    struct template_missing missing;
    struct buf out;
    buf_init(&out, 100);
    buf_append_text(&out, "kept");
    assert_false(template_render(t, with, TEMPLATE_PLAIN, &out, &missing));
    assert_string_equal(missing.name, name);
    assert_string_equal(missing.problem, problem);
    assert_string_equal(buf_text(&out), "kept");
    buf_fini(&out);
    template_free(t);
}

static void a_missing_variable_is_named(void **state)
{
    (void)state;
    render_fails("x{{name}}{{nam}}", &vars, "nam", "is missing");
    render_fails("{{order.tax}}", &vars, "order.tax", "is missing");
    render_fails("{{name.x}}", &vars, "name.x", "is missing");
    render_fails("{{name}}", NULL, "name", "is missing");
}

static void a_list_or_map_is_not_text(void **state)
{
    (void)state;
    render_fails("{{list}}", &vars, "list", "is not text");
    render_fails("{{{order}}}", &vars, "order", "is not text");
}

static void a_template_past_its_maximum_is_too_big(void **state)
{
    (void)state;
    char *text = mem_alloc(TEMPLATE_TEXT_MAX + 1);
    memset(text, 'x', TEMPLATE_TEXT_MAX + 1);
    struct template *t;
    assert_int_equal(template_compile("t", text, TEMPLATE_TEXT_MAX + 1, &t).code, ERR_TOO_BIG);
    assert_int_equal(template_compile("t", text, TEMPLATE_TEXT_MAX, &t).code, ERR_NONE);
    template_free(t);
    free(text);
}

static void any_bytes_compile_or_are_refused(void **state)
{
    (void)state;
    static const char bits[] = "{{{}}}!#&a. \n\xc3\xa9";
    uint32_t seed = 11;
    struct buf out;
    buf_init(&out, 1 << 16);
    for (int round = 0; round < 50000; round++) {
        char text[24];
        size_t len = (size_t)round % sizeof text;
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[i] = bits[(seed >> 16) % (sizeof bits - 1)];
        }
        struct template *t;
        struct template_missing missing;
        struct err e = template_compile("t", text, len, &t);
        assert_true(e.code == ERR_NONE || e.code == ERR_CONFIG);
        assert_int_equal(e.code == ERR_NONE, t != NULL);
        if (!t) continue;
        buf_reset(&out);
        if (!template_render(t, &vars, TEMPLATE_HTML, &out, &missing))
            assert_true(missing.name[0] != '\0');
        template_free(t);
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_render_what_the_table_says),
        cmocka_unit_test(wrong_templates_are_refused_with_their_place),
        cmocka_unit_test(a_missing_variable_is_named),
        cmocka_unit_test(a_list_or_map_is_not_text),
        cmocka_unit_test(a_template_past_its_maximum_is_too_big),
        cmocka_unit_test(any_bytes_compile_or_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
