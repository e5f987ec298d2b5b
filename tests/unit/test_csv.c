/* CSV and the headers of imports: what rows and fields are, and what is none, however the bytes
 * arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "console/csv.h"
#include "console/import_header.h"

/* What came out as one text: "1:a|b 2-3!problem 4:c": lines, then fields or the problem. */
static void append_row(struct csv *c, enum csv_result result, struct buf *out)
{
    if (out->len) buf_append_char(out, ' ');
    buf_append_format(out, "%d", (int)c->first_line);
    if (c->last_line != c->first_line) buf_append_format(out, "-%d", (int)c->last_line);
    if (result == CSV_BAD) {
        buf_append_format(out, "!%s", c->problem);
        return;
    }
    for (unsigned i = 0; i < c->n; i++) {
        struct csv_field f = csv_field(c, i);
        assert_int_equal(f.text[f.len], 0);
        buf_append_char(out, i ? '|' : ':');
        buf_append(out, f.text, f.len);
    }
}

/* Reads text in pieces of that many bytes. */
static void read_all(const char *text, size_t len, size_t piece, struct buf *out)
{
    struct csv c;
    enum csv_result result;
    csv_init(&c, ',');
    for (size_t at = 0;;) {
        while ((result = csv_next(&c)) == CSV_ROW || result == CSV_BAD) append_row(&c, result, out);
        if (result == CSV_END) break;
        size_t n = len - at < piece ? len - at : piece;
        csv_feed(&c, text + at, n);
        at += n;
    }
    csv_fini(&c);
}

#define BOM "\xef\xbb\xbf"
static const struct row {
    const char *name, *text, *want;
    size_t len; /* 0: up to the NUL */
} rows[] = {
    {"nothing", "", "", 0},
    {"one row", "a,b\n", "1:a|b", 0},
    {"no line end at the end", "a,b\nc,d", "1:a|b 2:c|d", 0},
    {"CRLF", "a,b\r\nc,d\r\n", "1:a|b 2:c|d", 0},
    {"both line ends", "a\r\nb\nc\r\n", "1:a 2:b 3:c", 0},
    {"empty fields", ",\n,,x\n", "1:| 2:||x", 0},
    {"empty fields at the end", "a,\nb,", "1:a| 2:b|", 0},
    {"empty lines are no rows", "\n\na\n\r\n\nb\n\n", "3:a 6:b", 0},
    {"a line of blanks is one", " \n", "1: ", 0},
    {"quotes", "\"a\",\"b,c\"\n", "1:a|b,c", 0},
    {"doubled quotes", "\"say \"\"no\"\"\",\"\"\"\"\n", "1:say \"no\"|\"", 0},
    {"empty quotes", "\"\"\n\"\",\"\"\n", "1: 2:|", 0},
    {"empty quotes before CRLF", "\"\"\r\n", "1:", 0},
    {"line breaks in quotes", "\"a\nb\",c\n\"d\r\n\r\ne\"\nf\n", "1-2:a\nb|c 3-5:d\r\n\r\ne 6:f",
     0},
    {"a CR in quotes", "\"a\rb\"\n", "1:a\rb", 0},
    {"quotes at the end of the file", "a,\"b\"", "1:a|b", 0},
    {"blanks are kept", " a , b \n", "1: a | b ", 0},
    {"UTF-8", "김민준,\"Zoë\"\n", "1:김민준|Zoë", 0},
    {"a byte order mark", BOM "a,b\n" BOM "c\n", "1:a|b 2:" BOM "c", 0},
    {"a byte order mark before quotes", BOM "\"a\"\n", "1:a", 0},
    {"half a byte order mark",
     "\xef\xbb"
     "a\nb\n",
     "1!the row is not UTF-8 2:b", 0},
    {"NUL", "a\0b,c\nd\n", "1!the row holds a NUL byte 2:d", 8},
    {"NUL at a field's begin", "\0,c\nd\n", "1!the row holds a NUL byte 2:d", 6},
    {"NUL in quotes", "\"a\0\n\",c\nd\n", "1-2!the row holds a NUL byte 3:d", 10},
    {"only NULs", "\0\0\0\n\0", "1!the row holds a NUL byte 2!the row holds a NUL byte", 5},
    {"not UTF-8", "caf\xe9,b\nc\n", "1!the row is not UTF-8 2:c", 0},
    {"half a character before a separator", "\xed\x95,\x9c\nc\n", "1!the row is not UTF-8 2:c", 0},
    {"a surrogate", "\xed\xa0\x80\nc\n", "1!the row is not UTF-8 2:c", 0},
    {"text behind a quote", "\"a\"b,\"c\nd\n",
     "1!the row has text behind a closing quote; a quote inside quotes is doubled 2:d", 0},
    {"a quote inside a field", "say \"no\",\"x\n\"y\"\n",
     "1!the row has a quote inside a field that does not begin with one 2:y", 0},
    {"a quote that swallows lines", "\"a,b\nc,\"d\ne,f\n",
     "1-2!the row has text behind a closing quote; a quote inside quotes is doubled 3:e|f", 0},
    {"a quote that is never closed", "x\n\"a,b\nc,d",
     "1:x 2-3!the row opens a quote that is never closed", 0},
    {"a quote at the very end", "a,\"", "1!the row opens a quote that is never closed", 0},
    {"a CR without LF", "a\rb\nc\n", "1!the row holds a CR without LF outside quotes 2:c", 0},
    {"two CRs", "a\r\r\nc\n", "1!the row holds a CR without LF outside quotes 2:c", 0},
    {"a CR at the very end", "a\r", "1!the row ends in a CR without LF", 0},
    {"a CR alone", "\r", "1!the row ends in a CR without LF", 0},
    {"other separators are text", "a;b\tc\n", "1:a;b\tc", 0},
};

