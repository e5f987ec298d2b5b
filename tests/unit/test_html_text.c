/* The text part that is derived from HTML: what stands in it, and what its tags render to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/encode.h"
#include "common/html_text.h"

enum { OUT_MAX = 16 << 20 };

static struct err derive(const char *html, size_t len, struct buf *out)
{
    struct template_source source = {"a.html", html, len};
    buf_init(out, OUT_MAX);
    return html_to_text(&source, out);
}

struct row {
    const char *claim, *html, *text;
};

static const struct row rows[] = {
    {"nothing", "", ""},
    {"nothing but blanks", " \n ", ""},
    {"nothing but an image", "<img src=a.png>", ""},
    {"text without elements", "Hello {{name}}", "Hello {{name}}\n"},
    {"paragraphs", "<p>a</p><p>b\n</p>\n\n<p>  c", "a\n\nb\n\nc\n"},
    {"white space collapses", "<p> a \n\t b<b> c </b> d</p>", "a b c d\n"},
    {"entities", "<p>Caf&eacute; &amp; &lt;b&gt; 5&nbsp;&#8364; a&shy;b</p>",
     "Café & <b> 5 € ab\n"},
    {"whatever the document says of its encoding", "<meta charset=latin1><p>Café 카페</p>",
     "Café 카페\n"},
    {"line breaks", "a<br>b<br/><br>c", "a\nb\n\nc\n"},
    {"headings", "<h1>a</h1>b<h3>c</h3><p>d</p>", "# a\n\nb\n\n### c\n\nd\n"},
    {"a list", "a<ul><li>b<li>c</li></ul>d", "a\n\n- b\n- c\n\nd\n"},
    {"a numbered list", "<ol start=9><li>a</li><li>b<br>c</li></ol>", "9. a\n10. b\n    c\n"},
    {"lists in lists", "<ul><li>a<ol><li>b</li></ol></li><li><p>c</p><p>d</p></li></ul>",
     "- a\n  1. b\n\n- c\n\n  d\n"},
    {"a quotation", "<blockquote>a<br>b<blockquote>c</blockquote></blockquote>d",
     "> a\n> b\n\n> > c\n\nd\n"},
    {"a definition", "<dl><dt>a</dt><dd>b<br>c</dd></dl>", "a\n  b\n  c\n"},
    {"lines as they are", "<pre>\n a  b\n\n  {{c}}</pre>d", " a  b\n\n  {{c}}\n\nd\n"},
    {"a rule", "a<hr>b", "a\n\n---\n\nb\n"},
    {"a table", "<table><tr><th>a</th> <th>b</th></tr><tr><td>c</td><td>{{d}}</td></tr></table>",
     "a  b\nc  {{d}}\n"},
    {"tables that arrange",
     "<table><tr><td><table><tr><td><p>a</p></td></tr></table></td><td>b</td></tr></table>",
     "a\n\nb\n"},
    {"a link", "<a href='https://a.example/?b&amp;c=1'>d</a>", "d (https://a.example/?b&c=1)\n"},
    {"a link to a tag", "<a href=\"{{url}}\">a {{b}}</a>.", "a {{b}} ({{url}}).\n"},
    {"a link that says its target",
     "<a href='{{{u}}}'>{{{u}}}</a> <a href=mailto:a@b.c>a@b.c</a> <a href='tel:12'> 12 </a>",
     "{{{u}}} a@b.c 12\n"},
    {"a link that leads nowhere", "<a name=x>a</a> <a href='#b'>b</a> <a href=''>c</a>", "a b c\n"},
    {"a link around an image",
     "<a href='/a'><img src=x alt='{{b}} &amp; c'></a> <a href='/d'><img src=y></a>",
     "{{b}} & c (/a) /d\n"},
    {"a link around blocks", "<a href='/a'><div>b</div></a>", "b\n/a\n"},
    {"what does not show",
     "<head><title>a</title><style>b{}</style></head><script>if (c<d) {{e}}</script>"
     "<!-- f {{g}} --><!--[if mso]><p>h</p><![endif]--><div style='color:red; display : "
     "none'>i</div>"
     "<p hidden>j</p><template>k</template>l",
     "l\n"},
    {"a link that does not show",
     "<p>a <a href='https://b.example/' style='display:none'>c</a>"
     "<a hidden href='{{d}}'><img src=e alt=f></a>g</p>",
     "a g\n"},
    {"what nobody knows", "<foo bar=1>a</foo> &baz; </p>b", "a &baz; b\n"},
    {"markup that is broken", "<p>a<b>b</p>c</b><li>d</ul><a href=\"e>f", "ab\n\nc\n- d e>f\n"},
    {"a section within a line", "<p>a {{#b}} c {{/b}} d</p><p>{{#b}}e{{/b}}{{^b}}f{{/b}}</p>",
     "a {{#b}}c {{/b}}d\n\n{{#b}}e{{/b}}{{^b}}f{{/b}}\n"},
    {"sections around blocks vanish with their lines",
     "<p>a</p>{{#b}}<p>c</p>{{/b}} {{^b}}<p>d</p>{{/b}}<p>e</p>",
     "a\n\n{{#b}}\nc\n\n{{/b}}\n{{^b}}\nd\n\n{{/b}}\ne\n"},
    {"so do those around items", "a\n<ul>\n{{#b}}\n  <li>{{c}}</li>\n{{/b}}\n</ul>\nd",
     "a\n\n{{#b}}\n- {{c}}\n{{/b}}\n\nd\n"},
    {"repeated items have no numbers", "<ol>{{#b}}<li>{{c}}</li>{{/b}}</ol>",
     "{{#b}}\n- {{c}}\n{{/b}}\n"},
    {"a section's tag alone on a line of the source", "<p>a\n{{#b}}\nc\n{{/b}}\nd</p>",
     "a {{#b}}c {{/b}}d\n"},
    {"tags inside of elements", "<p {{#a}}class='b'{{/a}} style=\"color:{{c}}\">d</p>", "d\n"},
    {"a partial", "<p>a</p>{{>b}}<p>c {{> d}}</p>", "a\n\n{{>b}}\n\nc {{>d}}\n"},
    {"comments and other delimiters", "{{! no }}<p>{{=<% %>=}}<% a %><%& b %></p>",
     "{{a}}{{{b}}}\n"},
    {"braces that are no tag stay braces", "&#123;&#123;a}} {{=| |=}}{{b|c|",
     "{{=<% %>=}}{{<%={{ }}=%>a}} {{=<% %>=}}{{<%={{ }}=%>b{{c}}\n"},
    {"words like ours, as the parser makes them",
     "mf0&#116;ag0x mf0t\x15"
     "ag1x mf0&#116;agx mf0&#116;ag00x {{a}}",
     "mf0tag0x mf0tag1x mf0tagx mf0tag00x {{a}}\n"},
    {"words like ours, before a tag and in a target",
     "<a href='mf0&#116;ag9x{{a}}'>b mf0&#116;ag9x{{c}}</a>", "b mf0tag9x{{c}} (mf0tag9x{{a}})\n"},
    {"a link to a partial after what drops out of its word",
     "<h1/ href=<h1/ href=&{{>e/}} >mf0t\x15"
     "agx\x01\x01\x01=:",
     "# mf0tagx=:\n"},
    {"a brace before a tag", "<p>{<b>{{a}}</b>} &#123;{{{b}}}</p><p>{<b>{</b>c",
     "{{=<% %>=}}{<%={{ }}=%>{{a}}} {{=<% %>=}}{<%={{ }}=%>{{{b}}}\n\n"
     "{{=<% %>=}}{<%={{ }}=%>{c\n"},
    {"a name that begins like another tag", "{{ #a}}{{ /a}}{{=| |=}}| !b||&#c|",
     "{{ #a}}{{ /a}}{{ !b}}{{{#c}}}\n"},
    {"numbers that are out of bounds",
     "<ol start=2147483647><li>a<li>b</ol><ol start=-99999999999999999999><li>c</ol>",
     "1. a\n2. b\n\n1. c\n"},
};
enum { ROWS = sizeof rows / sizeof *rows };

static struct err compile(const struct buf *text, struct template **out)
{
    struct template_source source = {"a.txt", text->data, text->len};
    return template_compile(&source, NULL, TEMPLATE_LENIENT, out);
}

static void is_derived(void **state)
{
    const struct row *row = *state;
    struct buf out;
    struct err e = derive(row->html, strlen(row->html), &out);
    assert_string_equal(e.text, "");
    assert_string_equal(buf_text(&out), row->text);
    struct template *t;
    e = compile(&out, &t);
    assert_string_equal(e.text, "");
    template_free(t);
    buf_fini(&out);
}

/* A value of true, of nothing, and a list of two texts. */
static const struct value items[] = {{.kind = VALUE_TEXT, .len = 1, .text = "1"},
                                     {.kind = VALUE_TEXT, .len = 3, .text = "<2>"}};
