/* Whole mails: their headers, what is refused, and that the pieces encoded beforehand decode to
 * what rendering the template gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/encode.h"
#include "common/mime.h"
#include "common/mime_part.h"
#include "common/template.h"

enum { BIG = 1 << 20 };

static struct value_field fields[] = {
    {"name", 4, {.kind = VALUE_TEXT, .len = 3, .text = "Ada"}},
    {"x", 1, {.kind = VALUE_TEXT, .len = 3, .text = "a&b"}},
};
static const struct value vars = {.kind = VALUE_MAP, .len = 2, .fields = fields};

static const struct message_spec plain_spec = {
    .from = "Mill <news@example.com>", .subject = "Hello {{name}}", .text = "Dear {{name}}\n"};
static const struct message_recipient plain_recipient = {
    .to = "ada@example.org", .to_len = 15, .vars = &vars, .message_id = "1.2@example.com"};

/* Builds one mail into out (NUL-terminated); "" or the reason. */
static const char *build(const struct message_spec *spec, const struct message_recipient *r,
                         struct buf *out)
{
    static char reason[MESSAGE_REASON_SIZE];
    struct message *m;
    struct err e = message_compile(spec, &m);
    if (e.code) fail_msg("%s", e.text);
    struct message_scratch scratch;
    message_scratch_init(&scratch, BIG);
    buf_init(out, BIG);
    reason[0] = '\0';
    bool built = message_build(m, r, &scratch, out, reason, sizeof reason);
    assert_int_equal(built, reason[0] == '\0');
    buf_text(out);
    message_scratch_fini(&scratch);
    message_free(m);
    return reason;
}

static void want_in_mail(const struct message_spec *spec, const struct message_recipient *r,
                         const char *want)
{
    struct buf out;
    const char *reason = build(spec, r, &out);
    if (reason[0]) fail_msg("%s", reason);
    if (!strstr(out.data, want)) fail_msg("no \"%s\" in:\n%s", want, out.data);
    buf_fini(&out);
}

