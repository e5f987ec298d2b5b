/* Mail addresses: what may stand in an SMTP envelope, and the mailboxes of a campaign. Pure. */
#ifndef MAILFLOCK_ADDRESS_H
#define MAILFLOCK_ADDRESS_H

#include <stdbool.h>
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
 * may stand anywhere, as they do in addresses that exist; beyond ASCII it is what RFC 6531 adds,
 * and address_is_utf8 tells that. Quoted local parts, address literals and domains that are not
 * ASCII are refused. */
const char *address_check(const char *address, size_t len);

/* address_prepare: makes *address, *len the address as it stands in envelopes, headers and the
 * ledger: a domain beyond ASCII becomes its ASCII form (common/idn.h), in room; all else stays as
 * and where it is. NULL, or what address_check says of the result. */
const char *address_prepare(const char **address, size_t *len, char room[ADDRESS_MAX + 1]);

/* address_is_utf8: whether it goes only to servers that offer SMTPUTF8 (RFC 6531). */
bool address_is_utf8(const char *address, size_t len);

/* address_fold: writes len bytes to out, A to Z as a to z. Addresses that are the same then are one
 * to the suppression list, which holds them in this form. */
void address_fold(const char *address, size_t len, char *out);

/* address_domain_check: the same for a domain alone. */
const char *address_domain_check(const char *domain, size_t len);

/* name is UTF-8 without quotes and blanks around it, "" where there is none; address is what
 * address_prepare makes of it. */
struct mailbox {
    char name[MAILBOX_NAME_MAX + 1];
    char address[ADDRESS_MAX + 1];
};

/* mailbox_parse: "Name <a@b>", "\"Name, quoted\" <a@b>", "<a@b>" or "a@b"; borrows text. ERR_CONFIG
 * with the reason; control characters and invalid UTF-8 are refused. */
struct err mailbox_parse(const char *text, size_t len, struct mailbox *out) MUST_CHECK;

#endif
