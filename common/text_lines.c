/* One line is gathered at a time, twice: as it is written where something shows in it, and as its
 * tags alone where nothing does. */
#include "common/text_lines.h"

void text_lines_init(struct text_lines *l, struct buf *out)
{
    *l = (struct text_lines){.out = out, .gap_made = true};
    buf_init(&l->line, TEMPLATE_TEXT_MAX);
    buf_init(&l->tags, TEMPLATE_TEXT_MAX);
}

void text_lines_fini(struct text_lines *l)
{
    buf_fini(&l->line);
    buf_fini(&l->tags);
}

void text_lines_blank(struct text_lines *l, int n)
{
    if (l->visible && !l->after_blank && l->blanks < n) l->blanks = n;
}

static void write_blanks(struct text_lines *l)
{
    for (; l->blanks; l->blanks--) {
        buf_append_char(&l->line, ' ');
        l->after_blank = true;
    }
}

void text_lines_put(struct text_lines *l, const char *text, size_t len)
{
    write_blanks(l);
    tag_cover_write_literal(text, len, &l->line);
    l->visible = true;
    l->after_blank = false;
}

void text_lines_tag(struct text_lines *l, const struct template_tag *tag)
{
    write_blanks(l);
    tag_cover_write_tag(tag, &l->line);
    if (tag->kind == TEMPLATE_VARIABLE || tag->kind == TEMPLATE_RAW) {
        l->visible = true;
        l->after_blank = false;
        return;
    }
    l->calls = l->calls || tag->kind == TEMPLATE_CALL;
    tag_cover_write_tag(tag, &l->tags);
    buf_append_char(&l->tags, '\n');
}

void text_lines_target(struct text_lines *l, const char *target, size_t len, bool parentheses)
{
    write_blanks(l);
    if (parentheses) buf_append_char(&l->line, '(');
    buf_append(&l->line, target, len);
    if (parentheses) buf_append_char(&l->line, ')');
    l->visible = true;
    l->after_blank = false;
}

void text_lines_gap(struct text_lines *l)
{
    if (!l->gap_made) l->gap_due = true;
}

static void write_gap(struct text_lines *l)
{
    if (!l->gap_due) return;
    buf_append_char(l->out, '\n');
    l->gap_due = false;
    l->gap_made = true;
}

bool text_lines_is_empty(const struct text_lines *l)
{
    return l->line.len == 0;
}

static void end_visible(struct text_lines *l, const struct buf *before)
{
    write_gap(l);
    while (l->line.len && l->line.data[l->line.len - 1] == ' ') l->line.len--;
    buf_append(l->out, before->data, before->len);
    buf_append(l->out, l->line.data, l->line.len);
    buf_append_char(l->out, '\n');
    l->gap_made = false;
}

/* A partial shows something, which stands apart. */
static void end_tags(struct text_lines *l)
{
    if (l->calls) text_lines_gap(l);
    write_gap(l);
    buf_append(l->out, l->tags.data, l->tags.len);
    if (!l->calls) return;
    l->gap_made = false;
    l->gap_due = true;
}

void text_lines_end(struct text_lines *l, const struct buf *before)
{
    if (l->visible)
        end_visible(l, before);
    else if (l->tags.len)
        end_tags(l);
    if (l->line.too_big || l->tags.too_big) l->out->too_big = true;
    buf_reset(&l->line);
    buf_reset(&l->tags);
    l->visible = l->calls = l->after_blank = false;
    l->blanks = 0;
    l->ended++;
}
