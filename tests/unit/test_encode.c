/* The encodings of mail, against tables and against a decoder written here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/encode.h"

enum { BIG = 1 << 20 };

static void want_bytes(const char *name, const struct buf *got, const char *want, size_t want_len)
{
    if (got->len == want_len && (!want_len || memcmp(got->data, want, want_len) == 0)) return;
    print_error("%s: got \"%.*s\", want \"%.*s\"\n", name, (int)got->len, got->data, (int)want_len,
                want);
    fail();
}

static uint32_t random_next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Bytes that are awkward at the joints of lines and pieces. */
static size_t random_text(uint32_t *state, char *text, size_t max)
{
    static const char *const bits[] = {"\n",  "\r\n", "\r",  ".",        "F",    "From ",
                                       " ",   "\t",   "=",   "\xc3\xa9", "word", "rom ",
                                       "<&>", "a",    " \n", "...."};
    size_t len = 0, want = random_next(state) % max;
    while (len < want) {
        const char *bit = bits[random_next(state) % 16];
        size_t n = strlen(bit), times = random_next(state) % 30 ? 1 : 60;
        for (; times && len + n <= max; times--, len += n) memcpy(text + len, bit, n);
        if (times) break;
    }
    return len;
}

static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : c - 'A' + 10;
}

static void qp_decode(const struct buf *in, struct buf *out)
{
    for (size_t i = 0; i < in->len; i++) {
        if (in->data[i] != '=') {
            buf_append_char(out, in->data[i]);
        } else if (in->data[i + 1] == '\r') {
            i += 2;
        } else {
            buf_append_char(out,
                            (char)(hex_digit(in->data[i + 1]) << 4 | hex_digit(in->data[i + 2])));
            i += 2;
        }
    }
}

static void check_qp_lines(const struct buf *b)
{
    for (size_t at = 0; at < b->len;) {
        const char *line = b->data + at;
        const char *end = memmem(line, b->len - at, "\r\n", 2);
        size_t len = end ? (size_t)(end - line) : b->len - at;
        assert_true(len <= 76);
        assert_false(len && line[0] == '.');
        assert_false(len >= 5 && memcmp(line, "From ", 5) == 0);
        assert_false(len && (line[len - 1] == ' ' || line[len - 1] == '\t'));
        assert_null(memchr(line, '\n', len));
        assert_null(memchr(line, '\r', len));
        at += len + 2;
    }
}

static void qp_encodes_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *want;
    } rows[] = {
        {"plain text stays", "Hello, world", "Hello, world"},
        {"equals sign", "a=b", "a=3Db"},
        {"UTF-8", "\xc3\xa9", "=C3=A9"},
        {"line feed", "a\nb", "a\r\nb"},
        {"CRLF", "a\r\nb", "a\r\nb"},
        {"lone CR", "a\rb\r", "a\r\nb\r\n"},
        {"CR CR LF are two breaks", "a\r\r\nb", "a\r\n\r\nb"},
        {"trailing space", "a \nb\t\r\nc ", "a=20\r\nb=09\r\nc=20"},
        {"only the last blank is encoded", "a  \n", "a =20\r\n"},
        {"leading dot", ".\n..a\nb.", "=2E\r\n=2E.a\r\nb."},
        {"From at a line start", "From a\nFrom b\n From c", "=46rom a\r\n=46rom b\r\n From c"},
        {"From within a word", "Fromage\nFrost", "Fromage\r\nFrost"},
        {"control characters", "a\x01\x7f", "a=01=7F"},
    };
    struct buf out;
    buf_init(&out, BIG);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct encode_qp s = {0};
        buf_reset(&out);
        encode_qp(&s, rows[i].input, strlen(rows[i].input), &out);
        encode_qp_end(&s, &out);
        want_bytes(rows[i].name, &out, rows[i].want, strlen(rows[i].want));
    }
    buf_fini(&out);
}

