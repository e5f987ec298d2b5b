/* Internationalized domain names (IDNA 2008, RFC 5891). Pure. */
#ifndef MAILFLOCK_IDN_H
#define MAILFLOCK_IDN_H

#include <stddef.h>

enum { IDN_DOMAIN_MAX = 255 }; /* bytes of the ASCII form, RFC 1035 section 2.3.4 */

/* idn_to_ascii: domain (UTF-8 without NUL) as its ASCII form with xn-- labels, after the mapping of
 * UTS 46, non-transitional, as browsers do it: in lower case and normal form C, a wide dot as a
 * dot. What it maps to ASCII may still be no domain: check the result. NULL, or a static reason. */
const char *idn_to_ascii(const char *domain, size_t len, char out[IDN_DOMAIN_MAX + 1]);

#endif
