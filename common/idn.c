/* The one file that knows libidn2. */
#include "common/idn.h"

#include <idn2.h>
#include <string.h>

enum { UNICODE_MAX = 4 * IDN_DOMAIN_MAX }; /* bytes of UTF-8 that may have a short enough form */

static const char *reason_of(int code)
{
    switch (code) {
    case IDN2_TOO_BIG_DOMAIN:
        return "the domain's ASCII form has more than 255 bytes";
    case IDN2_TOO_BIG_LABEL:
    case IDN2_PUNYCODE_BIG_OUTPUT:
        return "the domain has a label whose ASCII form has more than 63 bytes";
    case IDN2_DISALLOWED:
    case IDN2_UNASSIGNED:
        return "the domain has a character that internationalized domain names cannot have";
    case IDN2_BIDI:
        return "the domain mixes directions of writing in a way that domain names cannot";
    default:
        return "the domain is no valid internationalized name";
    }
}

const char *idn_to_ascii(const char *domain, size_t len, char out[IDN_DOMAIN_MAX + 1])
{
    uint8_t text[UNICODE_MAX + 1], *ascii = NULL;
    if (len > UNICODE_MAX) return reason_of(IDN2_TOO_BIG_DOMAIN);
    memcpy(text, domain, len);
    text[len] = '\0';
    int code = idn2_lookup_u8(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    size_t ascii_len = code == IDN2_OK ? strlen((const char *)ascii) : 0;
    if (code == IDN2_OK && ascii_len > IDN_DOMAIN_MAX) code = IDN2_TOO_BIG_DOMAIN;
    if (code == IDN2_OK) memcpy(out, ascii, ascii_len + 1);
    idn2_free(ascii);
    return code == IDN2_OK ? NULL : reason_of(code);
}
