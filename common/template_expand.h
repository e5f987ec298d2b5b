/* A template with its partials in their places. Pure. */
#ifndef MAILFLOCK_TEMPLATE_EXPAND_H
#define MAILFLOCK_TEMPLATE_EXPAND_H

#include "common/template.h"

/* template_expand: appends the text with every {{>partial}} replaced by its text, indented where
 * the tag is alone on its line; all in the usual delimiters and without comments. It means the same
 * as before. ERR_CONFIG where a partial uses itself, ERR_TOO_BIG where partials in partials grow
 * out of bounds, be it in number alone; else errors as template_compile. */
struct err template_expand(const struct template_source *source,
                           const struct template_partials *partials, struct buf *out) MUST_CHECK;

#endif
