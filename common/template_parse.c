/* From the text of a template to its tags: delimiters, lines that belong to a tag alone, and the
 * nesting of sections. Knows nothing of partials but their names. */
#include "common/template_parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/encode.h"

enum { DELIMITER_MAX = 16 }; /* bytes */

struct delimiter {
    const char *text;
    size_t len;
};

struct parser {
    const struct template_source *source;
    struct template_tags *tags;
    struct delimiter open, close;
    size_t at; /* the text from here on is not looked at yet */
    size_t depth, sections;
    size_t opened[TEMPLATE_DEPTH_MAX]; /* sections that are not closed yet, as indices of tags */
};

/* The tag that is being parsed: its text is between from and to, what follows it begins at end. */
struct found {
    size_t open, from, to, end;
    char sigil; /* '\0' for a variable */
};

struct err template_error(const struct template_source *source, size_t at, const char *format, ...)
{
    char what[ERR_TEXT_MAX];
    size_t line = 1, col = 1;
    for (size_t i = 0; i < at; i++) {
        if (source->text[i] == '\n') {
            line++;
            col = 1;
        } else if ((source->text[i] & 0xc0) != 0x80) {
            col++;
        }
    }
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return err_make(ERR_CONFIG, 0, "%s:%zu:%zu: %s", source->name, line, col, what);
}

void template_partial_file(const struct template_source *source, const struct template_tag *call,
                           char *out)
{
    const char *slash = strrchr(source->name, '/');
    const char *dot = strrchr(slash ? slash : source->name, '.');
    snprintf(out, TEMPLATE_FILE_MAX, "%.*s%s", (int)call->len, call->text, dot ? dot : "");
}

static struct template_tag *add_tag(struct parser *p, struct template_tag tag)
{
    struct template_tags *t = p->tags;
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 8;
        t->items = mem_resize(t->items, t->room * sizeof *t->items);
    }
    t->items[t->count] = tag;
    return &t->items[t->count++];
}

static void add_literal(struct parser *p, size_t end)
{
    if (end == p->at) return;
    add_tag(p, (struct template_tag){.kind = TEMPLATE_LITERAL,
                                     .text = p->source->text + p->at,
                                     .len = end - p->at,
                                     .at = p->at});
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_space(char c)
{
    return is_blank(c) || c == '\r' || c == '\n';
}

/* A tag that writes nothing itself and is alone on its line takes the line with it, as the Mustache
 * specification wants. Moves start back to the line's start and end past the line break. */
static bool widen_to_line(const struct parser *p, size_t *start, size_t *end)
{
    const char *text = p->source->text;
    size_t len = p->source->len, from = *start, to = *end;
    while (from > p->at && is_blank(text[from - 1])) from--;
    bool first = from == 0 || text[from - 1] == '\n';
    while (to < len && is_blank(text[to])) to++;
    if (to + 1 < len && text[to] == '\r' && text[to + 1] == '\n') to++;
    if (!first || (to < len && text[to] != '\n')) return false;
    *start = from;
    *end = to < len ? to + 1 : to;
    return true;
}

static const char *name_problem(const char *name, size_t len)
{
    if (len == 0) return "a tag without a name";
    if (len > TEMPLATE_NAME_MAX) return "a name longer than 100 bytes; is a tag left open?";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= ' ' || c == 0x7f || strchr("{}\"'<>", c))
            return "a name with a character that names cannot have; is a tag left open?";
    }
    return NULL;
}

static const char *dots_problem(const char *name, size_t len)
{
    if (len == 1) return NULL;
    if (name[0] == '.' || name[len - 1] == '.' || memmem(name, len, "..", 2))
        return "a dotted name with an empty part";
    return NULL;
}

static struct err open_section(struct parser *p, const struct found *f)
{
    if (p->depth == TEMPLATE_DEPTH_MAX)
        return template_error(p->source, f->open, "sections nested deeper than %d",
                              TEMPLATE_DEPTH_MAX);
    p->opened[p->depth++] = p->tags->count - 1;
    if (f->sigil == '#') p->sections++;
    return err_none();
}

static size_t line_of(const struct template_source *source, size_t at)
{
    size_t line = 1;
    for (size_t i = 0; i < at; i++) line += source->text[i] == '\n';
    return line;
}

static struct err close_section(struct parser *p, const struct found *f, const char *name,
                                size_t len)
{
    if (p->depth == 0)
        return template_error(p->source, f->open, "{{/%.*s}} without a section to close", (int)len,
                              name);
    const struct template_tag *section = &p->tags->items[p->opened[--p->depth]];
    if (section->len != len || memcmp(section->text, name, len) != 0)
        return template_error(
            p->source, f->open,
            "{{/%.*s}} where {{/%.*s}} is due, for the section opened in line %zu", (int)len, name,
            (int)section->len, section->text, line_of(p->source, section->at));
    if (section->kind == TEMPLATE_SECTION) p->sections--;
    return err_none();
}

/* {{=<% %>=}}: two words without blanks and equals signs. */
static struct err set_delimiters(struct parser *p, const struct found *f)
{
    const char *text = p->source->text;
    size_t at[4] = {f->from}; /* begin and end of the two words */
    for (int i = 0; i < 4; i++) {
        if (i) at[i] = at[i - 1];
        while (at[i] < f->to && is_space(text[at[i]]) == (i % 2 == 0)) at[i]++;
    }
    size_t rest = at[3];
    while (rest < f->to && is_space(text[rest])) rest++;
    p->open = (struct delimiter){text + at[0], at[1] - at[0]};
    p->close = (struct delimiter){text + at[2], at[3] - at[2]};
    if (rest == f->to && p->close.len && p->open.len <= DELIMITER_MAX &&
        p->close.len <= DELIMITER_MAX && !memchr(text + f->from, '=', f->to - f->from))
        return err_none();
    return template_error(p->source, f->open,
                          "delimiters are two words of at most %d bytes without =, as in "
                          "{{=<%% %%>=}}",
                          DELIMITER_MAX);
}

