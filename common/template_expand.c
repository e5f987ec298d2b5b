/* For those who work on the whole text: Markdown, and the plain text of HTML. */
#include "common/template_expand.h"

#include "common/tag_cover.h"
#include "common/template_parse.h"

/* Partials that each have the next one twice are short, and say nothing for hours. */
enum { READ_MAX = 16 * TEMPLATE_TEXT_MAX, READ_A_PARTIAL = 1024 };

struct expansion {
    const struct template_source *root; /* its extension is that of all partials */
    const struct template_partials *partials;
    const struct template_source *open[TEMPLATE_DEPTH_MAX]; /* from the root to where we are */
    int depth;
    size_t read; /* bytes of all texts that were read, and something for each */
};

static struct err expand(struct expansion *x, const struct template_source *source,
                         const struct buf *indent, struct buf *out) MUST_CHECK;

static struct err find(const struct expansion *x, const struct template_source *from,
                       const struct template_tag *call, const struct template_source **out)
{
    char file[TEMPLATE_FILE_MAX];
    template_partial_file(x->root, call, file);
    for (size_t i = 0; i < x->partials->count; i++) {
        *out = &x->partials->items[i];
        if (strcmp((*out)->name, file) == 0) return err_none();
    }
    return template_error(from, call->at, "there is no partial %s", file);
}

static struct err check_open(const struct expansion *x, const struct template_source *from,
                             const struct template_tag *call, const struct template_source *partial)
{
    for (int i = 0; i < x->depth; i++)
        if (x->open[i] == partial)
            return template_error(
                from, call->at, "%s uses itself, so it cannot be put in its place", partial->name);
    return err_none();
}

/* Only a tag that is alone on its line has its partial indented, as the specification wants. */
static struct err expand_call(struct expansion *x, const struct template_source *from,
                              const struct template_tag *call, const struct buf *indent,
                              struct buf *out)
{
    const struct template_source *partial = NULL;
    struct buf deeper;
    TRY(find(x, from, call, &partial));
    TRY(check_open(x, from, call, partial));
    buf_init(&deeper, TEMPLATE_TEXT_MAX);
    if (call->alone) {
        buf_append(&deeper, indent->data, indent->len);
        buf_append(&deeper, from->text + call->at - call->indent, call->indent);
    }
    struct err e = expand(x, partial, &deeper, out);
    buf_fini(&deeper);
    return e;
}

/* Every line gets the indentation, but for empty ones. */
static void write_literal(const struct template_tag *literal, bool begins, const struct buf *indent,
                          struct buf *out)
{
    const char *line = literal->text, *end = line + literal->len;
    while (line < end) {
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        const char *next = line_end ? line_end + 1 : end;
        if (begins && *line != '\n' && *line != '\r') buf_append(out, indent->data, indent->len);
        tag_cover_write_literal(line, (size_t)(next - line), out);
        line = next;
        begins = true;
    }
}

static struct err expand_tag(struct expansion *x, const struct template_source *source,
                             const struct template_tag *tag, const struct buf *indent,
                             struct buf *out)
{
    bool begins = tag->at == 0 || source->text[tag->at - 1] == '\n';
    if (tag->kind == TEMPLATE_LITERAL) {
        write_literal(tag, begins, indent, out);
        return err_none();
    }
    if (begins && !tag->alone) buf_append(out, indent->data, indent->len);
    if (tag->kind == TEMPLATE_CALL) return expand_call(x, source, tag, indent, out);
    if (tag->alone) buf_append_format(out, "%*s", (int)tag->indent, "");
    tag_cover_write_tag(tag, out);
    if (tag->alone) buf_append_char(out, '\n');
    return err_none();
}

static struct err expand(struct expansion *x, const struct template_source *source,
                         const struct buf *indent, struct buf *out)
{
    struct template_tags tags;
    if (x->depth == TEMPLATE_DEPTH_MAX)
        return err_make(ERR_CONFIG, 0, "%s: partials nested deeper than %d", source->name,
                        TEMPLATE_DEPTH_MAX);
    x->read += source->len + READ_A_PARTIAL;
    if (x->read > READ_MAX)
        return err_make(ERR_TOO_BIG, 0,
                        "%s: its partials have too many partials to be put in their places",
                        x->root->name);
    x->open[x->depth++] = source;
    struct err e = template_parse(source, &tags);
    for (size_t i = 0; i < tags.count && !e.code; i++)
        e = expand_tag(x, source, &tags.items[i], indent, out);
    template_tags_free(&tags);
    x->depth--;
    return e.code ? e : buf_check(out, source->name);
}

struct err template_expand(const struct template_source *source,
                           const struct template_partials *partials, struct buf *out)
{
    struct expansion x = {.root = source, .partials = partials};
    struct buf none;
    buf_init(&none, 0);
    return expand(&x, source, &none, out);
}
