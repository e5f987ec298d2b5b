/* Mail addresses: what may stand in an SMTP envelope, and the mailboxes of a campaign. Pure. */
#ifndef MAILFLOCK_ADDRESS_H
#define MAILFLOCK_ADDRESS_H

#include <stddef.h>

#include "common/err.h"

enum {
    ADDRESS_MAX = 254,      /* RFC 5321 section 4.5.3.1.3: a path of 256 with its < and > */
    ADDRESS_LOCAL_MAX = 64, /* section 4.5.3.1.1 */
    ADDRESS_LABEL_MAX = 63, /* RFC 1035 section 2.3.4 */
    MAILBOX_NAME_MAX = 200,
};

/* address_check: NULL where the address (local@domain) may stand in MAIL and RCPT as it is, else
 * a static one-line reason. The local part is what RFC 5321 calls a dot-string, except that dots
 * may stand anywhere, as they do in addresses that exist. Quoted local parts, address literals and
 * non-ASCII addresses are refused. */
const char *address_check(const char *address, size_t len);

/* address_domain_check: the same for a domain alone. */
const char *address_domain_check(const char *domain, size_t len);

/* name is UTF-8 without quotes and blanks around it; "" where there is none. */
struct mailbox {
    char name[MAILBOX_NAME_MAX + 1];
    char address[ADDRESS_MAX + 1];
};

/* mailbox_parse: "Name <a@b>", "\"Name, quoted\" <a@b>", "<a@b>" or "a@b"; borrows text. ERR_CONFIG
 * with the reason; control characters and invalid UTF-8 are refused. */
struct err mailbox_parse(const char *text, size_t len, struct mailbox *out) MUST_CHECK;

#endif