static enum template_kind kind_of(char sigil)
{
    switch (sigil) {
    case '#':
        return TEMPLATE_SECTION;
    case '^':
        return TEMPLATE_INVERTED;
    case '/':
        return TEMPLATE_END;
    case '>':
        return TEMPLATE_CALL;
    case '{':
    case '&':
        return TEMPLATE_RAW;
    default:
        return TEMPLATE_VARIABLE;
    }
}

static struct err add_named(struct parser *p, const struct found *f, bool alone, size_t indent)
{
    const char *text = p->source->text;
    size_t from = f->from, to = f->to;
    while (from < to && is_space(text[from])) from++;
    while (to > from && is_space(text[to - 1])) to--;
    const char *name = text + from, *problem = name_problem(name, to - from);
    if (!problem && f->sigil != '>') problem = dots_problem(name, to - from);
    if (problem) return template_error(p->source, f->open, "%s", problem);
    if (f->sigil == '/') TRY(close_section(p, f, name, to - from));
    add_tag(p, (struct template_tag){.kind = kind_of(f->sigil),
                                     .alone = alone,
                                     .in_section = p->sections > 0,
                                     .text = name,
                                     .len = to - from,
                                     .at = f->open,
                                     .indent = indent});
    return f->sigil == '#' || f->sigil == '^' ? open_section(p, f) : err_none();
}

/* Finds the end of the tag that opens at open. */
static struct err find_close(const struct parser *p, size_t open, struct found *f)
{
    const char *text = p->source->text;
    size_t len = p->source->len, from = open + p->open.len, close_len = 0;
    char close[DELIMITER_MAX + 1];
    char sigil = from < len && text[from] && strchr("{&!#^/>=", text[from]) ? text[from] : '\0';
    if (sigil) from++;
    if (sigil == '{' || sigil == '=') close[close_len++] = sigil == '{' ? '}' : '=';
    memcpy(close + close_len, p->close.text, p->close.len);
    close_len += p->close.len;
    const char *at = memmem(text + from, len - from, close, close_len);
    if (!at) return template_error(p->source, open, "a tag that is not closed");
    size_t to = (size_t)(at - text);
    *f = (struct found){open, from, to, to + close_len, sigil};
    return err_none();
}

/* Parses the tag that opens at open, after the literal before it. */
static struct err parse_tag(struct parser *p, size_t open)
{
    struct found f = {0};
    TRY(find_close(p, open, &f));
    size_t start = open, end = f.end;
    bool alone = f.sigil && strchr("!#^/>=", f.sigil) && widen_to_line(p, &start, &end);
    add_literal(p, start);
    p->at = end;
    if (!alone && (f.sigil == '!' || f.sigil == '=')) /* where a line may begin */
        add_tag(p, (struct template_tag){.kind = TEMPLATE_LITERAL, .at = open, .text = ""});
    if (f.sigil == '!') return err_none();
    if (f.sigil == '=') return set_delimiters(p, &f);
    return add_named(p, &f, alone, open - start);
}

static struct err parse(struct parser *p)
{
    const struct template_source *s = p->source;
    size_t valid = encode_utf8_prefix(s->text, s->len);
    if (valid < s->len) return template_error(s, valid, "not valid UTF-8");
    while (p->at < s->len) {
        const char *open = memmem(s->text + p->at, s->len - p->at, p->open.text, p->open.len);
        if (!open) break;
        TRY(parse_tag(p, (size_t)(open - s->text)));
    }
    add_literal(p, s->len);
    if (p->depth == 0) return err_none();
    const struct template_tag *section = &p->tags->items[p->opened[p->depth - 1]];
    return template_error(s, section->at, "a section that is not closed: {{%c%.*s}}",
                          section->kind == TEMPLATE_SECTION ? '#' : '^', (int)section->len,
                          section->text);
}

struct err template_parse(const struct template_source *source, struct template_tags *out)
{
    *out = (struct template_tags){0};
    if (source->len > TEMPLATE_TEXT_MAX)
        return err_make(ERR_TOO_BIG, 0, "%s is larger than %d bytes", source->name,
                        TEMPLATE_TEXT_MAX);
    struct parser p = {.source = source, .tags = out, .open = {"{{", 2}, .close = {"}}", 2}};
    return parse(&p);
}

void template_tags_free(struct template_tags *tags)
{
    free(tags->items);
    *tags = (struct template_tags){0};
}

struct err template_each_partial(const struct template_source *source,
                                 struct err (*take)(void *arg, const char *file), void *arg)
{
    struct template_tags tags;
    char file[TEMPLATE_FILE_MAX];
    struct err e = template_parse(source, &tags);
    for (size_t i = 0; !e.code && i < tags.count; i++) {
        if (tags.items[i].kind != TEMPLATE_CALL) continue;
        template_partial_file(source, &tags.items[i], file);
        e = take(arg, file);
        if (e.code) e = template_error(source, tags.items[i].at, "%s", e.text);
    }
    template_tags_free(&tags);
    return e;
}
