/* The encodings of mail. Each one copies runs of safe bytes, found by table, in one go. A class
 * table says what a byte may do without being encoded. */
#include "common/encode.h"

#include <stdint.h>

enum { QP_LINE = 75 }; /* one more for the '=' of a soft line break makes 76 */
enum { BASE64_LINE = 76 };
enum { HEADER_LINE = 78, WORD_LINE = 76, WORD_FRAME = 12, WORD_MAX = 75 };
enum { HEADER_WORD_MAX = 900 }; /* longer runs without a fold are encoded, so no line nears 998 */
enum { PARAMETER_LINE = 64 };   /* leaves room for a last character of 12 */
enum { PHRASE_PLAIN_MAX = 60 }; /* longer names are encoded, since encoded-words can be folded */

enum { QP_SAFE = 1, HTML_SAFE = 2, URL_SAFE = 4, ATOM = 8, PRINT = 16 };

#define LETTER (QP_SAFE | HTML_SAFE | URL_SAFE | ATOM | PRINT)
#define SYMBOL (QP_SAFE | HTML_SAFE | PRINT)
#define ATOMIC (SYMBOL | ATOM)
#define MARKUP (QP_SAFE | PRINT)
#define OTHER  HTML_SAFE

static const uint8_t class_of[256] = {
    [0x00 ... 0x08] = OTHER,
    ['\t'] = OTHER | QP_SAFE,
    ['\n' ... 0x1f] = OTHER,
    [' '] = SYMBOL,
    ['!'] = ATOMIC,
    ['"'] = MARKUP,
    ['#' ... '%'] = ATOMIC,
    ['&' ... '\''] = MARKUP | ATOM,
    ['(' ... ')'] = SYMBOL,
    ['*' ... '+'] = ATOMIC,
    [','] = SYMBOL,
    ['-'] = LETTER,
    ['.'] = SYMBOL | URL_SAFE,
    ['/'] = ATOMIC,
    ['0' ... '9'] = LETTER,
    [':' ... ';'] = SYMBOL,
    ['<'] = MARKUP,
    ['='] = OTHER | ATOM | PRINT,
    ['>'] = MARKUP,
    ['?'] = ATOMIC,
    ['@'] = SYMBOL,
    ['A' ... 'Z'] = LETTER,
    ['[' ... ']'] = SYMBOL,
    ['^'] = ATOMIC,
    ['_'] = LETTER,
    ['`'] = ATOMIC,
    ['a' ... 'z'] = LETTER,
    ['{' ... '}'] = ATOMIC,
    ['~'] = LETTER,
    [0x7f ... 0xff] = OTHER,
};

static const char hex_digits[] = "0123456789ABCDEF";

/* The length of the run of bytes at the start of text that have any of these classes. */
static inline size_t run_of(const char *text, size_t len, unsigned classes)
{
    size_t n = 0;
    while (n < len && (class_of[(unsigned char)text[n]] & classes)) n++;
    return n;
}

/* The same for QP_SAFE, eight bytes at a time as long as they are printable and no '='. */
static inline size_t qp_run_of(const char *text, size_t len)
{
    const uint64_t ones = 0x0101010101010101u, highs = ones * 0x80;
    size_t n = 0;
    for (uint64_t eight; len - n >= sizeof eight; n += sizeof eight) {
        memcpy(&eight, text + n, sizeof eight);
        uint64_t equals = eight ^ ones * '=', del = eight ^ ones * 0x7f;
        uint64_t low = (eight - ones * ' ') | (equals - ones) | (del - ones);
        if ((low | eight) & highs) break;
    }
    return n + run_of(text + n, len - n, QP_SAFE);
}

static inline void append_hex(struct buf *out, char prefix, char c)
{
    unsigned char u = (unsigned char)c;
    buf_append(out, (char[]){prefix, hex_digits[u >> 4], hex_digits[u & 15]}, 3);
}

