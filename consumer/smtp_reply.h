/* Reading SMTP replies (RFC 5321 section 4.2) out of a byte stream. Pure. */
#ifndef MAILFLOCK_SMTP_REPLY_H
#define MAILFLOCK_SMTP_REPLY_H

#include <stddef.h>

#include "consumer/outcome.h"

enum { SMTP_INPUT_SIZE = 8192, SMTP_LINE_MAX = 4096, SMTP_REPLY_LINES_MAX = 100 };

/* Received bytes, and where the reply in progress stands. */
struct smtp_input {
    size_t len, pos; /* data[pos..len) is not looked at yet */
    int code;        /* of the reply in progress, 0 = none */
    int lines;       /* it has so far */
    char data[SMTP_INPUT_SIZE];
};

void smtp_input_reset(struct smtp_input *in);

/* smtp_input_room: where the next bytes go; *room is never 0 unless a line is too long. */
char *smtp_input_room(struct smtp_input *in, size_t *room);

enum smtp_found { SMTP_NEED_MORE, SMTP_REPLY, SMTP_GARBAGE };

/* smtp_input_next: the next whole reply; out borrows from the input until smtp_input_room. Of a
 * multi-line reply the last line's text counts. SMTP_GARBAGE: no reply can start like this, the
 * codes of its lines differ, or a limit was passed; the connection is of no use any more. */
enum smtp_found smtp_input_next(struct smtp_input *in, struct reply *out);

/* smtp_enhanced_parse: "5.1.1" at the start of text into out[12]; returns its length with the blank
 * behind it, 0 where there is none (RFC 3463 section 2). */
size_t smtp_enhanced_parse(const char *text, size_t len, int code, char *out);

#endif
