/* Passing through a compiled template with the variables of one recipient. Where the walk is inside
 * sections, it keeps for each what the section is about and how many items of its list are left;
 * names are looked up from the innermost outwards. Pure, and nothing is allocated. */
#include "common/template.h"

#include <stdio.h>

#include "common/encode.h"
#include "common/template_internal.h"

const struct template_node *template_nodes(const struct template *t, size_t *count)
{
    *count = t->count;
    return t->nodes;
}

bool template_fail(const struct template_node *node, const char *problem,
                   struct template_trouble *trouble)
{
    *trouble = (struct template_trouble){node, problem};
    return false;
}

void template_explain(const struct template_trouble *trouble, char *out, size_t size)
{
    const struct template_node *n = trouble->node;
    const char *what = n->kind == TEMPLATE_VARIABLE || n->kind == TEMPLATE_RAW ? "variable "
                       : n->kind == TEMPLATE_CALL                              ? "partial "
                       : n->kind == TEMPLATE_RETURN                            ? "the template"
                                                                               : "section ";
    snprintf(out, size, "%s%.*s %s", what, (int)n->len, n->text, trouble->problem);
}

void template_walk_start(struct template_walk *w, const struct template *t,
                         const struct value *vars)
{
    w->trouble.problem = NULL;
    w->template = t;
    w->next = t->nodes;
    w->steps = w->depth = w->calls = 0;
    w->context[0].item = vars;
}

/* The parts of a dotted name behind the first one belong to what that has named. */
static const struct value *find_below(const struct value *v, const char *name, const char *end)
{
    while (v && name < end) {
        name++; /* the dot */
        const char *dot = memchr(name, '.', (size_t)(end - name)), *part_end = dot ? dot : end;
        v = value_get(v, name, (size_t)(part_end - name));
        name = part_end;
    }
    return v;
}

/* Only the first part of a name is looked for outside of the innermost section. */
static inline const struct value *find(const struct template_walk *w, const struct template_node *n)
{
    const struct value *v = NULL;
    if (n->first_len == 0) return w->context[w->depth].item;
    for (uint32_t i = w->depth + 1; i > 0 && !v; i--)
        if (w->context[i - 1].item) v = value_get(w->context[i - 1].item, n->text, n->first_len);
    if (n->first_len == n->len) return v;
    return find_below(v, n->text + n->first_len, n->text + n->len);
}

/* 0, -0, 0.00 */
static bool is_zero(const char *text, size_t len)
{
    size_t zeros = 0;
    for (size_t i = len && text[0] == '-'; i < len; i++) {
        if (text[i] != '0' && text[i] != '.') return false;
        zeros += text[i] == '0';
    }
    return zeros > 0;
}

/* SQL has no true and false, and its decimals and sums travel as text. */
static bool is_true(const struct value *v)
{
    switch (v->kind) {
    case VALUE_NULL:
    case VALUE_FALSE:
        return false;
    case VALUE_NUMBER:
    case VALUE_TEXT:
        return v->len && !is_zero(v->text, v->len);
    case VALUE_LIST:
        return v->len > 0;
    default:
        return true;
    }
}

static bool take_text(struct template_walk *w, const struct template_node *n)
{
    const struct value *v = find(w, n);
    w->text = "";
    w->len = 0;
    if (!v)
        return w->template->rules == TEMPLATE_LENIENT ||
               template_fail(n, "is missing", &w->trouble);
    switch (v->kind) {
    case VALUE_NUMBER:
    case VALUE_TEXT:
        w->text = v->text;
        w->len = v->len;
        return true;
    case VALUE_NULL:
        return true;
    case VALUE_FALSE:
    case VALUE_TRUE:
        w->text = v->kind == VALUE_TRUE ? "true" : "false";
        w->len = strlen(w->text);
        return true;
    default:
        return template_fail(n, "is not text", &w->trouble);
    }
}

static bool enter_section(struct template_walk *w, const struct template_node *n)
{
    const struct value *v = find(w, n);
    if (!v || !is_true(v)) {
        w->next = w->template->nodes + n->jump;
        return true;
    }
    if (w->depth == TEMPLATE_DEPTH_MAX)
        return template_fail(n, "is nested too deeply, in more than 32 sections", &w->trouble);
    bool list = v->kind == VALUE_LIST;
    w->depth++;
    w->context[w->depth].item = list ? v->items : v;
    w->context[w->depth].left = list ? v->len - 1 : 0;
    return true;
}

static void end_section(struct template_walk *w, const struct template_node *n)
{
    if (w->context[w->depth].left) {
        w->context[w->depth].left--;
        w->context[w->depth].item++;
        w->next = w->template->nodes + n->jump;
    } else {
        w->depth--;
    }
}

static bool call(struct template_walk *w, const struct template_node *n)
{
    if (w->calls == TEMPLATE_DEPTH_MAX)
        return template_fail(n, "is nested too deeply, in more than 32 partials", &w->trouble);
    w->back[w->calls++] = w->next;
    w->next = w->template->nodes + n->jump;
    return true;
}

const struct template_node *template_next_tag(struct template_walk *w)
{
    const struct template_node *nodes = w->template->nodes;
    for (;;) {
        const struct template_node *n = w->next++;
        const struct value *v;
        if (w->steps++ == TEMPLATE_STEPS_MAX) {
            n = &nodes[w->template->count - 1]; /* no tag in particular */
            template_fail(n, "repeats more than a mail may", &w->trouble);
            return NULL;
        }
        switch (n->kind) {
        case TEMPLATE_LITERAL:
            w->text = n->text;
            w->len = n->len;
            return n;
        case TEMPLATE_VARIABLE:
        case TEMPLATE_RAW:
            return take_text(w, n) ? n : NULL;
        case TEMPLATE_SECTION:
            if (!enter_section(w, n)) return NULL;
            break;
        case TEMPLATE_INVERTED:
            v = find(w, n);
            if (v && is_true(v)) w->next = nodes + n->jump;
            break;
        case TEMPLATE_END:
            end_section(w, n);
            break;
        case TEMPLATE_CALL:
            if (!call(w, n)) return NULL;
            break;
        case TEMPLATE_RETURN:
            if (w->calls == 0) return NULL;
            w->next = w->back[--w->calls];
            break;
        }
    }
}

bool template_render(const struct template *t, const struct value *vars,
                     enum template_escape escape, struct buf *out, struct template_trouble *trouble)
{
    size_t start = out->len;
    struct template_walk w;
    const struct template_node *n;
    template_walk_start(&w, t, vars);
    while (!out->too_big && (n = template_next(&w))) {
        if (n->kind == TEMPLATE_VARIABLE && escape == TEMPLATE_HTML)
            encode_html(w.text, w.len, out);
        else
            buf_append(out, w.text, w.len);
    }
    *trouble = w.trouble;
    if (w.trouble.problem) out->len = start;
    return !w.trouble.problem;
}
