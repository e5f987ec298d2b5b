/* Markdown (CommonMark) with tags of Mustache in it. Pure. */
#ifndef MAILFLOCK_MARKDOWN_H
#define MAILFLOCK_MARKDOWN_H

#include "common/template.h"

/* markdown_to_html: appends the HTML template that a Markdown template means. A tag within a line
 * is a word of its text, or of a link's target; a section's tag, a partial or a comment alone on
 * its line stands between blocks; a section around one list repeats the items of that list. Raw
 * HTML stays. Errors as template_compile, for what is wrong in this text alone. */
struct err markdown_to_html(const struct template_source *source, struct buf *out) MUST_CHECK;

#endif
