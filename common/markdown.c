/* The one file that knows cmark. The tags are covered while cmark works: those alone on their lines
 * as processing instructions, which are blocks that may stand anywhere. */
#include "common/markdown.h"

#include <cmark.h>
#include <stdlib.h>

#include "common/tag_cover.h"

enum { LIST_END = sizeof "</ul>\n" - 1 };

/* The tag that a node is, where it is nothing else. */
static const struct template_tag *tag_of(const struct tag_cover *c, cmark_node *node)
{
    size_t at, word;
    if (!node || cmark_node_get_type(node) != CMARK_NODE_HTML_BLOCK) return NULL;
    const char *text = cmark_node_get_literal(node);
    const struct template_tag *tag = tag_cover_find(c, text, strlen(text), &at, &word);
    if (!tag || at != strspn(text, " ") + 2) return NULL;
    return strcmp(text + at + word, "?>\n") == 0 ? tag : NULL;
}

/* <?word?> becomes <?word+?>. */
static void add_plus(const struct tag_cover *c, cmark_node *node)
{
    size_t at = 0, word = 0;
    struct buf text;
    const char *old = cmark_node_get_literal(node);
    buf_init(&text, TEMPLATE_TEXT_MAX);
    tag_cover_find(c, old, strlen(old), &at, &word);
    buf_append_format(&text, "<?%.*s+?>\n", (int)word, old + at);
    cmark_node_set_literal(node, buf_text(&text));
    buf_fini(&text);
}

/* {{#items}}, a list, {{/items}}: the section goes around the list's items. A plus says of the two
 * tags that they change places with <ul> and </ul>, which is done in the text. */
static void mark_list(const struct tag_cover *c, cmark_node *list)
{
    cmark_node *before = cmark_node_previous(list), *after = cmark_node_next(list);
    const struct template_tag *open = tag_of(c, before), *close = tag_of(c, after);
    if (!open || !close || close->kind != TEMPLATE_END) return;
    if (open->kind != TEMPLATE_SECTION && open->kind != TEMPLATE_INVERTED) return;
    add_plus(c, before);
    add_plus(c, after);
}

static void mark_lists(const struct tag_cover *c, cmark_node *root)
{
    cmark_iter *iter = cmark_iter_new(root);
    for (cmark_event_type e; (e = cmark_iter_next(iter)) != CMARK_EVENT_DONE;) {
        cmark_node *node = cmark_iter_get_node(iter);
        if (e == CMARK_EVENT_ENTER && cmark_node_get_type(node) == CMARK_NODE_LIST)
            mark_list(c, node);
    }
    cmark_iter_free(iter);
}

/* How much of the text's end, or of its beginning, is that. */
static size_t ends_with(const char *text, size_t len, const char *end)
{
    size_t n = strlen(end);
    return n <= len && memcmp(text + len - n, end, n) == 0 ? n : 0;
}

static size_t begins_with(const char *text, const char *end, const char *begin)
{
    size_t n = strlen(begin);
    return n <= (size_t)(end - text) && memcmp(text, begin, n) == 0 ? n : 0;
}

/* Whether a tag with a plus has a list's end before it in out, or a line after it in text. */
static bool can_swap(const struct template_tag *tag, const char *text, const char *end,
                     const struct buf *out)
{
    if (tag->kind != TEMPLATE_END) return memchr(text, '\n', (size_t)(end - text));
    return ends_with(out->data, out->len, "</ul>\n") || ends_with(out->data, out->len, "</ol>\n");
}

/* Writes a tag that is alone, as a line; text stands behind its word. In a block of code the
 * processing instruction was escaped. Returns where the text goes on. */
static const char *show_alone(const struct template_tag *tag, const char *text, const char *end,
                              struct buf *out)
{
    bool swap = begins_with(text, end, "+");
    text += swap;
    size_t closing = begins_with(text, end, "?>");
    text += closing ? closing : begins_with(text, end, "?&gt;");
    text += begins_with(text, end, "\n");
    if (out->too_big) return end;
    swap = swap && can_swap(tag, text, end, out);
    if (swap && tag->kind == TEMPLATE_END) {
        char list_end[LIST_END];
        memcpy(list_end, out->data + out->len - LIST_END, LIST_END);
        out->len -= LIST_END;
        tag_cover_write_tag(tag, out);
        buf_append_char(out, '\n');
        buf_append(out, list_end, LIST_END);
        return text;
    }
    if (swap) {
        const char *next = memchr(text, '\n', (size_t)(end - text));
        buf_append(out, text, (size_t)(next + 1 - text));
        text = next + 1;
    }
    tag_cover_write_tag(tag, out);
    buf_append_char(out, '\n');
    return text;
}

/* The words become tags again. */
static void show(const struct tag_cover *c, const char *text, struct buf *out)
{
    const char *end = text + strlen(text);
    const struct template_tag *tag;
    size_t at, word;
    while ((tag = tag_cover_find(c, text, (size_t)(end - text), &at, &word))) {
        size_t before = at;
        if (tag->alone) before -= ends_with(text, at, "&lt;?") + ends_with(text, at, "<?");
        tag_cover_write_literal(text, before, out);
        text += at + word;
        if (tag->alone)
            text = show_alone(tag, text, end, out);
        else
            tag_cover_write_tag(tag, out);
    }
    tag_cover_write_literal(text, (size_t)(end - text), out);
}

/* Raw HTML stays: it is the campaign's owner who writes the file. */
static void convert(const struct tag_cover *c, struct buf *out)
{
    cmark_node *root = cmark_parse_document(c->text.data, c->text.len, CMARK_OPT_DEFAULT);
    mark_lists(c, root);
    char *html = cmark_render_html(root, CMARK_OPT_UNSAFE);
    show(c, html, out);
    free(html);
    cmark_node_free(root);
}

struct err markdown_to_html(const struct template_source *source, struct buf *out)
{
    struct tag_cover c;
    struct err e = tag_cover_init(&c, source, TAG_COVER_MARKDOWN);
    if (!e.code && c.text.len) convert(&c, out);
    tag_cover_fini(&c);
    return e.code ? e : buf_check(out, source->name);
}