static const struct value_field fields[] = {
    {"yes", 3, {.kind = VALUE_TRUE}},
    {"no", 2, {.kind = VALUE_FALSE}},
    {"list", 4, {.kind = VALUE_LIST, .len = 2, .items = items}},
};
static const struct value vars = {.kind = VALUE_MAP, .len = 3, .fields = fields};

static void what_is_derived_renders_without_gaps(void **state)
{
    (void)state;
    static const struct {
        const char *html, *text;
    } cases[] = {
        {"<p>a</p>\n{{#list}}\n<p>{{.}}</p>\n{{/list}}\n<p>b</p>", "a\n\n1\n\n<2>\n\nb\n"},
        {"<p>a</p>{{#no}}<p>b</p>{{/no}}{{^no}}<p>c</p>{{/no}}<p>d</p>", "a\n\nc\n\nd\n"},
        {"a<ul>{{#list}}<li>{{.}}</li>{{/list}}</ul>b", "a\n\n- 1\n- <2>\n\nb\n"},
        {"a<ul>{{#no}}<li>{{.}}</li>{{/no}}</ul>b", "a\n\n\nb\n"},
        {"<p>a {{#yes}} b {{/yes}} {{#no}} c {{/no}} d</p>", "a b d\n"},
        {"&#123;{yes}} {{{yes}}}", "{{yes}} true\n"},
        {"{&#123;&#123;{yes", "{{{{yes\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf text, out;
        struct template *t = NULL;
        struct template_trouble trouble;
        struct err e = derive(cases[i].html, strlen(cases[i].html), &text);
        if (!e.code) e = compile(&text, &t);
        assert_string_equal(e.text, "");
        buf_init(&out, OUT_MAX);
        assert_true(template_render(t, &vars, TEMPLATE_PLAIN, &out, &trouble));
        assert_string_equal(buf_text(&out), cases[i].text);
        template_free(t);
        buf_fini(&out);
        buf_fini(&text);
    }
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    struct buf out, deep;
    struct err e = derive("<p>\n{{a", 7, &out);
    assert_string_equal(e.text, "a.html:2:1: a tag that is not closed");
    buf_fini(&out);
    buf_init(&deep, OUT_MAX);
    for (int i = 0; i < 300; i++) buf_append_text(&deep, "<div>");
    e = derive(deep.data, deep.len, &out);
    assert_int_equal(e.code, ERR_CONFIG);
    assert_non_null(strstr(e.text, "a.html: no text can be made of this HTML"));
    buf_fini(&out);
    buf_fini(&deep);
}

static void an_output_past_its_maximum_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t max = 0; max < strlen(rows[i].text); max++) {
            struct buf out;
            struct template_source source = {"a", rows[i].html, strlen(rows[i].html)};
            buf_init(&out, max);
            struct err e = html_to_text(&source, &out);
            if (e.code != ERR_TOO_BIG) fail_msg("%s: %zu: %s", rows[i].claim, max, e.text);
            buf_fini(&out);
        }
    }
}

