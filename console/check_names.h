/* Whether the variables of a template can be there, as far as an audience's columns tell. Pure. */
#ifndef MAILFLOCK_CONSOLE_CHECK_NAMES_H
#define MAILFLOCK_CONSOLE_CHECK_NAMES_H

#include "common/recipient.h"
#include "common/template.h"

enum check_names_problem {
    CHECK_NAMES_NO_COLUMN,  /* a variable without a column: the recipient fails */
    CHECK_NAMES_NO_JSON,    /* a name with dots whose column holds no JSON: the same */
    CHECK_NAMES_NO_SECTION, /* a section without a column: it is never shown, or always */
};

/* check_names: calls found for each tag with a problem, the same name perhaps more than once.
 * Inside a section about a JSON column, or about nothing, names may be its own: those are not
 * judged. */
void check_names(const struct template *t, const struct recipient_columns *columns,
                 void (*found)(void *arg, const struct template_node *node,
                               enum check_names_problem problem),
                 void *arg);

#endif