static void want_refused(const struct message_spec *spec, const struct message_recipient *r,
                         const char *want)
{
    struct buf out;
    const char *reason = build(spec, r, &out);
    if (!strstr(reason, want)) fail_msg("reason \"%s\", want \"%s\"", reason, want);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void a_plain_mail_is_exactly_this(void **state)
{
    (void)state;
    struct buf out;
    assert_string_equal(build(&plain_spec, &plain_recipient, &out), "");
    assert_string_equal(out.data, "From: Mill <news@example.com>\r\n"
                                  "MIME-Version: 1.0\r\n"
                                  "To: ada@example.org\r\n"
                                  "Subject: Hello Ada\r\n"
                                  "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"
                                  "Message-ID: <1.2@example.com>\r\n"
                                  "Content-Type: text/plain; charset=UTF-8\r\n"
                                  "Content-Transfer-Encoding: quoted-printable\r\n"
                                  "\r\n"
                                  "Dear Ada\r\n");
    buf_fini(&out);
}

static void headers_are_what_the_table_says(void **state)
{
    (void)state;
    static const struct {
        struct message_spec spec;
        const char *want;
    } rows[] = {
        {{.reply_to = "a@b.c"}, "\r\nReply-To: a@b.c\r\n"},
        {{.to_name = "{{name}} L."}, "\r\nTo: \"Ada L.\" <ada@example.org>\r\n"},
        {{.to_name = " {{name}} "}, "\r\nTo: Ada <ada@example.org>\r\n"},
        {{.to_name = " "}, "\r\nTo: ada@example.org\r\n"},
        {{.subject = ""}, "\r\nSubject: \r\n"},
        {{.text = ""}, "\r\n\r\n"},
        {{.html = "{{x}}"}, "\r\n\r\na&amp;b\r\n--=_"},
        {{.html = "{{{x}}}"}, "\r\n\r\na&b\r\n--=_"},
        {{.text = "\xed\x95\x9c"}, "Encoding: base64\r\n\r\n7ZWc\r\n"},
        {{.list_unsubscribe = "https://u.example/?x={{x}}&y={{{x}}}"},
         "\r\nList-Unsubscribe: <https://u.example/?x=a%26b&y=a&b>\r\n"
         "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"},
        {{.list_unsubscribe = "mailto:u@b.c"},
         "\r\nList-Unsubscribe: <mailto:u@b.c>\r\nContent-Type"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message_spec spec = rows[i].spec;
        spec.from = plain_spec.from;
        if (!spec.subject) spec.subject = plain_spec.subject;
        if (!spec.text) spec.text = plain_spec.text;
        want_in_mail(&spec, &plain_recipient, rows[i].want);
    }
}

static void dates_are_as_rfc_5322_says(void **state)
{
    (void)state;
    struct message_recipient r = plain_recipient;
    r.date_s = 1709210096;
    want_in_mail(&plain_spec, &r, "\r\nDate: Thu, 29 Feb 2024 12:34:56 +0000\r\n");
    r.date_s = INT64_MAX;
    want_refused(&plain_spec, &r, "date");
}

static void a_variable_cannot_break_out_of_a_header(void **state)
{
    (void)state;
    static const char *const breaks[] = {"a\r\nBcc: x@y.z", "a\nb", "a\rb"};
    for (size_t i = 0; i < 3; i++) {
        struct value_field bad = {
            "x", 1, {.kind = VALUE_TEXT, .len = (uint32_t)strlen(breaks[i]), .text = breaks[i]}};
        struct value with = {.kind = VALUE_MAP, .len = 1, .fields = &bad};
        struct message_recipient r = plain_recipient;
        r.vars = &with;
        struct message_spec spec = plain_spec;
        spec.text = "x";
        spec.subject = "{{x}}";
        want_refused(&spec, &r, "subject holds a line break");
        spec.subject = "x";
        spec.to_name = "{{x}}";
        want_refused(&spec, &r, "to_name holds a line break");
        spec.to_name = NULL;
        spec.list_unsubscribe = "https://{{{x}}}";
        want_refused(&spec, &r, "URL holds a character");
        spec.list_unsubscribe = NULL;
        r.to = breaks[i];
        r.to_len = strlen(breaks[i]);
        want_refused(&spec, &r, "the address holds a line break");
        r = plain_recipient;
        r.message_id = breaks[i];
        want_refused(&plain_spec, &r, "message id");
    }
}

static void what_cannot_be_mailed_is_refused(void **state)
{
    (void)state;
    struct value_field bad[] = {{"nul", 3, {.kind = VALUE_TEXT, .len = 3, .text = "a\0b"}},
                                {"utf", 3, {.kind = VALUE_TEXT, .len = 2, .text = "a\xff"}},
                                {"map", 3, {.kind = VALUE_MAP}}};
    struct value with = {.kind = VALUE_MAP, .len = 3, .fields = bad};
    struct message_recipient r = plain_recipient;
    r.vars = &with;
    static const struct {
        const char *subject, *text, *want;
    } rows[] = {
        {"{{nul}}", "", "subject holds a NUL"},
        {"{{utf}}", "", "subject is not valid UTF-8"},
        {"{{gone}}", "", "variable gone is missing"},
        {"", "{{a.b}}", "variable a.b is missing"},
        {"", "{{utf}}", "variable utf is not valid UTF-8"},
        {"", "{{map}}", "variable map is not text"},
        {"", "\xed\x95\x9c{{map}}", "variable map is not text"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message_spec spec = plain_spec;
        spec.subject = rows[i].subject;
        spec.text = rows[i].text;
        want_refused(&spec, &r, rows[i].want);
    }
}

static void wrong_content_does_not_compile(void **state)
{
    (void)state;
    static const struct {
        struct message_spec spec;
        const char *want;
    } rows[] = {
        {{.subject = "s", .text = "t"}, "from is not given"},
        {{.from = "x", .subject = "s", .text = "t"}, "from: x is no mailbox"},
        {{.from = "a@b.c", .reply_to = "x", .subject = "s", .text = "t"}, "reply_to: "},
        {{.from = "a@b.c", .text = "t"}, "subject is not given"},
        {{.from = "a@b.c", .subject = "s\n", .text = "t"}, "subject: holds a line break"},
        {{.from = "a@b.c", .subject = "{{", .text = "t"}, "subject:1:1: "},
        {{.from = "a@b.c", .subject = "s"}, "neither text nor html"},
        {{.from = "a@b.c", .subject = "s", .text = "\n{{"}, "text:2:1: "},
        {{.from = "a@b.c", .subject = "s", .html = "{{", .html_name = "w.html"}, "w.html:1:1: "},
        {{.from = "a@b.c", .subject = "s", .text = "t", .list_unsubscribe = "{{u}}"}, "{{{x}}}"},
        {{.from = "a@b.c", .subject = "s", .text = "t", .list_unsubscribe = "http://a b"},
         "a character that a URL cannot have"},
        {{.from = "a@b.c", .subject = "s", .text = "t", .message_id_domain = "a b"},
         "message_id_domain: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message *m;
        struct err e = message_compile(&rows[i].spec, &m);
        if (e.code != ERR_CONFIG || !strstr(e.text, rows[i].want))
            fail_msg("want %s: %d %s", rows[i].want, e.code, e.text);
        assert_null(m);
    }
}

static void a_mail_past_the_maximum_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    struct message_spec spec = plain_spec;
    spec.html = "<p>{{name}}</p>";
    struct message *m;
    assert_int_equal(message_compile(&spec, &m).code, ERR_NONE);
    struct message_scratch scratch;
    message_scratch_init(&scratch, BIG);
    char reason[MESSAGE_REASON_SIZE];
    bool built = false;
    for (size_t max = 4; !built; max++) {
        struct buf out;
        buf_init(&out, max);
        buf_append_text(&out, "kept");
        built = message_build(m, &plain_recipient, &scratch, &out, reason, sizeof reason);
        assert_false(out.too_big);
        assert_memory_equal(out.data, "kept", 4);
        assert_int_equal(built, out.len > 4);
        if (!built) assert_non_null(strstr(reason, "larger than"));
        buf_fini(&out);
    }
    message_scratch_fini(&scratch);
    message_free(m);
}

static void the_message_id_domain_is_that_of_from(void **state)
{
    (void)state;
    struct message *m;
    struct message_spec spec = plain_spec;
    assert_int_equal(message_compile(&spec, &m).code, ERR_NONE);
    assert_string_equal(message_id_domain(m), "example.com");
    assert_string_equal(message_from(m), "news@example.com");
    message_free(m);
    spec.message_id_domain = "id.example";
    assert_int_equal(message_compile(&spec, &m).code, ERR_NONE);
    assert_string_equal(message_id_domain(m), "id.example");
    message_free(m);
}

static uint32_t seed = 5;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

/* Text that is awkward at joints, always non-ASCII for base64. */
static void random_text(struct buf *out, bool korean)
{
    static const char *const bits[] = {"\n", "\r\n", "\r",   ".", "F",     "From ", " ",
                                       "\t", "=",    "rom ", "a", "word ", "<&>",   "\xc3\xa9"};
    buf_reset(out);
    for (uint32_t n = random_below(20); n; n--) {
        const char *bit = bits[random_below(14)];
        for (uint32_t times = random_below(9) ? 1 : 90; times; times--) {
            buf_append_text(out, bit);
            if (korean) buf_append_text(out, "\xed\x95\x9c");
        }
    }
    buf_text(out);
}

/* The same with tags: variables, and sections about a list, a text, and nothing. */
static void random_template(struct buf *out, struct buf *piece, bool korean)
{
    static const char *const tags[] = {"{{x}}", "{{{y}}}", "{{z}}", "{{>p}}", "\n {{>p}}\n"};
    static const char *const sections[] = {"#list", "#z", "^z", "#gone", "^gone"};
    uint32_t opened[3], depth = 0;
    buf_reset(out);
    for (uint32_t n = random_below(8); n; n--) {
        random_text(piece, korean);
        buf_append(out, piece->data, piece->len);
        uint32_t what = random_below(9);
        if (what < 5) {
            buf_append_text(out, tags[what]);
        } else if (what < 7 && depth < 3) {
            opened[depth] = random_below(5);
            buf_append_format(out, "{{%s}}", sections[opened[depth++]]);
        } else if (depth) {
            buf_append_format(out, "{{/%s}}", sections[opened[--depth]] + 1);
        }
    }
    while (depth) buf_append_format(out, "{{/%s}}", sections[opened[--depth]] + 1);
    buf_text(out);
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static void decode_base64(const struct buf *in, struct buf *out)
{
    unsigned bits = 0, have = 0;
    for (size_t i = 0; i < in->len; i++) {
        int digit = base64_digit(in->data[i]);
        if (digit < 0) continue;
        bits = bits << 6 | (unsigned)digit;
        have += 6;
        if (have >= 8) buf_append_char(out, (char)(bits >> (have -= 8)));
    }
}

static void decode_qp(const struct buf *in, struct buf *out)
{
    for (size_t i = 0; i < in->len; i++) {
        char hex[3] = "";
        if (in->data[i] != '=') {
            buf_append_char(out, in->data[i]);
            continue;
        }
        memcpy(hex, in->data + i + 1, 2);
        i += 2;
        if (hex[0] != '\r') buf_append_char(out, (char)strtol(hex, NULL, 16));
    }
}

static void check_lines(const struct buf *b)
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

enum { BUFS = 9 };

/* One random template with random values: the part must decode to the rendered template. */
static void check_random_part(struct buf b[BUFS], bool korean)
{
    struct buf *text = &b[0], *out = &b[1], *spare = &b[2], *decoded = &b[3], *want = &b[4];
    for (size_t i = 1; i < 5; i++) buf_reset(&b[i]);
    struct value_field f[4];
    for (size_t i = 0; i < 3; i++) {
        random_text(&b[5 + i], false);
        f[i] = (struct value_field){
            (const char *[]){"x", "y", "z"}[i],
            1,
            {.kind = VALUE_TEXT, .len = (uint32_t)b[5 + i].len, .text = b[5 + i].data}};
    }
    struct value items[] = {{.kind = VALUE_MAP, .len = 1, .fields = &f[1]},
                            {.kind = VALUE_NULL},
                            {.kind = VALUE_MAP, .len = 3, .fields = f}};
    f[3] = (struct value_field){"list", 4, {.kind = VALUE_LIST, .len = 3, .items = items}};
    struct value with = {.kind = VALUE_MAP, .len = 4, .fields = f};
    random_text(&b[8], korean);
    buf_append_text(&b[8], "{{x}}\nthe partial's end");
    random_template(text, spare, korean);
    struct template_source source = {"t", text->data, text->len};
    struct template_source partial = {"p", b[8].data, b[8].len};
    struct template_partials partials = {&partial, 1};
    enum template_escape escape = random_below(2) ? TEMPLATE_HTML : TEMPLATE_PLAIN;
    struct mime_part *part;
    struct template *template;
    struct template_trouble trouble;
    assert_int_equal(mime_part_compile(&source, &partials, escape, &part).code, ERR_NONE);
    assert_int_equal(template_compile(&source, &partials, TEMPLATE_STRICT, &template).code,
                     ERR_NONE);
    assert_true(mime_part_build(part, &with, spare, out, &trouble));
    check_lines(out);
    if (strcmp(mime_part_encoding(part), "base64") == 0)
        decode_base64(out, decoded);
    else
        decode_qp(out, decoded);
    buf_reset(spare);
    assert_true(template_render(template, &with, escape, spare, &trouble));
    bool after_cr = false;
    encode_crlf(&after_cr, spare->data, spare->len, want);
    assert_int_equal(decoded->len, want->len);
    if (want->len) assert_memory_equal(decoded->data, want->data, want->len);
    template_free(template);
    mime_part_free(part);
}

static void parts_decode_to_the_rendered_template(void **state)
{
    (void)state;
    struct buf b[BUFS];
    for (size_t i = 0; i < BUFS; i++) buf_init(&b[i], BIG);
    for (int round = 0; round < 20000; round++) check_random_part(b, round % 2);
    for (size_t i = 0; i < BUFS; i++) buf_fini(&b[i]);
}

/* Any bytes at all, mostly awkward ones. */
static size_t random_bytes(char *text, size_t max)
{
    static const char odd[] = "\r\n\0\t .F=?<>@\"\\,;:ab\xed\x95\x9c\xff";
    size_t len = random_below((uint32_t)max);
    bool tame = random_below(3) > 0;
    for (size_t i = 0; i < len; i++)
        text[i] = tame ? (char)(' ' + random_below(95)) : odd[random_below(sizeof odd - 1)];
    return len;
}

static void check_mail_lines(const struct buf *b)
{
    assert_memory_equal(b->data + b->len - 2, "\r\n", 2);
    for (size_t at = 0; at < b->len;) {
        const char *line = b->data + at;
        const char *end = memmem(line, b->len - at, "\r\n", 2);
        assert_non_null(end);
        size_t len = (size_t)(end - line);
        assert_true(len <= 998);
        assert_false(len && line[0] == '.');
        for (size_t i = 0; i < len; i++) assert_false(strchr("\r\n", line[i]) || line[i] & 0x80);
        at += len + 2;
    }
}

static void any_values_make_a_sound_mail_or_a_reason(void **state)
{
    (void)state;
    struct message_spec spec = {.from = "A <a@b.c>",
                                .to_name = "{{x}}",
                                .subject = "{{x}} s {{y}}",
                                .text = "{{x}}\n{{y}}{{z}}",
                                .html = "<p>{{x}}{{{y}}}\r</p>{{z}}",
                                .list_unsubscribe = "https://u.example/{{x}}{{{z}}}"};
    struct message *m;
    assert_int_equal(message_compile(&spec, &m).code, ERR_NONE);
    struct message_scratch scratch;
    message_scratch_init(&scratch, BIG);
    struct buf out;
    buf_init(&out, BIG);
    int built = 0, refused = 0;
    for (int round = 0; round < 30000; round++) {
        char bytes[3][60], to[20], reason[MESSAGE_REASON_SIZE] = "";
        struct value_field f[3];
        for (size_t i = 0; i < 3; i++)
            f[i] =
                (struct value_field){(const char *[]){"x", "y", "z"}[i], 1, {.kind = VALUE_TEXT}};
        for (size_t i = 0; i < 3; i++) {
            f[i].value.len = (uint32_t)random_bytes(bytes[i], sizeof bytes[i]);
            f[i].value.text = bytes[i];
        }
        if (random_below(2)) f[2].value.len = 0;
        struct value with = {.kind = VALUE_MAP, .len = 3, .fields = f};
        struct message_recipient r = plain_recipient;
        r.vars = &with;
        if (random_below(4) == 0) {
            r.to = to;
            r.to_len = random_bytes(to, sizeof to);
        }
        buf_reset(&out);
        if (message_build(m, &r, &scratch, &out, reason, sizeof reason)) {
            check_mail_lines(&out);
            built++;
        } else {
            assert_true(reason[0] != '\0');
            assert_int_equal(out.len, 0);
            refused++;
        }
    }
    assert_true(built > 1000 && refused > 1000);
    buf_fini(&out);
    message_scratch_fini(&scratch);
    message_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_mail_is_exactly_this),
        cmocka_unit_test(headers_are_what_the_table_says),
        cmocka_unit_test(dates_are_as_rfc_5322_says),
        cmocka_unit_test(a_variable_cannot_break_out_of_a_header),
        cmocka_unit_test(what_cannot_be_mailed_is_refused),
        cmocka_unit_test(wrong_content_does_not_compile),
        cmocka_unit_test(a_mail_past_the_maximum_leaves_the_buffer_as_it_was),
        cmocka_unit_test(the_message_id_domain_is_that_of_from),
        cmocka_unit_test(parts_decode_to_the_rendered_template),
        cmocka_unit_test(any_values_make_a_sound_mail_or_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
