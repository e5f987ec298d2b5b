/* A word is a mark that the source does not hold, the tag's index and a letter that ends it. */
#include "common/tag_cover.h"

#include <stdio.h>
#include <stdlib.h>

enum { COVERED_MAX = 4 * TEMPLATE_TEXT_MAX }; /* words are longer than the shortest tags */

static void choose_mark(struct tag_cover *c, const struct template_source *source)
{
    unsigned salt = 0;
    do snprintf(c->mark, sizeof c->mark, "mf%utag", salt++);
    while (memmem(source->text, source->len, c->mark, strlen(c->mark)));
}

static void cover(struct tag_cover *c, size_t index, enum tag_cover_form form)
{
    const struct template_tag *tag = &c->tags.items[index];
    if (form == TAG_COVER_MARKDOWN && tag->alone)
        buf_append_format(&c->text, "%*s<?%s%zux?>\n", (int)tag->indent, "", c->mark, index);
    else
        buf_append_format(&c->text, "%s%zux", c->mark, index);
}

struct err tag_cover_init(struct tag_cover *c, const struct template_source *source,
                          enum tag_cover_form form)
{
    *c = (struct tag_cover){0};
    buf_init(&c->text, COVERED_MAX);
    TRY(template_parse(source, &c->tags));
    choose_mark(c, source);
    for (size_t i = 0; i < c->tags.count; i++) {
        const struct template_tag *tag = &c->tags.items[i];
        if (tag->kind == TEMPLATE_LITERAL)
            buf_append(&c->text, tag->text, tag->len);
        else
            cover(c, i, form);
    }
    return buf_check(&c->text, source->name);
}

void tag_cover_fini(struct tag_cover *c)
{
    template_tags_free(&c->tags);
    buf_fini(&c->text);
}

const struct template_tag *tag_cover_find(const struct tag_cover *c, const char *text, size_t len,
                                          size_t *at, size_t *word_len)
{
    size_t mark_len = strlen(c->mark), index = 0;
    const char *mark = memmem(text, len, c->mark, mark_len), *end = text + len;
    if (!mark) return NULL;
    const char *p = mark + mark_len;
    while (p < end && *p >= '0' && *p <= '9' && index < c->tags.count)
        index = index * 10 + (size_t)(*p++ - '0');
    if (p == end || *p != 'x' || index >= c->tags.count) return NULL;
    *at = (size_t)(mark - text);
    *word_len = (size_t)(p + 1 - mark);
    return &c->tags.items[index];
}

void tag_cover_write_tag(const struct template_tag *tag, struct buf *out)
{
    static const char *const OPEN[] = {
        [TEMPLATE_VARIABLE] = "{{",  [TEMPLATE_RAW] = "{{{", [TEMPLATE_SECTION] = "{{#",
        [TEMPLATE_INVERTED] = "{{^", [TEMPLATE_END] = "{{/", [TEMPLATE_CALL] = "{{>",
    };
    buf_append_text(out, OPEN[tag->kind]);
    buf_append(out, tag->text, tag->len);
    buf_append_text(out, tag->kind == TEMPLATE_RAW ? "}}}" : "}}");
}

void tag_cover_write_literal(const char *text, size_t len, struct buf *out)
{
    for (const char *open; (open = memmem(text, len, "{{", 2));) {
        buf_append(out, text, (size_t)(open - text));
        buf_append_text(out, "{{=<% %>=}}{{<%={{ }}=%>");
        len -= (size_t)(open + 2 - text);
        text = open + 2;
    }
    buf_append(out, text, len);
}

void tag_cover_show(const struct tag_cover *c, const char *text, size_t len, struct buf *out)
{
    const struct template_tag *tag;
    for (size_t at, word; (tag = tag_cover_find(c, text, len, &at, &word));) {
        tag_cover_write_literal(text, at, out);
        tag_cover_write_tag(tag, out);
        text += at + word;
        len -= at + word;
    }
    tag_cover_write_literal(text, len, out);
}
