/* One text of a mail (plain or HTML), compiled to transfer-encoded pieces. Used by mime.c. Pure. */
#ifndef MAILFLOCK_MIME_PART_H
#define MAILFLOCK_MIME_PART_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/template.h"

struct mime_part;

/* mime_part_compile: borrows all it is given. With TEMPLATE_HTML {{name}} is escaped. *out is owned
 * by the caller, immutable. Errors as template_compile. */
struct err mime_part_compile(const struct template_source *source,
                             const struct template_partials *partials, enum template_escape escape,
                             struct mime_part **out) MUST_CHECK;
void mime_part_free(struct mime_part *p);

/* mime_part_template: borrows. */
const struct template *mime_part_template(const struct mime_part *p);

/* mime_part_encoding: "quoted-printable", or "base64" where over a fifth of the text's own bytes
 * are not ASCII. */
const char *mime_part_encoding(const struct mime_part *p);

/* mime_part_build: appends the encoded body. Its last line has no CRLF unless the text ends with a
 * line break and the encoding is quoted-printable. spare is overwritten. False with trouble filled
 * as template_render, and where a variable is not UTF-8; out then holds a part. */
bool mime_part_build(const struct mime_part *p, const struct value *vars, struct buf *spare,
                     struct buf *out, struct template_trouble *trouble);

/* mime_part_render: the same, not encoded. */
bool mime_part_render(const struct mime_part *p, const struct value *vars, struct buf *out,
                      struct template_trouble *trouble);

#endif
