/* The plain text of an HTML template: what a mail says to those who do not see its HTML. Pure. */
#ifndef MAILFLOCK_HTML_TEXT_H
#define MAILFLOCK_HTML_TEXT_H

#include "common/template.h"

/* html_to_text: appends the text template that an HTML template means: paragraphs and headings
 * apart by blank lines, lists with "- " or numbers, "text (target)" for links, the alternative text
 * of images, cells of a table side by side; nothing of head, script, style, comments, and what is
 * not displayed. Tags of Mustache stay, and since the result is plain text, {{name}} is not escaped
 * in it. Errors as template_compile, for what is wrong in this text alone, and ERR_CONFIG where the
 * HTML cannot be read. */
struct err html_to_text(const struct template_source *source, struct buf *out) MUST_CHECK;

#endif
