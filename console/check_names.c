/* A walk through the compiled template without a recipient: both sides of every section. */
#include "console/check_names.h"

#include <stdlib.h>
#include <string.h>

struct walk {
    const struct template_node *nodes;
    size_t count;
    const struct recipient_columns *columns;
    void (*found)(void *arg, const struct template_node *node, enum check_names_problem problem);
    void *arg;
    bool *called; /* by node: the partial that begins there was passed */
};

static const struct db_column *find_column(const struct walk *w, const struct template_node *n)
{
    for (unsigned i = 0; i < w->columns->n; i++) {
        const char *name = w->columns->items[i].name;
        if (strlen(name) == n->first_len && memcmp(name, n->text, n->first_len) == 0)
            return &w->columns->items[i];
    }
    return NULL;
}

static bool is_dot(const struct template_node *n)
{
    return n->len == 1 && n->text[0] == '.';
}

static void check_variable(const struct walk *w, const struct template_node *n)
{
    const struct db_column *column = find_column(w, n);
    if (is_dot(n)) return;
    if (!column)
        w->found(w->arg, n, CHECK_NAMES_NO_COLUMN);
    else if (n->len > n->first_len && column->kind != DB_KIND_JSON)
        w->found(w->arg, n, CHECK_NAMES_NO_JSON);
}

static void walk_range(const struct walk *w, size_t at, size_t end);

static void walk_section(const struct walk *w, const struct template_node *n, size_t at)
{
    const struct db_column *column = find_column(w, n);
    bool knows = column || is_dot(n);
    if (!knows) w->found(w->arg, n, CHECK_NAMES_NO_SECTION);
    bool own_names = n->kind == TEMPLATE_SECTION && (!column || column->kind == DB_KIND_JSON);
    if (!own_names) walk_range(w, at + 1, n->jump);
}

static void walk_range(const struct walk *w, size_t at, size_t end)
{
    while (at < end) {
        const struct template_node *n = &w->nodes[at];
        size_t next = at + 1;
        if (n->kind == TEMPLATE_VARIABLE || n->kind == TEMPLATE_RAW) {
            check_variable(w, n);
        } else if (n->kind == TEMPLATE_SECTION || n->kind == TEMPLATE_INVERTED) {
            walk_section(w, n, at);
            next = n->jump;
        } else if (n->kind == TEMPLATE_CALL && !w->called[n->jump]) {
            w->called[n->jump] = true;
            walk_range(w, n->jump, w->count);
        } else if (n->kind == TEMPLATE_RETURN) {
            return;
        }
        at = next;
    }
}

void check_names(const struct template *t, const struct recipient_columns *columns,
                 void (*found)(void *arg, const struct template_node *node,
                               enum check_names_problem problem),
                 void *arg)
{
    struct walk w = {.columns = columns, .found = found, .arg = arg};
    w.nodes = template_nodes(t, &w.count);
    w.called = mem_alloc(w.count + 1);
    walk_range(&w, 0, w.count);
    free(w.called);
}
