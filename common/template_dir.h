/* Files of the templates directory; what lies outside is not read. */
#ifndef MAILFLOCK_TEMPLATE_DIR_H
#define MAILFLOCK_TEMPLATE_DIR_H

#include "common/buf.h"
#include "common/err.h"

/* template_dir_read: appends the bytes of the file that name (a relative path) means in dir.
 * Symbolic links are followed, but not out of dir. ERR_CONFIG or ERR_TOO_BIG says what is wrong
 * with name. */
struct err template_dir_read(const char *dir, const char *name, struct buf *out) MUST_CHECK;

/* template_dir_read_text: the same for UTF-8; a byte order mark is left out. */
struct err template_dir_read_text(const char *dir, const char *name, struct buf *out) MUST_CHECK;

#endif
