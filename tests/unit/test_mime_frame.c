/* The multiparts of a mail and the files in them: exact bytes, and what is refused. Whether mail
 * programs read them is judged by tests/system/test_mime_oracle.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/mime.h"

enum { BIG = 16 << 20 };

static const struct message_recipient recipient = {
    .to = "ada@example.org", .to_len = 15, .message_id = "1.2@example.com"};

static struct err compile(const char *text, const char *html, const struct message_file *files,
                          size_t n_files, struct message **out)
{
    struct message_spec spec = {.from = "a@b.c",
                                .subject = "s",
                                .text = text,
                                .html = html,
                                .files = files,
                                .n_files = n_files};
    return message_compile(&spec, out);
}

/* The mail from its Content-Type on, files included, NUL-terminated; hashes replaced by #. */
static void build(const struct message *m, struct buf *out)
{
    char reason[MESSAGE_REASON_SIZE];
    struct message_scratch scratch;
    size_t files_len;
    buf_init(out, BIG);
    message_scratch_init(&scratch, BIG);
    assert_true(message_build(m, &recipient, &scratch, out, reason, sizeof reason));
    message_scratch_fini(&scratch);
    const char *files = message_files(m, &files_len);
    buf_append(out, files, files_len);
    const char *start = strstr(buf_text(out), "Content-Type:");
    out->len -= (size_t)(start - out->data);
    memmove(out->data, start, out->len + 1);
    char *to = out->data;
    for (const char *from = out->data; *from; from++) {
        bool hex = from > out->data && strspn(from, "0123456789abcdef") >= 16;
        *to++ = hex ? '#' : *from;
        if (hex) from += 15;
    }
    *to = '\0';
}

static void a_mail_with_everything_is_exactly_this(void **state)
{
    (void)state;
    static const struct message_file files[] = {{"terms.pdf", "%PDF", 4, false},
                                                {"logo.png", "\x89PNG", 4, true},
                                                {"a.txt", "\xc3\xa9", 2, false}};
    struct message *m;
    struct buf out;
    assert_int_equal(compile("text\n", "<p>html</p>", files, 3, &m).code, ERR_NONE);
    build(m, &out);
    assert_string_equal(out.data,
                        "Content-Type: multipart/mixed;\r\n boundary=\"=_m#\"\r\n"
                        "\r\n--=_m#\r\n"
                        "Content-Type: multipart/related; type=\"multipart/alternative\";\r\n"
                        " boundary=\"=_r#\"\r\n"
                        "\r\n--=_r#\r\n"
                        "Content-Type: multipart/alternative;\r\n boundary=\"=_#\"\r\n"
                        "\r\n--=_#\r\n"
                        "Content-Type: text/plain; charset=UTF-8\r\n"
                        "Content-Transfer-Encoding: quoted-printable\r\n"
                        "\r\ntext\r\n"
                        "\r\n--=_#\r\n"
                        "Content-Type: text/html; charset=UTF-8\r\n"
                        "Content-Transfer-Encoding: quoted-printable\r\n"
                        "\r\n<p>html</p>"
                        "\r\n--=_#--"
                        "\r\n--=_r#\r\n"
                        "Content-Type: image/png\r\n"
                        "Content-Transfer-Encoding: base64\r\n"
                        "Content-ID: <logo.png>\r\n"
                        "Content-Disposition: inline;\r\n filename=\"logo.png\"\r\n"
                        "\r\niVBORw=="
                        "\r\n--=_r#--"
                        "\r\n--=_m#\r\n"
                        "Content-Type: application/pdf\r\n"
                        "Content-Transfer-Encoding: base64\r\n"
                        "Content-Disposition: attachment;\r\n filename=\"terms.pdf\"\r\n"
                        "\r\nJVBERg=="
                        "\r\n--=_m#\r\n"
                        "Content-Type: text/plain; charset=UTF-8\r\n"
                        "Content-Transfer-Encoding: base64\r\n"
                        "Content-Disposition: attachment;\r\n filename=\"a.txt\"\r\n"
                        "\r\nw6k="
                        "\r\n--=_m#--\r\n");
    buf_fini(&out);
    message_free(m);
}

