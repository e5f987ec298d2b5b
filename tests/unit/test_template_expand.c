/* Partials in their places: the same mails come of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/template_expand.h"

enum { OUT_MAX = 1 << 20, PARTIALS = 7 };

static const char *const TEXTS[PARTIALS][2] = {{"a.html", "A{{x}}\n\nA2\n"},
                                               {"b.html", "[{{> a}}]"},
                                               {"deep/c.html", "c\n  {{> a}}\n{{>b}}\n"},
                                               {"empty.html", ""},
                                               {"self.html", "s{{#list}}{{>self}}{{/list}}"},
                                               {"to-self.html", "\n{{>to-self2}}"},
                                               {"to-self2.html", "{{> to-self}}"}};

static struct template_source items[PARTIALS];
static const struct template_partials partials = {items, PARTIALS};

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < PARTIALS; i++)
        items[i] = (struct template_source){TEXTS[i][0], TEXTS[i][1], strlen(TEXTS[i][1])};
    return 0;
}

static const struct value list[] = {{.kind = VALUE_TEXT, .len = 1, .text = "1"},
                                    {.kind = VALUE_TEXT, .len = 1, .text = "2"}};
static const struct value_field fields[] = {
    {"x", 1, {.kind = VALUE_TEXT, .len = 3, .text = "<x>"}},
    {"list", 4, {.kind = VALUE_LIST, .len = 2, .items = list}},
};
static const struct value vars = {.kind = VALUE_MAP, .len = 2, .fields = fields};

static void render(const struct template_source *source, const struct template_partials *with,
                   struct buf *out)
{
    struct template *t;
    struct template_trouble trouble;
    buf_init(out, OUT_MAX);
    struct err e = template_compile(source, with, TEMPLATE_STRICT, &t);
    assert_string_equal(e.text, "");
    assert_true(template_render(t, &vars, TEMPLATE_HTML, out, &trouble));
    buf_text(out);
    template_free(t);
}

static void what_is_expanded_renders_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* want: NULL where it does not matter */
    } rows[] = {
        {"", ""},
        {"no tags", "no tags"},
        {"{{x}} {{{x}}} {{& x }}", "{{x}} {{{x}}} {{{x}}}"},
        {"a {{>a}} b", "a A{{x}}\n\nA2\n b"},
        {"a\n{{> a}}\nb", "a\nA{{x}}\n\nA2\nb"},
        {"a\n  {{> a}}  \r\nb", "a\n  A{{x}}\n\n  A2\nb"},
        {"\t{{> deep/c}}", NULL},
        {"{{>b}}{{>b}}", NULL},
        {" {{> empty}}\nx", "x"},
        {"{{#list}}\n- {{.}} {{>b}}\n{{/list}}\n", NULL},
        {"  {{#list}}\n- {{.}}\n  {{/list}}\n", "  {{#list}}\n- {{.}}\n  {{/list}}\n"},
        {"a{{! b }}c\n{{! d }}\ne", "ac\ne"},
        {"{{=<% %>=}}<%x%> {{x}} <%>a%> {{{", NULL},
        {"{{^list}}no{{/list}}{{#x}}yes{{/x}}", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct template_source source = {"r.html", rows[i].text, strlen(rows[i].text)};
        struct buf whole, want, got;
        buf_init(&whole, OUT_MAX);
        struct err e = template_expand(&source, &partials, &whole);
        if (e.code) fail_msg("%s: %s", rows[i].text, e.text);
        if (rows[i].want) assert_string_equal(buf_text(&whole), rows[i].want);
        render(&source, &partials, &want);
        render(&(struct template_source){"r.html", buf_text(&whole), whole.len}, NULL, &got);
        assert_string_equal(got.data ? got.data : "", want.data ? want.data : "");
        buf_fini(&whole);
        buf_fini(&want);
        buf_fini(&got);
    }
}

static void what_cannot_be_expanded_is_told_where_it_stands(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"a {{b", "r.html:1:3: a tag that is not closed"},
        {"a\n {{> gone}}", "r.html:2:2: there is no partial gone.html"},
        {"{{>self}}", "self.html:1:11: self.html uses itself"},
        {"{{>to-self}}", "to-self2.html:1:1: to-self.html uses itself"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf whole;
        struct template_source source = {"r.html", rows[i].text, strlen(rows[i].text)};
        buf_init(&whole, OUT_MAX);
        struct err e = template_expand(&source, &partials, &whole);
        if (e.code != ERR_CONFIG || !strstr(e.text, rows[i].want)) fail_msg("%s", e.text);
        buf_fini(&whole);
    }
}

/* p0 has p1 twice, which has p2 twice, and so on. */
static struct err expand_doubling(const char *text, const char *end)
{
    enum { LEVELS = 30 };
    static char names[LEVELS][16], texts[LEVELS][40];
    static struct template_source sources[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        snprintf(names[i], sizeof names[i], "p%d", i);
        snprintf(texts[i], sizeof texts[i], "%s{{>p%d}}{{>p%d}}", text, i + 1, i + 1);
        if (i == LEVELS - 1) snprintf(texts[i], sizeof texts[i], "%s", end);
        sources[i] = (struct template_source){names[i], texts[i], strlen(texts[i])};
    }
    struct template_partials with = {sources, LEVELS};
    struct buf whole;
    buf_init(&whole, OUT_MAX);
    struct err e = template_expand(&sources[0], &with, &whole);
    buf_fini(&whole);
    return e;
}

static void what_grows_out_of_bounds_is_refused(void **state)
{
    (void)state;
    assert_int_equal(expand_doubling("xxxx", "end").code, ERR_TOO_BIG);
}

static void what_grows_in_number_alone_is_refused(void **state)
{
    (void)state;
    struct err e = expand_doubling("", "");
    assert_int_equal(e.code, ERR_TOO_BIG);
    assert_non_null(strstr(e.text, "p0: its partials have too many partials"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_expanded_renders_the_same),
        cmocka_unit_test(what_cannot_be_expanded_is_told_where_it_stands),
        cmocka_unit_test(what_grows_out_of_bounds_is_refused),
        cmocka_unit_test(what_grows_in_number_alone_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
