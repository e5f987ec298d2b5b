/* From the content of a run to its mail. The producer checks a campaign with it, and each worker
 * compiles a run's content with it. */
#ifndef MAILFLOCK_CONTENT_MAIL_H
#define MAILFLOCK_CONTENT_MAIL_H

#include "common/chunk.h"
#include "common/content.h"
#include "common/mime.h"

/* content_compile: *out is owned by the caller. Errors as message_compile. */
struct err content_compile(const struct content *content, struct message **out) MUST_CHECK;

/* content_mail_for: appends the whole mail that one recipient would get at that time, for people to
 * look at. ERR_INPUT with the reason where there would be none. */
struct err content_mail_for(const struct message *message, const struct chunk_recipient *to,
                            int64_t date_s, struct buf *out) MUST_CHECK;

#endif
