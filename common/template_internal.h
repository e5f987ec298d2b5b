/* What template_compile.c makes and template.c passes through. */
#ifndef MAILFLOCK_TEMPLATE_INTERNAL_H
#define MAILFLOCK_TEMPLATE_INTERNAL_H

#include "common/template.h"

/* The text of a template and of each of its partials ends with a TEMPLATE_RETURN; the template's
 * own comes first. text holds all literals and names. */
struct template
{
    struct buf text;
    struct template_node *nodes;
    size_t count;
    enum template_rules rules;
};

#endif
