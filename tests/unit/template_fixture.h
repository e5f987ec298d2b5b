/* What the tests of templates share: variables of every kind, short ways to compile and render. */
#ifndef MAILFLOCK_TEMPLATE_FIXTURE_H
#define MAILFLOCK_TEMPLATE_FIXTURE_H

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

/* Partials, each written as "name=text". */
enum { PARTIALS = 8 };
struct partials {
    struct template_partials list;
    struct template_source items[PARTIALS];
    char names[PARTIALS][200];
};

static inline const struct template_partials *partials_of(const char *const texts[],
                                                          struct partials *out)
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

static inline struct err compile_as(const char *name, const char *text,
                                    const struct template_partials *partials, struct template **out)
{
    return template_compile(&(struct template_source){name, text, strlen(text)}, partials,
                            TEMPLATE_STRICT, out);
}

static inline struct template *compile(const char *text)
{
    struct template *t;
    struct err e = compile_as("t", text, NULL, &t);
    if (e.code) fail_msg("%s: %s", text, e.text);
    return t;
}

static inline void renders(const char *name, const struct template *t, enum template_escape escape,
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

static inline void fails_with(const struct template *t, const struct value *with,
                              const char *reason)
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

static inline void render_fails(const char *text, const struct value *with, const char *reason)
{
    struct template *t = compile(text);
    fails_with(t, with, reason);
    template_free(t);
}

#endif
