/* From the content of a run to its mail. The producer checks a campaign with it, and each worker
 * compiles a run's content with it. */
#ifndef MAILFLOCK_CONTENT_MAIL_H
#define MAILFLOCK_CONTENT_MAIL_H

#include "common/content.h"
#include "common/mime.h"

/* content_compile: *out is owned by the caller. Errors as message_compile. */
struct err content_compile(const struct content *content, struct message **out) MUST_CHECK;

#endif
