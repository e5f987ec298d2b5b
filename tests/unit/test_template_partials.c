/* Partials: what they render, how they are found, and how deep they may go. */
#include "template_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partials_render_what_the_table_says),
        cmocka_unit_test(wrong_partials_are_refused_with_their_place),
        cmocka_unit_test(partials_are_listed_as_files),
        cmocka_unit_test(partials_nest_to_their_maximum),
        cmocka_unit_test(a_recursion_that_the_data_do_not_end_fails_the_recipient),
        cmocka_unit_test(too_many_partials_and_indentations_are_too_big),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
