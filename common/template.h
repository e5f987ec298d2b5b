/* Templates in the Mustache language: compiled once, rendered for every recipient.
 * docs/templates.md is the language as it is meant for mails. */
#ifndef MAILFLOCK_TEMPLATE_H
#define MAILFLOCK_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/value.h"

enum {
    TEMPLATE_TEXT_MAX = 4 << 20,  /* bytes of a text, and of all that is compiled from it */
    TEMPLATE_NODES_MAX = 1 << 16, /* of a compiled template */
    TEMPLATE_NAME_MAX = 100,      /* bytes of the name in a tag */
    TEMPLATE_FILE_MAX = 1200,     /* bytes of a file's name, NUL included */
    TEMPLATE_PARTIALS_MAX = 200,  /* files */
    TEMPLATE_DEPTH_MAX = 32, /* sections in sections, and apart from that partials in partials */
    TEMPLATE_STEPS_MAX = 4 << 20, /* tags passed for one recipient */
};

/* The first three are what a walk yields. jump is an index of nodes: of a section behind its end,
 * of a section's end its first node, of a call the partial's first node. */
enum template_kind {
    TEMPLATE_LITERAL,
    TEMPLATE_VARIABLE, /* {{name}} */
    TEMPLATE_RAW,      /* {{{name}}}, {{&name}} */
    TEMPLATE_SECTION,
    TEMPLATE_INVERTED,
    TEMPLATE_END,
    TEMPLATE_CALL,
    TEMPLATE_RETURN
};
enum template_escape { TEMPLATE_PLAIN, TEMPLATE_HTML };

/* What a name that is nowhere means: in a mail somebody's mistake, in the Mustache specification an
 * empty text. Names of sections may always be absent. */
enum template_rules { TEMPLATE_STRICT, TEMPLATE_LENIENT };

/* text is the literal, or the name in the tag; it belongs to the template. */
struct template_node {
    enum template_kind kind;
    uint32_t first_len; /* bytes of the name before its first dot; 0 for {{.}} */
    const char *text;
    size_t len, jump;
};

/* A text (UTF-8) and the name of its file, which stands in errors. Borrowed wherever it is given.
 */
struct template_source {
    const char *name, *text;
    size_t len;
};

/* The tag {{> x}} means the file named x with the extension of the template's own name. */
struct template_partials {
    const struct template_source *items;
    size_t count;
};

struct template;

/* template_compile: partials: NULL for none. *out is owned by the caller, immutable, and may be
 * shared by threads. ERR_CONFIG for what is wrong in the text or a partial, ERR_TOO_BIG past one of
 * the maxima; the error begins with "file:line:column: " wherever it has a place; columns count
 * characters. */
struct err template_compile(const struct template_source *source,
                            const struct template_partials *partials, enum template_rules rules,
                            struct template **out) MUST_CHECK;
void template_free(struct template *t);

/* template_each_partial: calls take with the file's name of each {{>partial}} in the text, which
 * may be the same more than once. Errors as template_compile; take's get the place before them. */
struct err template_each_partial(const struct template_source *source,
                                 struct err (*take)(void *arg, const char *file),
                                 void *arg) MUST_CHECK;

/* Why a template could not be rendered for one recipient; problem is NULL or static text. */
struct template_trouble {
    const struct template_node *node;
    const char *problem;
};

/* template_explain: "variable order.total is missing"; no data of the recipient. The template must
 * still be there. */
void template_explain(const struct template_trouble *trouble, char *out, size_t size);

/* template_render: appends the text for these variables (NULL: none). null renders empty, numbers
 * and text as they are, true and false as words. False, with trouble filled and out->len put back,
 * where a variable is absent or is a list or map, or a bound above is passed. */
bool template_render(const struct template *t, const struct value *vars,
                     enum template_escape escape, struct buf *out,
                     struct template_trouble *trouble);

/* template_nodes: borrows all nodes, for callers that encode literals beforehand. The first node,
 * if it is a literal, begins the text, and is met once. */
const struct template_node *template_nodes(const struct template *t, size_t *count);

/* The passing through a template for one recipient. To the outside: text and len of the node that
 * was met last (a variable's unescaped), and trouble. */
struct template_walk {
    const char *text;
    size_t len;
    struct template_trouble trouble;
    const struct template *template;
    const struct template_node *next;
    uint32_t steps, depth, calls;
    struct {
        const struct value *item; /* NULL: nothing is known */
        uint32_t left;            /* items of the list behind this one */
    } context[TEMPLATE_DEPTH_MAX + 1];
    const struct template_node *back[TEMPLATE_DEPTH_MAX];
};
void template_walk_start(struct template_walk *w, const struct template *t,
                         const struct value *vars);

/* template_next: the next literal or variable, or NULL at the end and where there is trouble
 * (trouble.problem then). */
const struct template_node *template_next_tag(struct template_walk *w);
static inline const struct template_node *template_next(struct template_walk *w)
{
    const struct template_node *n = w->next;
    if (n->kind != TEMPLATE_LITERAL) return template_next_tag(w);
    w->next++;
    w->text = n->text;
    w->len = n->len;
    return n;
}

/* template_fail: fills trouble for a node; returns false. */
bool template_fail(const struct template_node *node, const char *problem,
                   struct template_trouble *trouble);

#endif