/* Whatever is thrown together, the result is text. */
static void any_html_gives_utf8(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "<p>",   "</p>",      "<ul>",     "<li>",     "</ul>",
        "<ol>",  "<table>",   "<tr>",     "<td>",     "<a href='{{x}}'>",
        "</a>",  "<br>",      "<pre>",    "</pre>",   "<h2>",
        "</h2>", "<div",      " hidden",  ">",        "&nbsp;",
        "&#0;",  "&#x1f600;", "&#55555;", "é",        "한",
        "{{x}}", "{{#s}}",    "{{/s}}",   "{{>p}}",   "{{! c}}",
        "\n",    " ",         "<!--",     "-->",      "<![CDATA[",
        "]]>",   "<?x",       "<style>",  "</style>", "<img alt='{{y}}'>",
        "&",     "{{="};
    srand(4);
    for (int round = 0; round < 3000; round++) {
        struct buf html, out;
        buf_init(&html, OUT_MAX);
        for (int i = rand() % 40; i > 0; i--)
            buf_append_text(&html, pieces[rand() % (int)(sizeof pieces / sizeof *pieces)]);
        struct err e = derive(buf_text(&html), html.len, &out);
        if (!e.code && !encode_utf8_valid(out.data, out.len))
            fail_msg("%s\n%s", html.data, buf_text(&out));
        if (e.code && !strstr(e.text, "a.html:")) fail_msg("%s\n%s", html.data, e.text);
        buf_fini(&out);
        buf_fini(&html);
    }
}

int main(void)
{
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(what_is_derived_renders_without_gaps),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(an_output_past_its_maximum_is_an_error),
        cmocka_unit_test(any_html_gives_utf8),
    };
    static struct CMUnitTest tests[ROWS];
    for (int i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){rows[i].claim, is_derived, NULL, NULL, (void *)&rows[i]};
    int failed = cmocka_run_group_tests_name("html_text", plain, NULL, NULL);
    return failed + cmocka_run_group_tests_name("html_text derives", tests, NULL, NULL);
}
