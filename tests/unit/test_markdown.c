/* Markdown with tags in it: what HTML template it means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/markdown.h"

enum { OUT_MAX = 16 << 20 };

static struct err convert(const char *markdown, struct buf *out)
{
    struct template_source source = {"a.md", markdown, strlen(markdown)};
    buf_init(out, OUT_MAX);
    return markdown_to_html(&source, out);
}

struct row {
    const char *claim, *markdown, *html;
};

static const struct row rows[] = {
    {"nothing", "", ""},
    {"a paragraph", "Dear *{{name}}*,\nbye", "<p>Dear <em>{{name}}</em>,\nbye</p>\n"},
    {"text is escaped, tags are not", "a < b & {{{c}}} {{& d}}",
     "<p>a &lt; b &amp; {{{c}}} {{{d}}}</p>\n"},
    {"a tag is a word", "__{{a}}__ x_{{b}}_x", "<p><strong>{{a}}</strong> x_{{b}}_x</p>\n"},
    {"a tag next to a tag", "{{a}}{{b}}{{a}}", "<p>{{a}}{{b}}{{a}}</p>\n"},
    {"a name with underscores and stars", "{{a_b_c}} {{a*b*c}}", "<p>{{a_b_c}} {{a*b*c}}</p>\n"},
    {"a heading", "# {{title}}", "<h1>{{title}}</h1>\n"},
    {"a heading underlined", "{{title}}\n=====", "<h1>{{title}}</h1>\n"},
    {"the target of a link", "[your {{x}}]({{url}})",
     "<p><a href=\"{{url}}\">your {{x}}</a></p>\n"},
    {"a part of a target, and a title", "[a](https://b.example/?q={{q}}&r={{{r}}} \"{{t}}\")",
     "<p><a href=\"https://b.example/?q={{q}}&amp;r={{{r}}}\" title=\"{{t}}\">a</a></p>\n"},
    {"a target given elsewhere", "[a][1]\n\n[1]: {{url}}\n", "<p><a href=\"{{url}}\">a</a></p>\n"},
    {"an address that links itself", "<https://a.example/{{id}}>",
     "<p><a href=\"https://a.example/{{id}}\">https://a.example/{{id}}</a></p>\n"},
    {"an image", "![{{alt}}](cid:logo.png)",
     "<p><img src=\"cid:logo.png\" alt=\"{{alt}}\" /></p>\n"},
    {"raw HTML", "<div class=\"{{c}}\">\n\n**x** <br> <i {{a}}>\n\n</div>",
     "<div class=\"{{c}}\">\n<p><strong>x</strong> <br> <i {{a}}></p>\n</div>\n"},
    {"code", "`{{a}} <b>`\n\n    {{#c}}\n    <{{d}}>\n    {{/c}}",
     "<p><code>{{a}} &lt;b&gt;</code></p>\n"
     "<pre><code>{{#c}}\n&lt;{{d}}&gt;\n{{/c}}\n</code></pre>\n"},
    {"a section within a line", "a {{#b}}c *d*{{/b}}{{^b}}e{{/b}}",
     "<p>a {{#b}}c <em>d</em>{{/b}}{{^b}}e{{/b}}</p>\n"},
    {"a section whose tags are alone stands between blocks", "a\n{{#b}}\nc\n\nd\n{{/b}}\ne",
     "<p>a</p>\n{{#b}}\n<p>c</p>\n<p>d</p>\n{{/b}}\n<p>e</p>\n"},
    {"the same with blank lines around", "a\n\n{{#b}}\n\nc\n\n{{/b}}\n\ne\r\n",
     "<p>a</p>\n{{#b}}\n<p>c</p>\n{{/b}}\n<p>e</p>\n"},
    {"a section around one list repeats its items", "{{#a}}\n- {{b}}\n- c\n{{/a}}",
     "<ul>\n{{#a}}\n<li>{{b}}</li>\n<li>c</li>\n{{/a}}\n</ul>\n"},
    {"also a numbered one, without any", "{{^a}}\n3. b\n{{/a}}",
     "<ol start=\"3\">\n{{^a}}\n<li>b</li>\n{{/a}}\n</ol>\n"},
    {"also inside another", "- x\n  {{#a}}\n  - {{.}}\n  {{/a}}\n- y",
     "<ul>\n<li>x\n<ul>\n{{#a}}\n<li>{{.}}</li>\n{{/a}}\n</ul>\n</li>\n<li>y</li>\n</ul>\n"},
    {"but not a section around more than a list", "{{#a}}\n- b\n\nc\n{{/a}}",
     "{{#a}}\n<ul>\n<li>b</li>\n</ul>\n<p>c</p>\n{{/a}}\n"},
    {"nor one that ends before the list", "{{#a}}\n{{/a}}\n- b\n{{#c}}\n{{/c}}",
     "{{#a}}\n{{/a}}\n<ul>\n<li>b</li>\n</ul>\n{{#c}}\n{{/c}}\n"},
    {"a table of raw HTML", "<table>\n{{#a}}\n<tr><td>{{b}}</td></tr>\n{{/a}}\n</table>",
     "<table>\n{{#a}}\n<tr><td>{{b}}</td></tr>\n{{/a}}\n</table>\n"},
    {"a partial", "a {{>b}}\n\n{{> c }}\n\nd", "<p>a {{>b}}</p>\n{{>c}}\n<p>d</p>\n"},
    {"a comment is gone", "a{{! no }}b\n{{! line }}\nc", "<p>ab\nc</p>\n"},
    {"other delimiters become the usual ones",
     "{{=<% %>=}}\n<% a %> <%#b%>{c}<%/b%>\n<%={{ }}=%>\n{{d}}",
     "<p>{{a}} {{#b}}{c}{{/b}}\n{{d}}</p>\n"},
    {"braces that are no tag stay braces", "\\{\\{a}} {{=<% %>=}} {{{b}}",
     "<p>{{=<% %>=}}{{<%={{ }}=%>a}}  {{=<% %>=}}{{<%={{ }}=%>{b}}</p>\n"},
    {"words like ours", "mf0tag0x mf1tag{{a}}", "<p>mf0tag0x mf1tag{{a}}</p>\n"},
    {"words like ours, as the parser makes them",
     "mf0&#116;agx mf0&#116;ag0x mf0&#116;ag1x{{a}}\n\n{{#b}}\n\nmf0&#116;ag3x+\n\n{{/b}}\n",
     "<p>mf0tagx mf0tag0x mf0tag1x{{a}}</p>\n{{#b}}\n<p>mf0tag3x+</p>\n{{/b}}\n"},
    {"a brace before a tag", "&#123;{{a}} {*{{b}}*",
     "<p>{{=<% %>=}}{<%={{ }}=%>{{a}} {<em>{{b}}</em></p>\n"},
    {"a processing instruction of the author's", "a <?{{b}}?>", "<p>a <?{{b}}?></p>\n"},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void is_converted(void **state)
{
    const struct row *row = *state;
    struct buf out;
    struct err e = convert(row->markdown, &out);
    assert_string_equal(e.text, "");
    assert_string_equal(buf_text(&out), row->html);
    struct template *t;
    e = template_compile(&(struct template_source){"a.md", out.data, out.len}, NULL,
                         TEMPLATE_LENIENT, &t);
    assert_string_equal(e.text, "");
    template_free(t);
    buf_fini(&out);
}

static void what_is_wrong_is_told_where_it_stands(void **state)
{
    (void)state;
    static const struct {
        const char *markdown, *want;
    } bad[] = {
        {"a\n\nb {{c", "a.md:3:3: a tag that is not closed"},
        {"# x\n{{#a}}\n- b\n", "a.md:2:1: a section that is not closed"},
        {"{{#a}}{{#b}}{{/a}}{{/b}}", "a.md:1:13: {{/a}} where {{/b}} is due"},
        {"x\n{{/a}}", "a.md:2:1: {{/a}} without a section"},
        {"caf\xe9", "a.md:1:4: not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf out;
        struct err e = convert(bad[i].markdown, &out);
        if (e.code != ERR_CONFIG || !strstr(e.text, bad[i].want)) fail_msg("%zu: %s", i, e.text);
        assert_int_equal(out.len, 0);
        buf_fini(&out);
    }
}

/* Much of what grows, and of what nests. */
static void large_texts_are_converted_or_refused(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "{{a}}", "{{#a}}\n- b\n{{/a}}\n", "> ", "- ", "*a _b ", "[a](", "<"};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct buf text, out;
        buf_init(&text, 1 << 17);
        while (!text.too_big) buf_append_text(&text, pieces[i]);
        struct template_source source = {"a.md", text.data, text.len};
        buf_init(&out, OUT_MAX);
        struct err e = markdown_to_html(&source, &out);
        if (e.code && e.code != ERR_TOO_BIG) fail_msg("%s: %s", pieces[i], e.text);
        buf_fini(&out);
        buf_fini(&text);
    }
}

