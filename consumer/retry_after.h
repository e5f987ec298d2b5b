/* When a server that defers a mail wants it again, where its words say so: "try again in 300
 * seconds", "retry after 5 minutes", "Retry-After: 60", "please come back in 00:04:32". SMTP has no
 * field for that (RFC 5321 4.2.1), so it is read from the text, and only where it is plain. Pure.
 */
#ifndef MAILFLOCK_RETRY_AFTER_H
#define MAILFLOCK_RETRY_AFTER_H

#include <stddef.h>
#include <stdint.h>

enum { RETRY_AFTER_MAX_S = 24 * 60 * 60 };

/* retry_after_parse: seconds, at most RETRY_AFTER_MAX_S; 0 where the text names no time. */
uint32_t retry_after_parse(const char *text, size_t len);

#endif