static void files_are_no_part_of_what_is_built_for_each(void **state)
{
    (void)state;
    static char bytes[100000];
    struct message_file file = {"a.bin", bytes, sizeof bytes, false};
    struct message *m;
    size_t with, none;
    assert_int_equal(compile("t", NULL, &file, 1, &m).code, ERR_NONE);
    assert_non_null(message_files(m, &with));
    assert_in_range(with, sizeof bytes * 4 / 3, sizeof bytes * 3 / 2);
    struct buf out;
    char reason[MESSAGE_REASON_SIZE];
    struct message_scratch scratch;
    buf_init(&out, 1000);
    message_scratch_init(&scratch, BIG);
    assert_true(message_build(m, &recipient, &scratch, &out, reason, sizeof reason));
    message_scratch_fini(&scratch);
    buf_fini(&out);
    message_free(m);
    assert_int_equal(compile("t", "h", NULL, 0, &m).code, ERR_NONE);
    message_files(m, &none);
    assert_int_equal(none, 0);
    message_free(m);
}

static void the_extension_decides_the_type(void **state)
{
    (void)state;
    static const struct {
        const char *name, *want;
    } rows[] = {
        {"a.pdf", "Content-Type: application/pdf\r\n"},
        {"a.b.PDF", "Content-Type: application/pdf\r\n"},
        {"a.JPeg", "Content-Type: image/jpeg\r\n"},
        {"a.ics", "Content-Type: text/calendar; charset=UTF-8\r\n"},
        {"a.xlsx",
         "Content-Type:\r\n application/vnd.openxmlformats-officedocument.spreadsheetml.sheet\r\n"},
        {"a.unknown", "Content-Type: application/octet-stream\r\n"},
        {"pdf", "Content-Type: application/octet-stream\r\n"},
        {"a.", "Content-Type: application/octet-stream\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message_file file = {rows[i].name, "x", 1, false};
        struct message *m;
        struct buf out;
        assert_int_equal(compile("t", NULL, &file, 1, &m).code, ERR_NONE);
        build(m, &out);
        if (!strstr(out.data, rows[i].want)) fail_msg("%s: %s", rows[i].name, out.data);
        buf_fini(&out);
        message_free(m);
    }
}

static void files_that_cannot_go_with_a_mail_are_refused(void **state)
{
    (void)state;
    static char large[MESSAGE_FILES_MAX];
    static const struct {
        struct message_file files[2];
        size_t n;
        bool no_html;
        enum err_code code;
        const char *want;
    } rows[] = {
        {{{"", "x", 1, false}}, 1, false, ERR_CONFIG, "1 to 255 bytes"},
        {{{"a/b.pdf", "x", 1, false}},
         1,
         false,
         ERR_CONFIG,
         "the file a/b.pdf: its name holds a slash"},
        {{{"a\r\nb.pdf", "x", 1, false}}, 1, false, ERR_CONFIG, "control character"},
        {{{"a\xff.pdf", "x", 1, false}}, 1, false, ERR_CONFIG, "not UTF-8"},
        {{{"a.pdf", "x", 1, true}}, 1, false, ERR_CONFIG, "an image's name ends with .png"},
        {{{"a", "x", 1, true}}, 1, false, ERR_CONFIG, "an image's name ends with .png"},
        {{{"a b.png", "x", 1, true}}, 1, false, ERR_CONFIG, "letters, digits"},
        {{{"a.png", "x", 1, true}}, 1, true, ERR_CONFIG, "no HTML to show an image"},
        {{{"a.png", "x", 1, true}, {"a.png", "y", 1, true}}, 2, false, ERR_CONFIG, "two files"},
        {{{"a.png", "x", 1, true}, {"a.png", "y", 1, false}}, 2, false, ERR_NONE, ""},
        {{{"a.png", large, sizeof large, true}}, 1, false, ERR_NONE, ""},
        {{{"a.png", large, sizeof large, true}, {"a.pdf", "x", 1, false}},
         2,
         false,
         ERR_TOO_BIG,
         "5242881 bytes together, at most 5242880"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message *m;
        struct err e = compile("t", rows[i].no_html ? NULL : "h", rows[i].files, rows[i].n, &m);
        if (e.code != rows[i].code || !strstr(e.text, rows[i].want))
            fail_msg("row %zu: %d %s", i, e.code, e.text);
        message_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mail_with_everything_is_exactly_this),
        cmocka_unit_test(files_are_no_part_of_what_is_built_for_each),
        cmocka_unit_test(the_extension_decides_the_type),
        cmocka_unit_test(files_that_cannot_go_with_a_mail_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
