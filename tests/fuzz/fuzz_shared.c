#include <stdio.h>
#include <stdlib.h>

#include "common/encode.h"
#include "common/template_parse.h"
#include "fuzz.h"

void fuzz_check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static bool has(const struct template_tags *tags, const struct template_tag *tag)
{
    for (size_t i = 0; i < tags->count; i++) {
        const struct template_tag *t = &tags->items[i];
        if (t->kind == tag->kind && t->len == tag->len && memcmp(t->text, tag->text, t->len) == 0)
            return true;
    }
    return false;
}

void fuzz_keeps_tags(const struct template_source *source, const struct template_source *made)
{
    struct template_tags before, after;
    struct err e = template_parse(source, &before);
    fuzz_check(!e.code, "something was made of what is no template");
    fuzz_check(encode_utf8_prefix(made->text, made->len) == made->len, "not UTF-8");
    e = template_parse(made, &after);
    if (e.code && !strstr(e.text, "section")) fuzz_check(false, e.text);
    for (size_t i = 0; i < after.count; i++)
        if (after.items[i].kind != TEMPLATE_LITERAL)
            fuzz_check(has(&before, &after.items[i]), "a tag that the source does not have");
    template_tags_free(&before);
    template_tags_free(&after);
}
