/* Templates: what they render, what they refuse, and where they say it is wrong. The published
 * specification's cases are in test_template_spec.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/template.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT(bytes)                                                                                \
    {                                                                                              \
        .kind = VALUE_TEXT, .len = sizeof(bytes) - 1, .text = (bytes)                              \
    }
#define NUMBER(bytes)                                                                              \
    {                                                                                              \
        .kind = VALUE_NUMBER, .len = sizeof(bytes) - 1, .text = (bytes)                            \
    }
#define MAP(array)                                                                                 \
    {                                                                                              \
        .kind = VALUE_MAP, .len = COUNT(array), .fields = (array)                                  \
    }
#define LIST(array)                                                                                \
    {                                                                                              \
        .kind = VALUE_LIST, .len = COUNT(array), .items = (array)                                  \
    }

static const struct value_field order_fields[] = {
    {"total", 5, NUMBER("3.50")},
    {"none", 4, {.kind = VALUE_NULL}},
};
static const struct value words[] = {TEXT("a"), TEXT("b"), TEXT("c")};
static const struct value_field first_room[] = {{"room", 4, TEXT("Sales")}, {"n", 1, NUMBER("3")}};
static const struct value_field second_room[] = {{"room", 4, TEXT("Help")}, {"n", 1, NUMBER("1")}};
static const struct value rooms[] = {MAP(first_room), MAP(second_room)};
static const struct value_field leaf[] = {{"v", 1, TEXT("leaf")},
                                          {"kids", 4, {.kind = VALUE_LIST}}};
static const struct value leaves[] = {MAP(leaf), MAP(leaf)};
static const struct value_field branch[] = {{"v", 1, TEXT("branch")}, {"kids", 4, LIST(leaves)}};
static const struct value branches[] = {MAP(branch)};
static const struct value_field fields[] = {
    {"name", 4, TEXT("Ada")},
    {"html", 4, TEXT("<b>\"&'")},
    {"none", 4, {.kind = VALUE_NULL}},
    {"yes", 3, {.kind = VALUE_TRUE}},
    {"no", 2, {.kind = VALUE_FALSE}},
    {"list", 4, {.kind = VALUE_LIST}},
    {"words", 5, LIST(words)},
    {"rooms", 5, LIST(rooms)},
    {"order", 5, MAP(order_fields)},
    {"empty", 5, TEXT("")},
    {"map", 3, {.kind = VALUE_MAP}},
    {"zero", 4, NUMBER("0")},
    {"sum", 3, TEXT("0.00")},
    {"minus", 5, NUMBER("-0")},
    {"digits", 6, TEXT("0.50")},
    {"dot", 3, TEXT(".")},
    {"v", 1, TEXT("root")},
    {"kids", 4, LIST(branches)},
    {"lines", 5, TEXT("1\n2")},
    {"\xec\x9d\xb4\xeb\xa6\x84", 6, TEXT("\xea\xb8\xb8")},
};
static const struct value vars = MAP(fields);

/* Partials as "name=text" with one between each two; the text may hold no '='. */
enum { PARTIALS = 8 };
struct partials {
    struct template_partials list;
    struct template_source items[PARTIALS];
    char names[PARTIALS][200];
};

static const struct template_partials *partials_of(const char *const texts[], struct partials *out)
{
    *out = (struct partials){.list.items = out->items};
    for (size_t i = 0; i < PARTIALS && texts[i]; i++) {
        const char *equals = strchr(texts[i], '=');
        snprintf(out->names[i], sizeof out->names[i], "%.*s", (int)(equals - texts[i]), texts[i]);
        out->items[i] = (struct template_source){out->names[i], equals + 1, strlen(equals + 1)};
        out->list.count++;
    }
    return &out->list;
}

static struct err compile_as(const char *name, const char *text,
                             const struct template_partials *partials, struct template **out)
{
    return template_compile(&(struct template_source){name, text, strlen(text)}, partials,
                            TEMPLATE_STRICT, out);
}

static struct template *compile(const char *text)
{
    struct template *t;
    struct err e = compile_as("t", text, NULL, &t);
    if (e.code) fail_msg("%s: %s", text, e.text);
    return t;
}