static void reads(void **state)
{
    const struct row *row = *state;
    size_t len = row->len ? row->len : strlen(row->text);
    for (size_t piece = 1; piece <= len + 1; piece++) {
        struct buf got;
        buf_init(&got, 1 << 20);
        read_all(row->text, len, piece, &got);
        assert_string_equal(buf_text(&got), row->want);
        buf_fini(&got);
    }
}

/* A row of len bytes between two good ones; false where it is bad, and then for that reason only.
 */
static bool takes_row(size_t len, const char *before, const char *behind)
{
    char *text = mem_alloc(len + 100);
    size_t head = (size_t)snprintf(text, 50, "a\n%s", before);
    memset(text + head, 'x', len);
    size_t tail = (size_t)snprintf(text + head + len, 50, "%s\nc\n", behind);
    struct buf got;
    buf_init(&got, 2 * CSV_ROW_MAX);
    read_all(text, head + len + tail, 64 * 1024, &got);
    const char *out = buf_text(&got);
    bool taken = !strstr(out, "!");
    if (!taken) assert_string_equal(out, "1:a 2!the row has more than 1 MiB 3:c");
    buf_fini(&got);
    free(text);
    return taken;
}

static void a_row_has_its_maximum_and_not_a_byte_more(void **state)
{
    (void)state;
    static const struct {
        const char *before, *behind;
        size_t own; /* bytes of the row that are not x */
    } around[] = {{"", "", 1}, {"\"", "\"", 1}, {"k,\"", "\",v", 5}};
    for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
        size_t most = CSV_ROW_MAX - around[i].own;
        assert_true(takes_row(most, around[i].before, around[i].behind));
        assert_false(takes_row(most + 1, around[i].before, around[i].behind));
        assert_false(takes_row(10 * CSV_ROW_MAX, around[i].before, around[i].behind));
    }
}