/* As a buffer is that nothing was written to. */
static void no_bytes_need_no_place(void **state)
{
    (void)state;
    struct template_source source = {"a.md", NULL, 0};
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct err e = markdown_to_html(&source, &out);
    assert_string_equal(e.text, "");
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void an_output_past_its_maximum_is_an_error(void **state)
{
    (void)state;
    for (size_t max = 0; max < 140; max += 3) {
        struct buf out;
        struct template_source source = {"a.md", rows[18].markdown, strlen(rows[18].markdown)};
        buf_init(&out, max);
        struct err e = markdown_to_html(&source, &out);
        assert_int_equal(e.code, max < strlen(rows[18].html) ? ERR_TOO_BIG : ERR_NONE);
        buf_fini(&out);
    }
}

int main(void)
{
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(what_is_wrong_is_told_where_it_stands),
        cmocka_unit_test(large_texts_are_converted_or_refused),
        cmocka_unit_test(no_bytes_need_no_place),
        cmocka_unit_test(an_output_past_its_maximum_is_an_error),
    };
    static struct CMUnitTest tests[ROWS];
    for (int i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){rows[i].claim, is_converted, NULL, NULL, (void *)&rows[i]};
    int failed = cmocka_run_group_tests_name("markdown", plain, NULL, NULL);
    return failed + cmocka_run_group_tests_name("markdown converts", tests, NULL, NULL);
}