static void qp_breaks_lines_before_column_77(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, BIG);
    for (size_t len = 70; len < 80; len++) {
        char text[100];
        memset(text, 'x', len);
        memcpy(text + len, " \n.y", 4);
        struct encode_qp s = {0};
        buf_reset(&out);
        encode_qp(&s, text, len + 4, &out);
        check_qp_lines(&out);
    }
    buf_fini(&out);
}

static void qp_of_pieces_decodes_to_the_whole(void **state)
{
    (void)state;
    struct buf out, back, want;
    buf_init(&out, BIG);
    buf_init(&back, BIG);
    buf_init(&want, BIG);
    uint32_t seed = 7;
    for (int round = 0; round < 5000; round++) {
        char text[400];
        size_t len = random_text(&seed, text, sizeof text);
        buf_reset(&out);
        buf_reset(&back);
        buf_reset(&want);
        struct encode_qp s = {0};
        for (size_t at = 0, n; at < len; at += n) {
            n = 1 + random_next(&seed) % (len - at);
            encode_qp(&s, text + at, n, &out);
        }
        encode_qp_end(&s, &out);
        bool after_cr = false;
        encode_crlf(&after_cr, text, len, &want);
        check_qp_lines(&out);
        qp_decode(&out, &back);
        want_bytes("decoded", &back, want.data, want.len);
    }
    buf_fini(&out);
    buf_fini(&back);
    buf_fini(&want);
}

static void base64_encodes_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *want;
    } rows[] = {
        {"RFC 4648 empty", "", ""},
        {"RFC 4648 1", "f", "Zg=="},
        {"RFC 4648 2", "fo", "Zm8="},
        {"RFC 4648 3", "foo", "Zm9v"},
        {"RFC 4648 4", "foob", "Zm9vYg=="},
        {"RFC 4648 6", "foobar", "Zm9vYmFy"},
        {"57 bytes are one line", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
         "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"},
        {"58 bytes are two", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
         "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4\r\neA=="},
    };
    struct buf out;
    buf_init(&out, BIG);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t cut = 0; cut <= strlen(rows[i].input); cut++) {
            struct encode_base64 s = {0};
            buf_reset(&out);
            encode_base64(&s, rows[i].input, cut, &out);
            encode_base64(&s, rows[i].input + cut, strlen(rows[i].input) - cut, &out);
            encode_base64_end(&s, &out);
            want_bytes(rows[i].name, &out, rows[i].want, strlen(rows[i].want));
        }
    }
    buf_fini(&out);
}

static void base64_without_lines_is_decoded_to_what_it_was(void **state)
{
    (void)state;
    char bytes[300], got[300];
    struct buf text;
    buf_init(&text, BIG);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7 + i / 256);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        size_t got_len;
        buf_reset(&text);
        encode_base64_whole(bytes, len, &text);
        assert_int_equal(text.len, (len + 2) / 3 * 4);
        assert_true(encode_base64_decode(text.data, text.len, got, &got_len));
        assert_int_equal(got_len, len);
        assert_memory_equal(got, bytes, len);
    }
    buf_fini(&text);
    static const char *const wrong[] = {"=",      "a",    "ab",   "abc",    "ab==ab==",
                                        "a===",   "====", "=abc", "ab=c",   "abcde",
                                        "ab\r\n", "ab_-", "ab c", "abc\xff"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t got_len;
        if (encode_base64_decode(wrong[i], strlen(wrong[i]), got, &got_len))
            fail_msg("%s", wrong[i]);
    }
}

static void html_and_url_encode_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *html, *url;
    } rows[] = {
        {"nothing", "", "", ""},
        {"safe", "Ada-1_.~", "Ada-1_.~", "Ada-1_.~"},
        {"markup", "<a b=\"c\">'&'</a>", "&lt;a b=&quot;c&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;",
         "%3Ca%20b%3D%22c%22%3E%27%26%27%3C%2Fa%3E"},
        {"UTF-8", "\xc3\xa9", "\xc3\xa9", "%C3%A9"},
    };
    struct buf out;
    buf_init(&out, BIG);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].input);
        buf_reset(&out);
        encode_html(rows[i].input, len, &out);
        want_bytes(rows[i].name, &out, rows[i].html, strlen(rows[i].html));
        assert_int_equal(encode_html_needed(rows[i].input, len), out.len != len);
        buf_reset(&out);
        encode_url(rows[i].input, len, &out);
        want_bytes(rows[i].name, &out, rows[i].url, strlen(rows[i].url));
    }
    buf_fini(&out);
}

