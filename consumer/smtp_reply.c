/* Reading SMTP replies. */
#include "consumer/smtp_reply.h"

#include <ctype.h>
#include <string.h>

void smtp_input_reset(struct smtp_input *in)
{
    in->len = in->pos = 0;
    in->code = in->lines = 0;
}

char *smtp_input_room(struct smtp_input *in, size_t *room)
{
    if (in->pos) {
        memmove(in->data, in->data + in->pos, in->len - in->pos);
        in->len -= in->pos;
        in->pos = 0;
    }
    *room = sizeof in->data - in->len;
    return in->data + in->len;
}

static size_t digits(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && n < 3 && isdigit((unsigned char)text[n])) n++;
    return n;
}

size_t smtp_enhanced_parse(const char *text, size_t len, int code, char *out)
{
    out[0] = '\0';
    if (len < 5 || text[0] != '0' + code / 100 || text[1] != '.') return 0;
    size_t subject = digits(text + 2, len - 2);
    size_t at = 2 + subject;
    if (!subject || at >= len || text[at] != '.') return 0;
    size_t detail = digits(text + at + 1, len - at - 1);
    at += 1 + detail;
    if (!detail || at > 11 || (at < len && text[at] != ' ')) return 0;
    memcpy(out, text, at);
    out[at] = '\0';
    return at < len ? at + 1 : at;
}

/* One line without its line end. */
static enum smtp_found take_line(struct smtp_input *in, const char *line, size_t len,
                                 struct reply *out)
{
    if (len < 3 || digits(line, len) != 3 || (len > 3 && line[3] != ' ' && line[3] != '-'))
        return SMTP_GARBAGE;
    int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
    if (code < 200 || code > 599 || (in->code && in->code != code)) return SMTP_GARBAGE;
    if (++in->lines > SMTP_REPLY_LINES_MAX) return SMTP_GARBAGE;
    in->code = code;
    if (len > 3 && line[3] == '-') return SMTP_NEED_MORE;
    size_t at = len > 4 ? 4 : len;
    out->code = code;
    at += smtp_enhanced_parse(line + at, len - at, code, out->enhanced);
    out->text = line + at;
    out->text_len = len - at;
    in->code = in->lines = 0;
    return SMTP_REPLY;
}

enum smtp_found smtp_input_next(struct smtp_input *in, struct reply *out)
{
    for (;;) {
        const char *line = in->data + in->pos;
        size_t left = in->len - in->pos;
        const char *end = memchr(line, '\n', left);
        size_t len = end ? (size_t)(end - line) : left;
        if (len > SMTP_LINE_MAX) return SMTP_GARBAGE;
        if (!end) return SMTP_NEED_MORE;
        in->pos += len + 1;
        if (len && line[len - 1] == '\r') len--;
        enum smtp_found found = take_line(in, line, len, out);
        if (found != SMTP_NEED_MORE) return found;
    }
}
