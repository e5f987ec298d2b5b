/* Templates. A template is a copy of its text and an array of nodes that point into it. Pure: no
 * I/O, no clock, no log. Sections and partials are refused with a clear error, never guessed. */
#include "common/template.h"

#include <stdlib.h>

#include "common/encode.h"

struct template
{
    char *text;
    struct template_node *nodes;
    size_t count, room;
};

struct parser {
    const char *name, *text;
    size_t len, at; /* text[at..] is not looked at yet */
    struct template *t;
};

static struct err parse_error(const struct parser *p, size_t at, const char *what)
{
    size_t line = 1, col = 1;
    for (size_t i = 0; i < at; i++) {
        if (p->text[i] == '\n') {
            line++;
            col = 1;
        } else if ((p->text[i] & 0xc0) != 0x80) {
            col++;
        }
    }
    return err_make(ERR_CONFIG, 0, "%s:%zu:%zu: %s", p->name, line, col, what);
}

static void add_node(struct template *t, enum template_kind kind, const char *text, size_t len)
{
    if (kind == TEMPLATE_LITERAL && len == 0) return;
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 8;
        t->nodes = mem_resize(t->nodes, t->room * sizeof *t->nodes);
    }
    t->nodes[t->count++] = (struct template_node){kind, text, len};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* A comment alone on its line takes the line with it, as the Mustache specification wants. Moves
 * the literal's end back to the line's start and the comment's end past the line break. */
static void widen_to_line(const struct parser *p, size_t *literal_end, size_t *tag_end)
{
    size_t start = *literal_end, end = *tag_end;
    while (start > p->at && is_blank(p->text[start - 1])) start--;
    bool first = start == 0 || p->text[start - 1] == '\n';
    while (end < p->len && is_blank(p->text[end])) end++;
    if (end < p->len && p->text[end] == '\r' && end + 1 < p->len && p->text[end + 1] == '\n') end++;
    if (!first || (end < p->len && p->text[end] != '\n')) return;
    *literal_end = start;
    *tag_end = end < p->len ? end + 1 : end;
}

static const char *name_problem(const char *name, size_t len)
{
    if (len == 0) return "a tag without a name";
    if (len > TEMPLATE_NAME_MAX) return "a name longer than 100 bytes; is a tag left open?";
    if (len == 1 && name[0] == '.') return "{{.}} is not supported yet";
    if (name[0] == '.' || name[len - 1] == '.' || memmem(name, len, "..", 2))
        return "a dotted name with an empty part";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= ' ' || c == 0x7f || strchr("{}\"'<>", c))
            return "a name with a character that names cannot have; is a tag left open?";
    }
    return NULL;
}

static const char *unsupported(char sigil)
{
    switch (sigil) {
    case '#':
        return "sections ({{#) are not supported yet";
    case '^':
        return "inverted sections ({{^) are not supported yet";
    case '/':
        return "the end of a section ({{/) is not supported yet";
    case '>':
        return "partials ({{>) are not supported yet";
    case '=':
        return "other delimiters ({{=) are not supported yet";
    default:
        return NULL;
    }
}

static struct err add_variable(struct parser *p, size_t open, enum template_kind kind, size_t from,
                               size_t to)
{
    while (from < to && strchr(" \t\r\n", p->text[from]) && p->text[from]) from++;
    while (to > from && strchr(" \t\r\n", p->text[to - 1]) && p->text[to - 1]) to--;
    const char *problem = name_problem(p->text + from, to - from);
    if (problem) return parse_error(p, open, problem);
    add_node(p->t, kind, p->text + from, to - from);
    return err_none();
}

