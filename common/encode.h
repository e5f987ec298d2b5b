/* The encodings of mail, each appending to a buffer. Pure; all but the UTF-8 check may leave
 * out->too_big set, which the caller checks once at the end. */
#ifndef MAILFLOCK_ENCODE_H
#define MAILFLOCK_ENCODE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

/* encode_utf8_prefix: bytes before the first that is not UTF-8 (RFC 3629: no overlong forms, no
 * surrogates); len if all is well. */
size_t encode_utf8_prefix(const char *text, size_t len);
static inline bool encode_utf8_valid(const char *text, size_t len)
{
    return encode_utf8_prefix(text, len) == len;
}

/* encode_html: & < > " ' become &amp; &lt; &gt; &quot; &#39;. */
void encode_html(const char *text, size_t len, struct buf *out);
/* encode_html_needed: whether encode_html would change anything. */
bool encode_html_needed(const char *text, size_t len);

/* encode_url: all but the unreserved characters of RFC 3986 section 2.3 become %XX. */
void encode_url(const char *text, size_t len, struct buf *out);

/* encode_crlf: every line break (\n, \r\n or a lone \r) becomes \r\n. after_cr carries over the
 * joints of one text that comes in pieces; false at its start. */
void encode_crlf(bool *after_cr, const char *text, size_t len, struct buf *out);

/* Quoted-printable (RFC 2045 section 6.7) of a text that comes in pieces; {0} at its start. Lines
 * have at most 76 characters and end in CRLF. Beyond the RFC, no output line starts with '.'
 * (nothing to stuff in SMTP) or with "From " (nothing for mbox writers to change). */
struct encode_qp {
    unsigned col;  /* characters on the current output line */
    bool after_cr; /* the last byte was a CR; its line break is written */
};
void encode_qp(struct encode_qp *s, const char *text, size_t len, struct buf *out);
/* encode_qp_soft_break: ends the output line without ending the text's line. */
void encode_qp_soft_break(struct encode_qp *s, struct buf *out);
/* encode_qp_end: makes a trailing blank safe; adds no line end. */
void encode_qp_end(struct encode_qp *s, struct buf *out);

/* Base64 (RFC 2045 section 6.8) of bytes that come in pieces; {0} at the start. Lines of at most
 * 76 characters, CRLF between them, none after the last. */
struct encode_base64 {
    unsigned char carry[3]; /* bytes that do not make a group of three yet */
    unsigned carry_len;
    unsigned col;
};
void encode_base64(struct encode_base64 *s, const char *bytes, size_t len, struct buf *out);
void encode_base64_end(struct encode_base64 *s, struct buf *out);

/* encode_base64_whole: without line breaks. encode_base64_decode: undoes it; bytes has room for
 * three for each four of len. False for anything else: other characters, a wrong end. */
void encode_base64_whole(const char *bytes, size_t len, struct buf *out);
bool encode_base64_decode(const char *text, size_t len, char *bytes, size_t *bytes_len);

/* encode_parameter: ";", a new line and name="text"; what is beyond ASCII, too long for
 * a line or like an encoded-word, in the form of RFC 2231. text as for encode_header. */
void encode_parameter(const char *name, const char *text, size_t len, struct buf *out);

/* encode_header: an unstructured header value (RFC 5322 section 2.2.1) that starts at column col.
 * Printable ASCII stays, folded at spaces to 78 columns where there are any; all else becomes
 * UTF-8 encoded-words (RFC 2047). No line passes 998. text: valid UTF-8, no CR, LF or NUL.
 * Returns the column after it. */
size_t encode_header(const char *text, size_t len, size_t col, struct buf *out);

/* encode_phrase: a display name (RFC 5322 section 3.2.5): as it is, quoted, or encoded-words.
 * text as for encode_header, not empty, no blanks at its ends. Returns the column after it. */
size_t encode_phrase(const char *text, size_t len, size_t col, struct buf *out);

#endif
