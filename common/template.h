/* Text with {{tags}}: compiled once, rendered for every recipient. Names follow Mustache:
 * {{name}} escaped, {{{name}}} and {{&name}} raw, {{! comment}}, a.b looks into nested maps. */
#ifndef MAILFLOCK_TEMPLATE_H
#define MAILFLOCK_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/value.h"

enum { TEMPLATE_TEXT_MAX = 4 << 20, TEMPLATE_NAME_MAX = 100 }; /* bytes */

enum template_kind { TEMPLATE_LITERAL, TEMPLATE_VARIABLE, TEMPLATE_RAW };
enum template_escape { TEMPLATE_PLAIN, TEMPLATE_HTML };

/* text is the literal, or the name in the tag; it belongs to the template. */
struct template_node {
    enum template_kind kind;
    const char *text;
    size_t len;
};

/* Why a template could not be rendered for one recipient, e.g. "order.total" "is missing". */
struct template_missing {
    char name[TEMPLATE_NAME_MAX + 1];
    const char *problem; /* static text */
};

struct template;

/* template_compile: borrows text (UTF-8) and name, which stands in errors: "name:line:col: ...";
 * columns count characters. *out is owned by the caller, immutable, and may be shared by threads.
 * ERR_CONFIG for wrong tags and invalid UTF-8, ERR_TOO_BIG past TEMPLATE_TEXT_MAX. */
struct err template_compile(const char *name, const char *text, size_t len,
                            struct template **out) MUST_CHECK;
void template_free(struct template *t);

/* template_render: appends the text for these variables (NULL: none). null renders empty, numbers
 * and text as they are, true and false as words. False, with missing filled and out->len put back,
 * where a variable is absent or is a list or map. */
bool template_render(const struct template *t, const struct value *vars,
                     enum template_escape escape, struct buf *out,
                     struct template_missing *missing);

/* template_nodes: borrows the pieces in order, for callers that encode literals beforehand. */
const struct template_node *template_nodes(const struct template *t, size_t *count);

/* template_lookup: borrows the text of the variable that a node names, as template_render would
 * write it unescaped; false as template_render. Not for literals. */
bool template_lookup(const struct template_node *node, const struct value *vars, const char **text,
                     size_t *len, struct template_missing *missing);

/* template_fail: fills missing for a node; returns false. */
bool template_fail(const struct template_node *node, const char *problem,
                   struct template_missing *missing);

#endif