/* Parses the tag that opens at open, and adds the literal before it. */
static struct err parse_tag(struct parser *p, size_t open)
{
    size_t body = open + 2;
    char sigil = body < p->len ? p->text[body] : '\0';
    const char *close_text = sigil == '{' ? "}}}" : "}}";
    size_t close_len = strlen(close_text);
    const char *problem = unsupported(sigil);
    if (problem) return parse_error(p, open, problem);
    if (sigil == '{' || sigil == '&' || sigil == '!') body++;
    const char *close =
        body <= p->len ? memmem(p->text + body, p->len - body, close_text, close_len) : NULL;
    if (!close) return parse_error(p, open, "a tag that is not closed");
    size_t to = (size_t)(close - p->text), end = to + close_len, literal_end = open;
    if (sigil == '!') widen_to_line(p, &literal_end, &end);
    add_node(p->t, TEMPLATE_LITERAL, p->text + p->at, literal_end - p->at);
    p->at = end;
    if (sigil == '!') return err_none();
    return add_variable(p, open, body > open + 2 ? TEMPLATE_RAW : TEMPLATE_VARIABLE, body, to);
}

static struct err parse(struct parser *p)
{
    size_t valid = encode_utf8_prefix(p->text, p->len);
    if (valid < p->len) return parse_error(p, valid, "not valid UTF-8");
    while (p->at < p->len) {
        const char *open = memmem(p->text + p->at, p->len - p->at, "{{", 2);
        if (!open) break;
        TRY(parse_tag(p, (size_t)(open - p->text)));
    }
    add_node(p->t, TEMPLATE_LITERAL, p->text + p->at, p->len - p->at);
    return err_none();
}

struct err template_compile(const char *name, const char *text, size_t len, struct template **out)
{
    *out = NULL;
    if (len > TEMPLATE_TEXT_MAX)
        return err_make(ERR_TOO_BIG, 0, "%s is larger than %d bytes", name, TEMPLATE_TEXT_MAX);
    struct template *t = mem_alloc(sizeof *t);
    *t = (struct template){.text = mem_alloc(len + 1)};
    memcpy(t->text, text, len);
    t->text[len] = '\0';
    struct parser p = {.name = name, .text = t->text, .len = len, .t = t};
    struct err e = parse(&p);
    if (e.code) {
        template_free(t);
        return e;
    }
    *out = t;
    return err_none();
}

void template_free(struct template *t)
{
    if (!t) return;
    free(t->nodes);
    free(t->text);
    free(t);
}

const struct template_node *template_nodes(const struct template *t, size_t *count)
{
    *count = t->count;
    return t->nodes;
}

static const struct value *find(const struct value *v, const char *name, size_t len)
{
    for (;;) {
        const char *dot = memchr(name, '.', len);
        if (!dot) return value_get(v, name, len);
        v = value_get(v, name, (size_t)(dot - name));
        if (!v) return NULL;
        len -= (size_t)(dot + 1 - name);
        name = dot + 1;
    }
}

bool template_fail(const struct template_node *node, const char *problem,
                   struct template_missing *missing)
{
    size_t len = node->len < TEMPLATE_NAME_MAX ? node->len : TEMPLATE_NAME_MAX;
    memcpy(missing->name, node->text, len);
    missing->name[len] = '\0';
    missing->problem = problem;
    return false;
}

bool template_lookup(const struct template_node *node, const struct value *vars, const char **text,
                     size_t *len, struct template_missing *missing)
{
    const struct value *v = vars ? find(vars, node->text, node->len) : NULL;
    if (!v) return template_fail(node, "is missing", missing);
    switch (v->kind) {
    case VALUE_NULL:
        *text = "";
        break;
    case VALUE_FALSE:
        *text = "false";
        break;
    case VALUE_TRUE:
        *text = "true";
        break;
    case VALUE_NUMBER:
    case VALUE_TEXT:
        *text = v->text;
        *len = v->len;
        return true;
    default:
        return template_fail(node, "is not text", missing);
    }
    *len = strlen(*text);
    return true;
}

bool template_render(const struct template *t, const struct value *vars,
                     enum template_escape escape, struct buf *out, struct template_missing *missing)
{
    size_t start = out->len;
    for (size_t i = 0; i < t->count; i++) {
        const struct template_node *n = &t->nodes[i];
        const char *text = n->text;
        size_t len = n->len;
        if (n->kind != TEMPLATE_LITERAL && !template_lookup(n, vars, &text, &len, missing)) {
            out->len = start;
            return false;
        }
        if (n->kind == TEMPLATE_VARIABLE && escape == TEMPLATE_HTML)
            encode_html(text, len, out);
        else
            buf_append(out, text, len);
    }
    return true;
}