static void headers_encode_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *header, *phrase;
    } rows[] = {
        {"atoms", "Ada Lovelace", "Ada Lovelace", "Ada Lovelace"},
        {"a dot needs quotes", "Ada L.", "Ada L.", "\"Ada L.\""},
        {"quotes are escaped", "A \"b\" \\", "A \"b\" \\", "\"A \\\"b\\\" \\\\\""},
        {"double space", "A  b", "A  b", "\"A  b\""},
        {"UTF-8", "\xc3\x89mile", "=?UTF-8?B?w4ltaWxl?=", "=?UTF-8?B?w4ltaWxl?="},
        {"what looks encoded", "=?x", "=?UTF-8?B?PT94?=", "=?UTF-8?B?PT94?="},
        {"tab", "a\tb", "=?UTF-8?B?YQli?=", "=?UTF-8?B?YQli?="},
    };
    struct buf out;
    buf_init(&out, BIG);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&out);
        size_t col = encode_header(rows[i].input, strlen(rows[i].input), 9, &out);
        want_bytes(rows[i].name, &out, rows[i].header, strlen(rows[i].header));
        assert_int_equal(col, 9 + out.len);
        buf_reset(&out);
        col = encode_phrase(rows[i].input, strlen(rows[i].input), 4, &out);
        want_bytes(rows[i].name, &out, rows[i].phrase, strlen(rows[i].phrase));
        assert_int_equal(col, 4 + out.len);
    }
    buf_fini(&out);
}

static void parameters_encode_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *input, *want;
    } rows[] = {
        {"a.pdf", ";\r\n f=\"a.pdf\""},
        {"", ";\r\n f=\"\""},
        {"a b;\"c\\", ";\r\n f=\"a b;\\\"c\\\\\""},
        {"\xc3\xa9 a'b%c.pdf", ";\r\n f*0*=UTF-8''%C3%A9%20a%27b%25c.pdf"},
        {"=?x?=", ";\r\n f*0*=UTF-8''%3D%3Fx%3F%3D"},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         ";\r\n f*0*=UTF-8''012345678901234567890123456789012345678901234567"
         ";\r\n f*1*=8901234567890123"},
    };
    struct buf out;
    buf_init(&out, BIG);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&out);
        encode_parameter("f", rows[i].input, strlen(rows[i].input), &out);
        want_bytes(rows[i].input, &out, rows[i].want, strlen(rows[i].want));
    }
    buf_fini(&out);
}

/* The longest line of a folded header whose first line starts at column col. */
static size_t longest_line(const struct buf *b, size_t col)
{
    size_t longest = 0;
    for (size_t i = 0; i < b->len; i++) {
        if (b->data[i] == '\n') {
            col = 0;
            assert_true(i + 1 < b->len && b->data[i + 1] == ' ');
        } else if (b->data[i] != '\r' && ++col > longest) {
            longest = col;
        }
    }
    return longest;
}

static void long_headers_are_folded(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, BIG);
    char text[4000];
    for (size_t len = 1; len < 2000; len += 7) {
        for (size_t i = 0; i < len; i++) text[i] = i % 9 == 8 && i + 1 < len ? ' ' : 'w';
        buf_reset(&out);
        encode_header(text, len, 9, &out);
        assert_true(longest_line(&out, 9) <= 78);
        for (size_t i = 0; i < len; i++) memcpy(text + 2 * i, "\xc3\xa9", 2);
        buf_reset(&out);
        size_t col = encode_phrase(text, len * 2, 4, &out);
        assert_true(longest_line(&out, 4) <= 76);
        assert_true(col <= 76);
    }
    buf_fini(&out);
}