static void renders(const char *name, const struct template *t, enum template_escape escape,
                    const char *want)
{
    struct template_trouble trouble;
    struct buf out;
    char reason[200];
    buf_init(&out, 1 << 16);
    if (!template_render(t, &vars, escape, &out, &trouble)) {
        template_explain(&trouble, reason, sizeof reason);
        fail_msg("%s: %s", name, reason);
    }
    if (strcmp(buf_text(&out), want) != 0)
        fail_msg("%s: got %s, want %s", name, buf_text(&out), want);
    buf_fini(&out);
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

static void partials_render_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name, *file, *input, *want;
        const char *partials[PARTIALS];
    } rows[] = {
        {"a partial", "t", "[{{>p}}]", "[Ada]", {"p={{name}}"}},
        {"the extension is that of the template",
         "a/t.html",
         "{{> b/p }}",
         "html",
         {"b/p=none", "b/p.txt=txt", "b/p.html=html"}},
        {"of its last part", "a.b/t", "{{>p}}", "none", {"p=none", "p.b/t=wrong"}},
        {"in partials too", "t.txt", "{{>p}}", "q.txt", {"p.txt={{>q}}", "q.txt=q.txt", "q=q"}},
        {"an empty one", "t", "[{{>p}}]", "[]", {"p="}},
        {"twice", "t", "{{>p}}{{>p}}", "AdaAda", {"p={{name}}"}},
        {"in a loop", "t", "{{#rooms}}{{>p}}{{/rooms}}", "Sales Help ", {"p={{room}} "}},
        {"alone on its line", "t", "a\n{{>p}}\nb\n", "a\nx\nb\n", {"p=x\n"}},
        {"not alone", "t", "a {{>p}}\nb", "a x\n\nb", {"p=x\n"}},
        {"indented", "t", "a\n  {{>p}}\nb", "a\n  x\n  y\nb", {"p=x\ny\n"}},
        {"empty lines are not indented", "t", "  {{>p}}\n", "  x\n\n\r\n  y\n", {"p=x\n\n\r\ny\n"}},
        {"nor lines of values", "t", "  {{>p}}\n", "  <1\n2>\n", {"p=<{{lines}}>\n"}},
        {"tags that begin a line",
         "t",
         " {{>p}}\n",
         " Ada\n Ada!\n",
         {"p={{name}}\n{{{name}}}!\n"}},
        {"sections in an indented one",
         "t",
         "  {{>p}}\n",
         "  a\n  b\n  c\n",
         {"p={{#words}}\n{{.}}\n{{/words}}\n"}},
        {"sections in its lines",
         "t",
         "  {{>p}}\n",
         "  [abc]\n  x\n",
         {"p={{#yes}}[{{#words}}{{.}}{{/words}}]{{/yes}}\n{{#no}}\n{{/no}}\nx\n"}},
        {"a section that ends in a line",
         "t",
         " {{>p}}\n",
         " a-\n b-\n c-\n .\n",
         {"p={{#words}}\n{{.}}-\n{{/words}}\n.\n"}},
        {"a comment begins a line", "t", " {{>p}}\n", "  x\n", {"p={{! c }} x\n"}},
        {"delimiters begin a line", "t", " {{>p}}\n", "  Ada\n", {"p={{=| |=}} |name|\n"}},
        {"indentations add up",
         "t",
         "  {{>p}}\n",
         "  a\n  \t b\n  c\n",
         {"p=a\n\t {{>q}}\nc\n", "q=b\n"}},
        {"inline in an indented one", "t", "  {{>p}}\n", "  (b\nb)\n", {"p=({{>q}})\n", "q=b\nb"}},
        {"CRLF lines", "t", "a\r\n {{>p}}\r\nb", "a\r\n x\r\n y\r\nb", {"p=x\r\ny\r\n"}},
        {"delimiters stay in their file",
         "t",
         "{{=<% %>=}}<%>p%><%name%>",
         "[Ada]Ada",
         {"p=[{{=| |=}}|name|]"}},
        {"itself, in a section",
         "t",
         "{{>node}}",
         "root(branch(leaf()leaf()))",
         {"node={{v}}({{#kids}}{{>node}}{{/kids}})"}},
        {"itself, indented",
         "t",
         "{{>node}}\n",
         "root\n branch\n  leaf\n  leaf\n",
         {"node={{v}}\n{{#kids}}\n {{>node}}\n{{/kids}}\n"}},
        {"the template itself",
         "node",
         "{{v}}({{#kids}}{{>node}}{{/kids}})",
         "root(branch(leaf()leaf()))",
         {"node={{v}}({{#kids}}{{>node}}{{/kids}})"}},
        {"by way of another",
         "t",
         "{{>a}}",
         "root[branch[leaf[]leaf[]]]",
         {"a={{v}}[{{>b}}]", "b={{#kids}}{{>a}}{{/kids}}"}},
        {"unused ones may be wrong", "t", "x", "x", {"p={{#"}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct partials partials;
        struct template *t;
        struct err e =
            compile_as(rows[i].file, rows[i].input, partials_of(rows[i].partials, &partials), &t);
        if (e.code) fail_msg("%s: %s", rows[i].name, e.text);
        renders(rows[i].name, t, TEMPLATE_PLAIN, rows[i].want);
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

static void wrong_partials_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *want;
        const char *partials[PARTIALS];
    } rows[] = {
        {"missing", "a\n{{>p}}", "t.txt:2:1: there is no partial p.txt", {"p=x"}},
        {"missing in a partial",
         "{{>p}}",
         "p.txt:1:2: there is no partial q.txt",
         {"p.txt= {{>q}}"}},
        {"wrong tag", "{{>p}}", "p.txt:2:2: a tag that is not closed", {"p.txt=\n {{a"}},
        {"a section does not reach across files",
         "{{>p}}{{/a}}",
         "t.txt:1:7: {{/a}} without",
         {"p.txt={{#a}}"}},
        {"nor out of a partial",
         "{{#a}}{{>p}}",
         "t.txt:1:1: a section that is not closed",
         {"p.txt={{/a}}"}},
        {"itself", "{{>p}}", "p.txt:2:1: {{>p}} closes a cycle", {"p.txt=\n{{>p}}"}},
        {"a cycle of three",
         "{{>p}}",
         "r.txt:1:2: {{>p}} closes a cycle",
         {"p.txt={{>q}}", "q.txt={{>r}}", "r.txt=x{{>p}}"}},
        {"a cycle that is met in a section",
         "{{#a}}{{>p}}{{/a}}",
         "p.txt:1:1: {{>p}} closes a cycle",
         {"p.txt={{>p}}"}},
        {"an inverted section ends nothing",
         "{{>p}}",
         "p.txt:1:7: {{>p}} closes a cycle",
         {"p.txt={{^a}}{{>p}}{{/a}}"}},
        {"after a section",
         "{{>p}}",
         "p.txt:1:13: {{>p}} closes a cycle",
         {"p.txt={{#a}}{{/a}}{{>p}}"}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct partials partials;
        struct template *t;
        struct err e =
            compile_as("t.txt", rows[i].input, partials_of(rows[i].partials, &partials), &t);
        if (e.code != ERR_CONFIG || !strstr(e.text, rows[i].want))
            fail_msg("%s: %d %s", rows[i].name, e.code, e.text);
        assert_null(t);
    }
}

static struct err take_file(void *arg, const char *file)
{
    buf_append_format(arg, "%s;", file);
    if (strstr(file, "bad")) return err_make(ERR_IO, 0, "cannot open %s", file);
    return err_none();
}

static void partials_are_listed_as_files(void **state)
{
    (void)state;
    static const struct {
        const char *file, *input, *want, *error;
    } rows[] = {
        {"t.txt", "no tag", "", ""},
        {"a/t.html", "{{>a}}{{#x}}{{> b/c.d }}{{/x}}{{>a}}", "a.html;b/c.d.html;a.html;", ""},
        {"t", "{{=| |=}}{{>no}}|>yes|{{!{{>no}}}}", "yes;", ""},
        {"t.txt", "{{>a}}\n {{>bad}}{{>b}}", "a.txt;bad.txt;", "t.txt:2:2: cannot open bad.txt"},
        {"t.txt", "{{>a}}{{/x}}", "", "t.txt:1:7: "},
    };
    struct buf got;
    buf_init(&got, 1000);
    for (size_t i = 0; i < COUNT(rows); i++) {
        buf_reset(&got);
        struct err e = template_each_partial(
            &(struct template_source){rows[i].file, rows[i].input, strlen(rows[i].input)},
            take_file, &got);
        assert_int_equal(e.code, rows[i].error[0] ? ERR_CONFIG : ERR_NONE);
        assert_non_null(strstr(e.text, rows[i].error));
        assert_string_equal(buf_text(&got), rows[i].want);
    }
    buf_fini(&got);
}

static void fails_with(const struct template *t, const struct value *with, const char *reason)
{
    struct template_trouble trouble;
    struct buf out;
    char got[200];
    buf_init(&out, 100);
    buf_append_text(&out, "kept");
    assert_false(template_render(t, with, TEMPLATE_PLAIN, &out, &trouble));
    template_explain(&trouble, got, sizeof got);
    assert_string_equal(got, reason);
    assert_string_equal(buf_text(&out), "kept");
    buf_fini(&out);
}

static void render_fails(const char *text, const struct value *with, const char *reason)
{
    struct template *t = compile(text);
    fails_with(t, with, reason);
    template_free(t);
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

/* Partials p1 to pn, each the text of the one before with its own name behind. */
static struct err compile_chain(int n, const char *before, const char *after, struct template **out)
{
    struct template_source items[64];
    char names[64][8], texts[64][60];
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "p%d", i + 1);
        snprintf(texts[i], sizeof texts[i], i + 1 < n ? "%s{{>p%d}}%s" : "x", before, i + 2, after);
        items[i] = (struct template_source){names[i], texts[i], strlen(texts[i])};
    }
    struct template_partials partials = {items, (size_t)n};
    return compile_as("t", "{{>p1}}", &partials, out);
}

