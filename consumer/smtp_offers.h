/* What a relay offers in its reply to EHLO, and whether it took the login, read from the lines that
 * libcurl passes on while it connects. Pure. */
#ifndef MAILFLOCK_SMTP_OFFERS_H
#define MAILFLOCK_SMTP_OFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smtp_offers {
    bool pipelining;   /* RFC 2920 */
    bool smtputf8;     /* RFC 6531 */
    bool size;         /* RFC 1870: MAIL may announce the size of the message */
    uint64_t size_max; /* bytes of a message that the relay takes; 0 = it names no limit */
    bool auth;         /* RFC 4954: it offers a login */
    bool logged_in;    /* it has answered 235 */
};

/* smtp_offers_line: takes one line of a reply, with or without its line end. A greeting (220) puts
 * everything back to nothing: after STARTTLS the EHLO before it no longer counts. */
void smtp_offers_line(struct smtp_offers *offers, const char *line, size_t len);

#endif
