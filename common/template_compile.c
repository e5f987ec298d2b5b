/* From tags to one flat program. A partial is compiled once for each indentation it is met with,
 * and called; so a program does not grow with the number of calls, and a partial may call itself.
 * One that calls itself with an indentation is met with ever longer ones; that ends at
 * TEMPLATE_DEPTH_MAX calls, which is as deep as a walk goes. Pure. */
#include <stdlib.h>

#include "common/template_internal.h"
#include "common/template_parse.h"

enum { NOWHERE = UINT32_MAX, UNITS_MAX = 1024 };
enum visit { NOT_YET, BEGUN, OVER };

/* The template (the first) or a partial. */
struct file {
    struct template_source source;
    struct template_tags tags;
    uint32_t *called; /* per tag: the file of a call, or NOWHERE; NULL: the file is not used */
    enum visit visit;
    int height; /* calls below, without those in sections */
};

/* A file with an indentation. */
struct unit {
    uint32_t file;
    int level; /* calls from the template's own text to here */
    struct buf indent;
    size_t start; /* index of its first node */
};

struct compiler {
    struct template *t;
    bool has_partials;
    struct file *files;
    uint32_t n_files, n_used;
    uint32_t *used; /* files in the order they were met */
    struct unit *units;
    size_t n_units;
    size_t room, *text_at; /* per node: where its text is in the template's, which moves */
    size_t target;         /* where a jump leads; no literal is joined across it */
};

/* The file of a call; NOWHERE where there is none and none is needed. */
static struct err find_file(const struct compiler *c, const struct file *from,
                            const struct template_tag *call, uint32_t *out)
{
    char name[TEMPLATE_FILE_MAX];
    template_partial_file(&c->files[0].source, call, name);
    for (*out = 1; *out < c->n_files; ++*out)
        if (strcmp(c->files[*out].source.name, name) == 0) return err_none();
    *out = NOWHERE;
    if (c->t->rules == TEMPLATE_LENIENT) return err_none();
    if (!c->has_partials)
        return template_error(&from->source, call->at, "partials belong into text and html files");
    return template_error(&from->source, call->at, "there is no partial %s", name);
}

static struct err use(struct compiler *c, uint32_t file)
{
    struct file *f = &c->files[file];
    if (f->called) return err_none();
    TRY(template_parse(&f->source, &f->tags));
    f->called = mem_alloc((f->tags.count + 1) * sizeof *f->called);
    c->used[c->n_used++] = file;
    return err_none();
}

/* Parses the template and all partials that can be reached from it. */
static struct err use_all(struct compiler *c)
{
    TRY(use(c, 0));
    for (uint32_t k = 0; k < c->n_used; k++) {
        struct file *f = &c->files[c->used[k]];
        for (size_t i = 0; i < f->tags.count; i++) {
            if (f->tags.items[i].kind != TEMPLATE_CALL) continue;
            TRY(find_file(c, f, &f->tags.items[i], &f->called[i]));
            if (f->called[i] != NOWHERE) TRY(use(c, f->called[i]));
        }
    }
    return err_none();
}

/* A partial may call itself where a section stands between: the data end it. Without one, or with
 * an inverted one, which changes nothing of what the partial sees, it would have no end. */
static struct err refuse_cycles(struct compiler *c, struct file *f)
{
    f->visit = BEGUN;
    for (size_t i = 0; i < f->tags.count; i++) {
        const struct template_tag *tag = &f->tags.items[i];
        if (tag->kind != TEMPLATE_CALL || tag->in_section || f->called[i] == NOWHERE) continue;
        struct file *called = &c->files[f->called[i]];
        if (called->visit == BEGUN)
            return template_error(&f->source, tag->at,
                                  "{{>%.*s}} closes a cycle of partials without a section in it, "
                                  "which would have no end",
                                  (int)tag->len, tag->text);
        if (called->visit == NOT_YET) TRY(refuse_cycles(c, called));
        if (f->height <= called->height) f->height = called->height + 1;
        if (f->height > TEMPLATE_DEPTH_MAX)
            return template_error(&f->source, tag->at, "partials nested deeper than %d",
                                  TEMPLATE_DEPTH_MAX);
    }
    f->visit = OVER;
    return err_none();
}

