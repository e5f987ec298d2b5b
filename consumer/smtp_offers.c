/* Reading EHLO's keywords. */
#include "consumer/smtp_offers.h"

#include <string.h>
#include <strings.h>

/* Whether a line of EHLO's reply has that keyword; *rest is what follows it: blanks, or nothing.
 * Some relays write AUTH=LOGIN, as drafts of RFC 4954 did. */
static bool is_keyword(const char *line, size_t len, const char *keyword, size_t *rest)
{
    size_t n = strlen(keyword);
    *rest = 4 + n;
    return len >= 4 + n && memcmp(line, "250", 3) == 0 && strncasecmp(line + 4, keyword, n) == 0 &&
           (len == 4 + n || (unsigned char)line[4 + n] <= ' ' || line[4 + n] == '=');
}

/* The number in line[at..len), 0 where there is none. One that is too large for us is no limit. */
static uint64_t number_at(const char *line, size_t at, size_t len)
{
    uint64_t n = 0;
    while (at < len && (line[at] == ' ' || line[at] == '\t')) at++;
    for (; at < len && line[at] >= '0' && line[at] <= '9'; at++) {
        if (n > UINT64_MAX / 10 - 1) return 0;
        n = n * 10 + (uint64_t)(line[at] - '0');
    }
    return n;
}

void smtp_offers_line(struct smtp_offers *offers, const char *line, size_t len)
{
    size_t rest;
    if (len >= 3 && memcmp(line, "220", 3) == 0) *offers = (struct smtp_offers){0};
    if (len >= 3 && memcmp(line, "235", 3) == 0) offers->logged_in = true;
    if (is_keyword(line, len, "PIPELINING", &rest)) offers->pipelining = true;
    if (is_keyword(line, len, "SMTPUTF8", &rest)) offers->smtputf8 = true;
    if (is_keyword(line, len, "AUTH", &rest)) offers->auth = true;
    if (is_keyword(line, len, "SIZE", &rest)) {
        offers->size = true;
        offers->size_max = number_at(line, rest, len);
    }
}