static void a_row_has_at_most_1000_fields(void **state)
{
    (void)state;
    char text[2 * CSV_FIELDS_MAX + 8];
    for (unsigned n = CSV_FIELDS_MAX - 1; n <= CSV_FIELDS_MAX + 1; n++) {
        struct csv c;
        memset(text, ',', n - 1);
        memcpy(text + n - 1, "\nb", 3);
        csv_init(&c, ',');
        csv_feed(&c, text, n + 1);
        assert_int_equal(csv_next(&c), n > CSV_FIELDS_MAX ? CSV_BAD : CSV_ROW);
        if (n > CSV_FIELDS_MAX)
            assert_string_equal(c.problem, "the row has more than 1000 fields");
        else
            assert_int_equal(c.n, n);
        assert_int_equal(csv_next(&c), CSV_MORE);
        csv_feed(&c, NULL, 0);
        assert_int_equal(csv_next(&c), CSV_ROW);
        assert_string_equal(csv_field(&c, 0).text, "b");
        assert_int_equal(csv_next(&c), CSV_END);
        assert_int_equal(csv_next(&c), CSV_END);
        csv_fini(&c);
    }
}

static void the_separator_may_be_another(void **state)
{
    (void)state;
    struct csv c;
    csv_init(&c, ';');
    csv_feed(&c, "a,b;\"c;d\"\n", 10);
    assert_int_equal(csv_next(&c), CSV_ROW);
    assert_int_equal(c.n, 2);
    assert_string_equal(csv_field(&c, 0).text, "a,b");
    assert_string_equal(csv_field(&c, 1).text, "c;d");
    csv_fini(&c);
}

static void a_header_names_columns_or_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *problem; /* NULL: none */
        int id, email;
        const char *last; /* the last column's name */
    } headers[] = {
        {"email", NULL, -1, 0, "email"},
        {" ID ,\tEMail , Full Name ", NULL, 0, 1, "Full Name"},
        {"name,설명", NULL, -1, -1, "설명"},
        {"email,Email", "'email' is there twice", 0, 0, NULL},
        {"a,b,A", "column 3: the name 'A' is there twice", 0, 0, NULL},
        {"email,", "column 2: the name '' is empty", 0, 0, NULL},
        {"a.b", "has . ` { }", 0, 0, NULL},
        {"{{a}}", "has . ` { }", 0, 0, NULL},
        {"\"a\nb\"", "control character", 0, 0, NULL},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct csv c;
        struct import_header h;
        csv_init(&c, ',');
        csv_feed(&c, headers[i].text, strlen(headers[i].text));
        assert_int_equal(csv_next(&c), CSV_MORE);
        csv_feed(&c, NULL, 0);
        assert_int_equal(csv_next(&c), CSV_ROW);
        struct err e = import_header_read(&h, &c);
        if (headers[i].problem) {
            if (e.code != ERR_INPUT || !strstr(e.text, headers[i].problem))
                fail_msg("%s: %s", headers[i].text, e.text);
        } else {
            assert_string_equal(e.text, "");
            assert_int_equal(h.id, headers[i].id);
            assert_int_equal(h.email, headers[i].email);
            assert_string_equal(h.names[h.n - 1], headers[i].last);
        }
        import_header_fini(&h);
        csv_fini(&c);
    }
}

enum { ROWS = sizeof rows / sizeof *rows };

int main(void)
{
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(a_row_has_its_maximum_and_not_a_byte_more),
        cmocka_unit_test(a_row_has_at_most_1000_fields),
        cmocka_unit_test(the_separator_may_be_another),
        cmocka_unit_test(a_header_names_columns_or_is_refused),
    };
    static struct CMUnitTest tests[ROWS];
    for (int i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){rows[i].name, reads, NULL, NULL, (void *)&rows[i]};
    int failed = cmocka_run_group_tests_name("csv", plain, NULL, NULL);
    return failed + cmocka_run_group_tests_name("csv reads", tests, NULL, NULL);
}