static void a_word_too_long_for_a_line_is_encoded(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, BIG);
    char text[3000];
    memset(text, 'w', sizeof text);
    encode_header(text, 900, 9, &out);
    assert_int_equal(out.len, 900);
    buf_reset(&out);
    encode_header(text, sizeof text, 9, &out);
    assert_true(longest_line(&out, 9) <= 76);
    buf_fini(&out);
}

static void utf8_is_checked_as_rfc_3629_says(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input;
        size_t valid;
    } rows[] = {
        {"ASCII", "0123456789abcdef", 16},
        {"2, 3 and 4 bytes", "\xc2\x80\xed\x9f\xbf\xf4\x8f\xbf\xbf", 9},
        {"lone continuation", "a\x80", 1},
        {"overlong 2", "ab\xc1\xbf", 2},
        {"overlong 3", "\xe0\x9f\xbf", 0},
        {"surrogate", "\xed\xa0\x80", 0},
        {"overlong 4", "\xf0\x8f\xbf\xbf", 0},
        {"past 10FFFF", "\xf4\x90\x80\x80", 0},
        {"cut short", "abcdefgh\xe3\x81", 8},
        {"F5", "\xf5\x80\x80\x80", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (encode_utf8_prefix(rows[i].input, strlen(rows[i].input)) != rows[i].valid)
            fail_msg("%s", rows[i].name);
    }
}

/* Runs are looked at eight bytes at a time; single bytes are not. */
static void qp_is_the_same_byte_by_byte(void **state)
{
    (void)state;
    struct buf whole, single;
    buf_init(&whole, 1000);
    buf_init(&single, 1000);
    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 1; at < 20; at++) {
            char text[20];
            struct encode_qp a = {0}, b = {0};
            memset(text, 'a', sizeof text);
            text[at] = (char)byte;
            text[19 - at] = (char)(255 - byte);
            text[0] = 'a';
            buf_reset(&whole);
            buf_reset(&single);
            encode_qp(&a, text, sizeof text, &whole);
            for (size_t i = 0; i < sizeof text; i++) encode_qp(&b, text + i, 1, &single);
            if (whole.len != single.len || memcmp(whole.data, single.data, whole.len) != 0)
                fail_msg("byte %d at %zu: %s, not %s", byte, at, buf_text(&whole),
                         buf_text(&single));
            assert_int_equal(a.col, b.col);
        }
    }
    buf_fini(&whole);
    buf_fini(&single);
}

static void a_full_buffer_stops_every_encoder(void **state)
{
    (void)state;
    char text[500];
    memset(text, 'x', sizeof text);
    memcpy(text + 200, " \n\xc3\xa9 .\r\n<", 9);
    for (size_t max = 0; max < 600; max++) {
        struct buf out;
        struct encode_qp qp = {0};
        struct encode_base64 base64 = {0};
        buf_init(&out, max);
        encode_qp(&qp, text, sizeof text, &out);
        encode_qp_end(&qp, &out);
        assert_true(out.len <= max);
        buf_reset(&out);
        encode_base64(&base64, text, sizeof text, &out);
        encode_base64_end(&base64, &out);
        assert_true(out.len <= max);
        buf_reset(&out);
        encode_parameter("f", text, sizeof text, &out);
        assert_true(out.len <= max);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qp_encodes_what_the_table_says),
        cmocka_unit_test(qp_breaks_lines_before_column_77),
        cmocka_unit_test(qp_of_pieces_decodes_to_the_whole),
        cmocka_unit_test(base64_encodes_what_the_table_says),
        cmocka_unit_test(base64_without_lines_is_decoded_to_what_it_was),
        cmocka_unit_test(html_and_url_encode_what_the_table_says),
        cmocka_unit_test(headers_encode_what_the_table_says),
        cmocka_unit_test(parameters_encode_what_the_table_says),
        cmocka_unit_test(long_headers_are_folded),
        cmocka_unit_test(a_word_too_long_for_a_line_is_encoded),
        cmocka_unit_test(utf8_is_checked_as_rfc_3629_says),
        cmocka_unit_test(qp_is_the_same_byte_by_byte),
        cmocka_unit_test(a_full_buffer_stops_every_encoder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