/* The length of the UTF-8 character at s, whose first byte is not ASCII; 0 if it is not one. */
static size_t utf8_char(const unsigned char *s, size_t len)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t need = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] < 0xc2 || s[0] > 0xf4 || need > len) return 0;
    if (s[0] == 0xe0) low = 0xa0;
    if (s[0] == 0xed) high = 0x9f;
    if (s[0] == 0xf0) low = 0x90;
    if (s[0] == 0xf4) high = 0x8f;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < need; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    return need;
}

size_t encode_utf8_prefix(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < len) {
        uint64_t eight;
        if (len - i >= sizeof eight) {
            memcpy(&eight, s + i, sizeof eight);
            if (!(eight & 0x8080808080808080u)) {
                i += sizeof eight;
                continue;
            }
        }
        size_t n = s[i] < 0x80 ? 1 : utf8_char(s + i, len - i);
        if (n == 0) return i;
        i += n;
    }
    return len;
}

bool encode_html_needed(const char *text, size_t len)
{
    return run_of(text, len, HTML_SAFE) < len;
}

static const char *html_entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    default:
        return "&#39;";
    }
}

void encode_html(const char *text, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len;) {
        size_t run = run_of(text + i, len - i, HTML_SAFE);
        buf_append(out, text + i, run);
        i += run;
        if (i < len) buf_append_text(out, html_entity(text[i++]));
    }
}

void encode_url(const char *text, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len;) {
        size_t run = run_of(text + i, len - i, URL_SAFE);
        buf_append(out, text + i, run);
        i += run;
        if (i < len) append_hex(out, '%', text[i++]);
    }
}

void encode_crlf(bool *after_cr, const char *text, size_t len, struct buf *out)
{
    size_t start = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n' || text[i] == '\r') {
            buf_append(out, text + start, i - start);
            start = i + 1;
            if (text[i] == '\r' || !*after_cr) buf_append(out, "\r\n", 2);
        }
        *after_cr = text[i] == '\r';
    }
    buf_append(out, text + start, len - start);
}

void encode_qp_soft_break(struct encode_qp *s, struct buf *out)
{
    if (s->col) buf_append(out, "=\r\n", 3);
    s->col = 0;
}

/* Whether the byte at a line's start must be encoded: a dot, or the F of what is "From " or may
 * become it with the next piece. */
static bool is_guarded(const char *text, size_t len)
{
    if (text[0] == '.') return true;
    return text[0] == 'F' && memcmp(text, "From ", len < 5 ? len : 5) == 0;
}

static void qp_hex(struct encode_qp *s, char c, struct buf *out)
{
    if (s->col + 3 > QP_LINE) encode_qp_soft_break(s, out);
    append_hex(out, '=', c);
    s->col += 3;
}

/* A blank before a line end would be lost on the way: it is taken back and written encoded. */
void encode_qp_end(struct encode_qp *s, struct buf *out)
{
    if (s->col == 0 || out->too_big) return;
    char last = out->data[out->len - 1];
    if (last != ' ' && last != '\t') return;
    out->len--;
    s->col--;
    qp_hex(s, last, out);
}

static void qp_line_break(struct encode_qp *s, char c, struct buf *out)
{
    bool second_half = c == '\n' && s->after_cr;
    s->after_cr = c == '\r';
    if (second_half) return;
    encode_qp_end(s, out);
    buf_append(out, "\r\n", 2);
    s->col = 0;
}

void encode_qp(struct encode_qp *s, const char *text, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len;) {
        if (s->col < QP_LINE && (s->col || !is_guarded(text + i, len - i))) {
            size_t room = QP_LINE - s->col;
            size_t run = qp_run_of(text + i, room < len - i ? room : len - i);
            if (run) {
                buf_append(out, text + i, run);
                s->col += (unsigned)run;
                s->after_cr = false;
                i += run;
                continue;
            }
        }
        char c = text[i];
        if (c == '\n' || c == '\r') {
            qp_line_break(s, c, out);
            i++;
        } else if (s->col == QP_LINE) {
            encode_qp_soft_break(s, out);
        } else {
            qp_hex(s, c, out);
            s->after_cr = false;
            i++;
        }
    }
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static inline void base64_group(const unsigned char in[3], char out[4])
{
    out[0] = base64_digits[in[0] >> 2];
    out[1] = base64_digits[(in[0] & 3) << 4 | in[1] >> 4];
    out[2] = base64_digits[(in[1] & 15) << 2 | in[2] >> 6];
    out[3] = base64_digits[in[2] & 63];
}