static void partials_nest_to_their_maximum(void **state)
{
    (void)state;
    struct template *t;
    assert_int_equal(compile_chain(TEMPLATE_DEPTH_MAX, "", "", &t).code, ERR_NONE);
    renders("a chain of partials", t, TEMPLATE_PLAIN, "x");
    template_free(t);
    struct err e = compile_chain(TEMPLATE_DEPTH_MAX + 1, "", "", &t);
    assert_string_equal(e.text, "t:1:1: partials nested deeper than 32");
    /* in sections it depends on the recipient */
    assert_int_equal(compile_chain(TEMPLATE_DEPTH_MAX + 1, "{{#yes}}", "{{/yes}}", &t).code,
                     ERR_NONE);
    fails_with(t, &vars, "partial p33 is nested too deeply, in more than 32 partials");
    template_free(t);
}

/* In Mustache a name that an item lacks is looked up outside, so this would never end. */
static void a_recursion_that_the_data_do_not_end_fails_the_recipient(void **state)
{
    (void)state;
    static const struct {
        const char *partial, *reason;
    } rows[] = {
        {"node={{#yes}}{{>node}}{{/yes}}",
         "partial node is nested too deeply, in more than 32 partials"},
        {"node={{#words}}{{>node}}{{/words}}",
         "partial node is nested too deeply, in more than 32 partials"},
        {"node= {{#yes}}\n {{>node}}\n{{/yes}}",
         "partial node is nested too deeply, in more than 32 partials"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct partials partials;
        struct template *t;
        struct err e =
            compile_as("t", "{{>node}}",
                       partials_of((const char *const[]){rows[i].partial, NULL}, &partials), &t);
        assert_string_equal(e.text, "");
        fails_with(t, &vars, rows[i].reason);
        template_free(t);
    }
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

static void too_many_partials_and_indentations_are_too_big(void **state)
{
    (void)state;
    struct template_source items[TEMPLATE_PARTIALS_MAX + 1];
    for (size_t i = 0; i <= TEMPLATE_PARTIALS_MAX; i++)
        items[i] = (struct template_source){"p", "", 0};
    struct template_partials partials = {items, TEMPLATE_PARTIALS_MAX};
    struct template *t;
    assert_int_equal(compile_as("t", "", &partials, &t).code, ERR_NONE);
    template_free(t);
    partials.count++;
    assert_int_equal(compile_as("t", "", &partials, &t).code, ERR_TOO_BIG);
    /* two calls of itself in each, with indentations that are all different */
    struct partials own;
    struct err e = compile_as(
        "t", "{{>p}}\n",
        partials_of((const char *const[]){"p={{#kids}}\n {{>p}}\n\t{{>p}}\n{{/kids}}\n", NULL},
                    &own),
        &t);
    assert_int_equal(e.code, ERR_TOO_BIG);
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
        cmocka_unit_test(partials_render_what_the_table_says),
        cmocka_unit_test(wrong_templates_are_refused_with_their_place),
        cmocka_unit_test(wrong_partials_are_refused_with_their_place),
        cmocka_unit_test(partials_are_listed_as_files),
        cmocka_unit_test(a_missing_variable_is_named),
        cmocka_unit_test(a_list_or_map_is_not_text),
        cmocka_unit_test(lenient_rules_render_what_is_absent_as_nothing),
        cmocka_unit_test(sections_nest_to_their_maximum),
        cmocka_unit_test(partials_nest_to_their_maximum),
        cmocka_unit_test(a_recursion_that_the_data_do_not_end_fails_the_recipient),
        cmocka_unit_test(endless_repetition_fails_the_recipient),
        cmocka_unit_test(what_does_not_fit_is_left_out_and_told),
        cmocka_unit_test(a_template_past_its_maximum_is_too_big),
        cmocka_unit_test(too_many_partials_and_indentations_are_too_big),
        cmocka_unit_test(any_bytes_compile_or_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
