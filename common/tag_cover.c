/* A word is a mark that the source does not hold, the tag's index and a letter that ends it. A
 * parser may make words of what the source does not hold as such: it decodes entities and drops
 * characters. Hence a mark that depends on the whole source, which no text can name, and no word
 * counts but one that was written. */
#include "common/tag_cover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { COVERED_MAX = 4 * TEMPLATE_TEXT_MAX }; /* words are longer than the shortest tags */

static void choose_mark(struct tag_cover *c, const struct template_source *source)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < source->len; i++)
        hash = (hash ^ (unsigned char)source->text[i]) * 16777619u;
    do snprintf(c->mark, sizeof c->mark, "mf%08" PRIx32 "n", hash++);
    while (source->len && memmem(source->text, source->len, c->mark, strlen(c->mark)));
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

/* The tag whose index stands between text and end, as it was written; *len: with the letter. */
static const struct template_tag *read_index(const struct tag_cover *c, const char *text,
                                             const char *end, size_t *len)
{
    size_t index = 0;
    const char *p = text;
    while (p < end && *p >= '0' && *p <= '9' && index < c->tags.count)
        index = index * 10 + (size_t)(*p++ - '0');
    if (p == text || p == end || *p != 'x' || index >= c->tags.count) return NULL;
    if (*text == '0' && p > text + 1) return NULL;
    *len = (size_t)(p + 1 - text);
    return c->tags.items[index].kind == TEMPLATE_LITERAL ? NULL : &c->tags.items[index];
}

const struct template_tag *tag_cover_find(const struct tag_cover *c, const char *text, size_t len,
                                          size_t *at, size_t *word_len)
{
    size_t mark_len = strlen(c->mark), index_len;
    const char *end = text + len, *from = text;
    for (const char *mark; (mark = memmem(from, (size_t)(end - from), c->mark, mark_len));) {
        from = mark + mark_len;
        const struct template_tag *tag = read_index(c, from, end, &index_len);
        if (!tag) continue;
        *at = (size_t)(mark - text);
        *word_len = mark_len + index_len;
        return tag;
    }
    return NULL;
}

/* A brace that ends what is written would join the braces that follow. */
static void part_braces(struct buf *out)
{
    if (!out->len || out->too_big || out->data[out->len - 1] != '{') return;
    out->len--;
    buf_append_text(out, "{{=<% %>=}}{<%={{ }}=%>");
}

void tag_cover_write_tag(const struct template_tag *tag, struct buf *out)
{
    static const char *const OPEN[] = {
        [TEMPLATE_VARIABLE] = "{{",  [TEMPLATE_RAW] = "{{{", [TEMPLATE_SECTION] = "{{#",
        [TEMPLATE_INVERTED] = "{{^", [TEMPLATE_END] = "{{/", [TEMPLATE_CALL] = "{{>",
    };
    if (tag->kind >= sizeof OPEN / sizeof *OPEN || !OPEN[tag->kind]) {
        fprintf(stderr, "tag_cover: no tag has kind %d\n", (int)tag->kind);
        abort();
    }
    part_braces(out);
    buf_append_text(out, OPEN[tag->kind]);
    if (tag->kind == TEMPLATE_VARIABLE && memchr("{&!#^/>=", *tag->text, 8))
        buf_append_char(out, ' '); /* of a name that begins like another kind of tag */
    buf_append(out, tag->text, tag->len);
    buf_append_text(out, tag->kind == TEMPLATE_RAW ? "}}}" : "}}");
}

void tag_cover_write_literal(const char *text, size_t len, struct buf *out)
{
    if (len && *text == '{') part_braces(out);
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