/* Encodes whole groups of three bytes, breaking lines. */
static void base64_groups(struct encode_base64 *s, const unsigned char *in, size_t groups,
                          struct buf *out)
{
    while (groups) {
        if (s->col == BASE64_LINE) {
            buf_append(out, "\r\n", 2);
            s->col = 0;
        }
        size_t n = (BASE64_LINE - s->col) / 4;
        if (n > groups) n = groups;
        if (!buf_reserve(out, n * 4)) return;
        char *to = out->data + out->len;
        for (size_t i = 0; i < n; i++) base64_group(in + i * 3, to + i * 4);
        out->len += n * 4;
        s->col += (unsigned)(n * 4);
        in += n * 3;
        groups -= n;
    }
}

void encode_base64(struct encode_base64 *s, const char *bytes, size_t len, struct buf *out)
{
    const unsigned char *in = (const unsigned char *)bytes;
    if (s->carry_len) {
        while (s->carry_len < 3 && len) {
            s->carry[s->carry_len++] = *in++;
            len--;
        }
        if (s->carry_len < 3) return;
        base64_groups(s, s->carry, 1, out);
        s->carry_len = 0;
    }
    base64_groups(s, in, len / 3, out);
    s->carry_len = (unsigned)(len % 3);
    for (size_t i = 0; i < s->carry_len; i++) s->carry[i] = in[len - s->carry_len + i];
}

void encode_base64_end(struct encode_base64 *s, struct buf *out)
{
    unsigned have = s->carry_len;
    if (have == 0) return;
    for (size_t i = have; i < 3; i++) s->carry[i] = 0;
    base64_groups(s, s->carry, 1, out);
    s->carry_len = 0;
    if (!out->too_big) memset(out->data + out->len - (3 - have), '=', 3 - have);
}

void encode_base64_whole(const char *bytes, size_t len, struct buf *out)
{
    enum { LINE_BYTES = BASE64_LINE / 4 * 3 };
    for (size_t at = 0; at < len; at += LINE_BYTES) {
        struct encode_base64 line = {0};
        encode_base64(&line, bytes + at, len - at < LINE_BYTES ? len - at : LINE_BYTES, out);
        encode_base64_end(&line, out);
    }
}

/* The six bits of a character, or -1. */
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool encode_base64_decode(const char *text, size_t len, char *bytes, size_t *bytes_len)
{
    unsigned held = 0, bits = 0;
    *bytes_len = 0;
    if (len % 4) return false;
    size_t pad = len && text[len - 1] == '=' ? 1 + (text[len - 2] == '=') : 0;
    for (size_t i = 0; i < len - pad; i++) {
        int value = base64_value(text[i]);
        if (value < 0) return false;
        held = (held << 6 | (unsigned)value) & 0xffffff;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes[(*bytes_len)++] = (char)(held >> bits);
    }
    return (held & ((1u << bits) - 1)) == 0;
}

/* How many of the bytes fit in one encoded-word of max bytes without splitting a character. */
static size_t word_cut(const char *text, size_t len, size_t max)
{
    if (len <= max) return len;
    while (max && (text[max] & 0xc0) == 0x80) max--;
    return max;
}