/* Returns the node's index. Literals that follow each other become one. */
static size_t add_node(struct compiler *c, enum template_kind kind, const char *text, size_t len)
{
    struct template *t = c->t;
    struct template_node *last = t->count ? &t->nodes[t->count - 1] : NULL;
    const char *dot = kind == TEMPLATE_LITERAL ? NULL : memchr(text, '.', len);
    size_t first_len = dot ? (size_t)(dot - text) : len;
    size_t at = t->text.len;
    if (t->count == TEMPLATE_NODES_MAX) return t->count - 1;
    buf_append(&t->text, text, len);
    if (kind == TEMPLATE_LITERAL && last && last->kind == kind && c->target != t->count) {
        last->len += len;
        return t->count - 1;
    }
    if (t->count == c->room) {
        c->room = c->room ? c->room * 2 : 8;
        t->nodes = mem_resize(t->nodes, c->room * sizeof *t->nodes);
        c->text_at = mem_resize(c->text_at, c->room * sizeof *c->text_at);
    }
    c->text_at[t->count] = at;
    t->nodes[t->count] =
        (struct template_node){.kind = kind, .len = len, .first_len = (uint32_t)first_len};
    return t->count++;
}

static void add_literal(struct compiler *c, const char *text, size_t len)
{
    if (len) add_node(c, TEMPLATE_LITERAL, text, len);
}

static bool begins_line(const struct file *f, const struct template_tag *tag)
{
    return tag->at == 0 || f->source.text[tag->at - 1] == '\n';
}

/* Every line gets the indentation, but for empty ones. */
static void emit_literal(struct compiler *c, const struct buf *indent, bool begins,
                         const struct template_tag *tag)
{
    const char *text = tag->text, *end = text + tag->len;
    if (begins && text == end) add_literal(c, indent->data, indent->len);
    while (text < end) {
        const char *line_end = indent->len ? memchr(text, '\n', (size_t)(end - text)) : NULL;
        const char *next = line_end ? line_end + 1 : end;
        if (begins && *text != '\n' && *text != '\r') add_literal(c, indent->data, indent->len);
        add_literal(c, text, (size_t)(next - text));
        text = next;
        begins = true;
    }
}

