/* The content of one message, line by line: finds the final dot and the Message-ID, and checks
 * what RFC 5321 demands of content. */
#include "fakesmtp.h"

#include <string.h>
#include <strings.h>

void body_start(struct conn *c)
{
    c->in_header = c->after_crlf = true;
    c->id_folded = c->eight_bit_seen = false;
    c->id_len = c->body_bytes = 0;
}

static bool has_eight_bit(const char *bytes, size_t len)
{
    uint64_t word, seen = 0;
    for (; len >= sizeof word; bytes += sizeof word, len -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        seen |= word;
    }
    for (; len; bytes++, len--) seen |= (unsigned char)*bytes;
    return seen & 0x8080808080808080ULL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The value of a Message-ID header, without brackets; empty where it is on the next line. */
static void take_id(struct conn *c, const char *value, size_t len)
{
    while (len && (is_blank(value[0]) || value[0] == '<')) value++, len--;
    while (len && (is_blank(value[len - 1]) || value[len - 1] == '>')) len--;
    if (len > MESSAGE_ID_MAX) len = MESSAGE_ID_MAX;
    for (size_t i = 0; i < len; i++) c->id[i] = (char)(value[i] == '\t' ? ' ' : value[i]);
    c->id_len = len;
    c->id[len] = '\0';
}

static void header_line(struct conn *c, const char *line, size_t len)
{
    static const char NAME[] = "message-id:";
    if (len <= 2 && is_blank(line[0])) {
        c->in_header = false;
    } else if (c->id_folded && (line[0] == ' ' || line[0] == '\t')) {
        take_id(c, line, len);
        c->id_folded = false;
    } else if ((line[0] | 32) == 'm' && len >= sizeof NAME - 1 &&
               strncasecmp(line, NAME, sizeof NAME - 1) == 0) {
        take_id(c, line + sizeof NAME - 1, len - (sizeof NAME - 1));
        c->id_folded = c->id_len == 0;
    } else {
        c->id_folded = false;
    }
}

static void check_eight_bit(struct conn *c, const char *line, size_t len)
{
    bool allowed = c->in_header ? c->utf8_ok : c->eight_bit_ok;
    if (allowed || c->eight_bit_seen || !has_eight_bit(line, len)) return;
    c->eight_bit_seen = true;
    violation(V_EIGHT_BIT);
}

bool body_line(struct conn *c, const char *line, size_t len)
{
    bool crlf = len >= 2 && line[len - 2] == '\r';
    if (c->overlong) { /* its beginning was discarded and counted */
        c->overlong = false;
        c->after_crlf = true;
        return false;
    }
    if (line[0] == '.') {
        if (len == 3 && crlf && c->after_crlf) return true;
        if (line[1] != '.') violation(V_UNSTUFFED_DOT);
    }
    if (len > LINE_MAX_LEN) violation(V_LONG_LINE);
    if (!crlf) violation(V_BARE_LF);
    if (memchr(line, '\r', crlf ? len - 2 : len - 1)) violation(V_BARE_CR);
    check_eight_bit(c, line, len);
    if (c->in_header) header_line(c, line, len);
    c->after_crlf = crlf;
    c->body_bytes += len;
    return false;
}