/* RFC 2047 section 2: an encoded-word has at most 75 characters, its line at most 76. */
static size_t encode_words(const char *text, size_t len, size_t col, struct buf *out)
{
    while (len) {
        size_t room = col + WORD_FRAME < WORD_LINE ? WORD_LINE - col - WORD_FRAME : 0;
        if (room > WORD_MAX - WORD_FRAME) room = WORD_MAX - WORD_FRAME;
        size_t n = word_cut(text, len, room / 4 * 3);
        if (n == 0) {
            buf_append(out, "\r\n ", 3);
            col = 1;
            continue;
        }
        struct encode_base64 word = {0};
        size_t chars = WORD_FRAME + (n + 2) / 3 * 4;
        buf_append(out, "=?UTF-8?B?", 10);
        encode_base64(&word, text, n, out);
        encode_base64_end(&word, out);
        buf_append(out, "?=", 2);
        col += chars;
        text += n;
        len -= n;
        if (len) {
            buf_append(out, "\r\n ", 3);
            col = 1;
        }
    }
    return col;
}

/* The length of the blanks at the start of text and the word after them. */
static size_t next_word(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && text[n] == ' ') n++;
    while (n < len && text[n] != ' ') n++;
    return n;
}

static bool header_is_plain(const char *text, size_t len)
{
    if (len == 0) return true;
    if (run_of(text, len, PRINT) < len || memmem(text, len, "=?", 2)) return false;
    if (text[0] == ' ' || text[len - 1] == ' ') return false;
    for (size_t at = 0, n; at < len; at += n) {
        n = next_word(text + at, len - at);
        if (n > HEADER_WORD_MAX) return false;
    }
    return true;
}

size_t encode_header(const char *text, size_t len, size_t col, struct buf *out)
{
    if (!header_is_plain(text, len)) return encode_words(text, len, col, out);
    for (size_t at = 0, n; at < len; at += n) {
        n = next_word(text + at, len - at);
        if (at && col + n > HEADER_LINE) {
            buf_append(out, "\r\n", 2);
            col = 0;
        }
        buf_append(out, text + at, n);
        col += n;
    }
    return col;
}

static size_t quote_phrase(const char *text, size_t len, size_t col, struct buf *out)
{
    buf_append_char(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\') {
            buf_append_char(out, '\\');
            col++;
        }
        buf_append_char(out, text[i]);
    }
    buf_append_char(out, '"');
    return col + len + 2;
}

size_t encode_phrase(const char *text, size_t len, size_t col, struct buf *out)
{
    if (len > PHRASE_PLAIN_MAX || run_of(text, len, PRINT) < len || memmem(text, len, "=?", 2))
        return encode_words(text, len, col, out);
    for (size_t i = 0; i < len; i++) {
        bool single_space = text[i] == ' ' && i && text[i - 1] != ' ';
        if (!single_space && !(class_of[(unsigned char)text[i]] & ATOM))
            return quote_phrase(text, len, col, out);
    }
    buf_append(out, text, len);
    return col + len;
}

/* RFC 2231 section 4: name*0*=UTF-8''..., name*1*=..., of whole characters. */
static void parameter_pieces(const char *name, const char *text, size_t len, struct buf *out)
{
    for (unsigned n = 0; len; n++) {
        size_t start = out->len, cut = 0;
        buf_append_format(out, ";\r\n %s*%u*=%s", name, n, n ? "" : "UTF-8''");
        while (cut < len && out->len - start < PARAMETER_LINE && !out->too_big) {
            size_t from = cut++;
            while (cut < len && (text[cut] & 0xc0) == 0x80) cut++;
            encode_url(text + from, cut - from, out);
        }
        text += cut;
        len -= cut;
        if (out->too_big) return;
    }
}

void encode_parameter(const char *name, const char *text, size_t len, struct buf *out)
{
    if (strlen(name) + len > PARAMETER_LINE || run_of(text, len, PRINT) < len ||
        memmem(text, len, "=?", 2)) {
        parameter_pieces(name, text, len, out);
        return;
    }
    buf_append_format(out, ";\r\n %s=", name);
    quote_phrase(text, len, 0, out);
}