static bool same_text(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* The unit of that file and indentation, which it takes; a new one is emitted later. */
static size_t find_unit(struct compiler *c, uint32_t file, struct buf *indent, int level)
{
    size_t i = 0;
    while (i < c->n_units && (c->units[i].file != file || !same_text(&c->units[i].indent, indent)))
        i++;
    if (i < c->n_units || c->n_units == UNITS_MAX)
        buf_fini(indent);
    else
        c->units[c->n_units++] = (struct unit){.file = file, .level = level, .indent = *indent};
    return i;
}

/* The jump of a call is its unit until all units have their place. */
static void emit_call(struct compiler *c, const struct unit *u, const struct template_tag *tag,
                      uint32_t called)
{
    const char *text = c->files[u->file].source.text;
    size_t unit = 0; /* of no meaning where no walk comes */
    if (called == NOWHERE) return;
    if (u->level < TEMPLATE_DEPTH_MAX) {
        struct buf indent;
        buf_init(&indent, TEMPLATE_TEXT_MAX);
        if (tag->alone) {
            buf_append(&indent, u->indent.data, u->indent.len);
            buf_append(&indent, text + tag->at - tag->indent, tag->indent);
        }
        unit = find_unit(c, called, &indent, u->level + 1);
    }
    size_t node = add_node(c, TEMPLATE_CALL, tag->text, tag->len); /* nodes may move */
    c->t->nodes[node].jump = unit;
}

static void emit_end(struct compiler *c, size_t section)
{
    struct template *t = c->t;
    if (t->nodes[section].kind == TEMPLATE_SECTION) {
        size_t end = add_node(c, TEMPLATE_END, "", 0); /* nodes may move */
        t->nodes[end].jump = section + 1;
    }
    t->nodes[section].jump = c->target = t->count;
}

static void emit_unit(struct compiler *c, struct unit *u)
{
    const struct file *f = &c->files[u->file];
    size_t opened[TEMPLATE_DEPTH_MAX], depth = 0;
    u->start = c->target = c->t->count;
    for (size_t i = 0; i < f->tags.count; i++) {
        const struct template_tag *tag = &f->tags.items[i];
        bool begins = begins_line(f, tag);
        if (tag->kind != TEMPLATE_LITERAL && begins && !tag->alone)
            add_literal(c, u->indent.data, u->indent.len);
        if (tag->kind == TEMPLATE_LITERAL)
            emit_literal(c, &u->indent, begins, tag);
        else if (tag->kind == TEMPLATE_CALL)
            emit_call(c, u, tag, f->called[i]);
        else if (tag->kind == TEMPLATE_END)
            emit_end(c, opened[--depth]);
        else if (tag->kind == TEMPLATE_SECTION || tag->kind == TEMPLATE_INVERTED)
            opened[depth++] = add_node(c, tag->kind, tag->text, tag->len);
        else
            add_node(c, tag->kind, tag->text, tag->len);
    }
    add_node(c, TEMPLATE_RETURN, "", 0);
}

static struct err emit_all(struct compiler *c)
{
    struct template *t = c->t;
    const char *name = c->files[0].source.name;
    c->n_units = 1; /* the template itself, not indented */
    for (size_t i = 0; i < c->n_units; i++) emit_unit(c, &c->units[i]);
    if (c->n_units == UNITS_MAX || t->count == TEMPLATE_NODES_MAX)
        return err_make(ERR_TOO_BIG, 0, "%s has with its partials more than %d tags, or %d calls",
                        name, TEMPLATE_NODES_MAX, UNITS_MAX);
    TRY(buf_check(&t->text, name));
    const char *text = buf_text(&t->text);
    for (size_t i = 0; i < t->count; i++) {
        struct template_node *n = &t->nodes[i];
        n->text = text + c->text_at[i];
        if (n->kind == TEMPLATE_CALL) n->jump = c->units[n->jump].start;
    }
    return err_none();
}

static void compiler_init(struct compiler *c, const struct template_source *source,
                          const struct template_partials *partials)
{
    size_t count = partials ? partials->count : 0;
    c->has_partials = partials != NULL;
    c->n_files = (uint32_t)count + 1;
    c->files = mem_alloc(c->n_files * sizeof *c->files);
    c->used = mem_alloc(c->n_files * sizeof *c->used);
    c->units = mem_alloc(UNITS_MAX * sizeof *c->units);
    c->units[0] = (struct unit){0};
    c->files[0] = (struct file){.source = *source};
    for (size_t i = 0; i < count; i++)
        c->files[i + 1] = (struct file){.source = partials->items[i]};
}

static void compiler_fini(struct compiler *c)
{
    for (uint32_t i = 0; i < c->n_files; i++) {
        template_tags_free(&c->files[i].tags);
        free(c->files[i].called);
    }
    for (size_t i = 0; i < c->n_units; i++) buf_fini(&c->units[i].indent);
    free(c->files);
    free(c->used);
    free(c->units);
    free(c->text_at);
}

static struct err compile(struct compiler *c)
{
    TRY(use_all(c));
    for (uint32_t k = 0; k < c->n_used; k++) {
        struct file *f = &c->files[c->used[k]];
        if (f->visit == NOT_YET) TRY(refuse_cycles(c, f));
    }
    return emit_all(c);
}

struct err template_compile(const struct template_source *source,
                            const struct template_partials *partials, enum template_rules rules,
                            struct template **out)
{
    *out = NULL;
    if (partials && partials->count > TEMPLATE_PARTIALS_MAX)
        return err_make(ERR_TOO_BIG, 0, "%s: there are more than %d partials", source->name,
                        TEMPLATE_PARTIALS_MAX);
    struct template *t = mem_alloc(sizeof *t);
    *t = (struct template){.rules = rules};
    buf_init(&t->text, TEMPLATE_TEXT_MAX);
    struct compiler c = {.t = t};
    compiler_init(&c, source, partials);
    struct err e = compile(&c);
    compiler_fini(&c);
    if (e.code)
        template_free(t);
    else
        *out = t;
    return e;
}

void template_free(struct template *t)
{
    if (!t) return;
    free(t->nodes);
    buf_fini(&t->text);
    free(t);
}
