/* SMTP replies out of a byte stream, however the bytes come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "consumer/smtp_reply.h"

/* Adds every whole reply that is there as "code|enhanced|text\n"; false once it is garbage. */
static bool take_all(struct smtp_input *in, struct buf *got)
{
    struct reply r;
    for (;;) {
        enum smtp_found found = smtp_input_next(in, &r);
        if (found == SMTP_NEED_MORE) return true;
        if (found == SMTP_GARBAGE) {
            buf_append_text(got, "garbage\n");
            return false;
        }
        buf_append_format(got, "%d|%s|", r.code, r.enhanced);
        buf_append(got, r.text, r.text_len);
        buf_append_char(got, '\n');
    }
}

/* What comes of a stream whose reads bring up to step bytes each. */
static const char *read_stream(const char *stream, size_t len, size_t step, struct buf *got)
{
    static struct smtp_input in;
    smtp_input_reset(&in);
    buf_reset(got);
    while (len) {
        size_t room;
        char *to = smtp_input_room(&in, &room);
        assert_true(room > 0 && to + room == in.data + sizeof in.data);
        size_t n = len < step ? len : step;
        if (n > room) n = room;
        memcpy(to, stream, n);
        in.len += n;
        stream += n;
        len -= n;
        if (!take_all(&in, got)) break;
    }
    return buf_text(got);
}

static void replies_are_read_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *want;
    } rows[] = {
        {"one line", "250 Ok\r\n", "250||Ok\n"},
        {"code alone", "250\r\n", "250||\n"},
        {"code and blank", "354 \r\n", "354||\n"},
        {"line feed alone", "250 Ok\n", "250||Ok\n"},
        {"several at once", "250 a\r\n250 b\r\n354 c\r\n", "250||a\n250||b\n354||c\n"},
        {"multi-line: the last counts", "250-a\r\n250-b\r\n250 c\r\n", "250||c\n"},
        {"a hyphen and nothing", "250-\r\n250 \r\n", "250||\n"},
        {"a bare code ends it", "250-a\r\n250\r\n", "250||\n"},
        {"enhanced code", "550 5.1.1 no such user\r\n", "550|5.1.1|no such user\n"},
        {"enhanced code alone", "250 2.0.0\r\n", "250|2.0.0|\n"},
        {"enhanced code of the last line", "550-5.1.1 no\r\n550 5.7.1 such\r\n",
         "550|5.7.1|such\n"},
        {"two replies of several lines", "250-x\r\n250 y\r\n451-4.3.0 a\r\n451 4.3.0 b\r\n",
         "250||y\n451|4.3.0|b\n"},
        {"text of any bytes", "250 \xff\x01\"\r\n", "250||\xff\x01\"\n"},
        {"a carriage return inside", "250 a\rb\r\n", "250||a\rb\n"},
        {"two of them at the end", "250 a\r\r\n", "250||a\r\n"},
        {"the end is still to come", "250 a\r\n250 b", "250||a\n"},
        {"more lines are still to come", "250-a\r\n250-b\r\n", ""},
        {"lowest and highest code", "200 a\r\n599 b\r\n", "200||a\n599||b\n"},
        {"other code in a later line", "250-a\r\n251 b\r\n", "garbage\n"},
        {"after a good one", "250 a\r\nhello\r\n", "250||a\ngarbage\n"},
        {"no code", "hello\r\n", "garbage\n"},
        {"empty line", "\r\n", "garbage\n"},
        {"two digits", "25 Ok\r\n", "garbage\n"},
        {"four digits", "2500 Ok\r\n", "garbage\n"},
        {"a letter behind the code", "250Ok\r\n", "garbage\n"},
        {"a tab behind the code", "250\tOk\r\n", "garbage\n"},
        {"a blank in front", " 250 Ok\r\n", "garbage\n"},
        {"preliminary", "150 wait\r\n", "garbage\n"},
        {"past 5yz", "600 no\r\n", "garbage\n"},
        {"000", "000 no\r\n", "garbage\n"},
        {"a TLS record", "\x16\x03\x01\x02\n", "garbage\n"},
        {"HTTP", "HTTP/1.1 400 Bad Request\r\n", "garbage\n"},
    };
    struct buf got;
    buf_init(&got, 10000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t step = 1; step <= strlen(rows[i].input); step++) {
            const char *text = read_stream(rows[i].input, strlen(rows[i].input), step, &got);
            if (strcmp(text, rows[i].want) != 0)
                fail_msg("%s, %zu bytes a read: got %s", rows[i].name, step, text);
        }
    }
    buf_fini(&got);
}

/* A reply line of that many bytes before its line feed. */
static size_t long_line(char *out, size_t len)
{
    memset(out, 'x', len);
    memcpy(out, "250 ", 4);
    out[len - 1] = '\r';
    out[len] = '\n';
    return len + 1;
}

static void too_long_a_line_is_garbage_however_it_comes(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        bool good;
    } rows[] = {{SMTP_LINE_MAX - 1, true},  {SMTP_LINE_MAX, true},
                {SMTP_LINE_MAX + 1, false}, {SMTP_INPUT_SIZE - 1, false},
                {SMTP_INPUT_SIZE, false},   {3 * SMTP_INPUT_SIZE, false}};
    static const size_t steps[] = {1, 7, 512, SMTP_LINE_MAX, SMTP_INPUT_SIZE};
    static char line[3 * SMTP_INPUT_SIZE + 1];
    struct buf got;
    buf_init(&got, 100000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = long_line(line, rows[i].len);
        for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
            const char *text = read_stream(line, len, steps[k], &got);
            bool good = strcmp(text, "garbage\n") != 0;
            if (good != rows[i].good) fail_msg("%zu bytes, %zu a read", rows[i].len, steps[k]);
            if (good) assert_int_equal(strlen(text), strlen("250||\n") + rows[i].len - 5);
        }
    }
    buf_fini(&got);
}

static void a_long_line_behind_others_needs_no_more_room_than_one(void **state)
{
    (void)state;
    static char stream[3 * SMTP_LINE_MAX + 100];
    size_t len = 0;
    struct buf got;
    buf_init(&got, 100000);
    for (int i = 0; i < 3; i++) len += long_line(stream + len, SMTP_LINE_MAX);
    for (size_t step = 1; step < 6000; step += 777) {
        const char *text = read_stream(stream, len, step, &got);
        assert_int_equal(strlen(text), 3 * (strlen("250||\n") + SMTP_LINE_MAX - 5));
    }
    buf_fini(&got);
}

static void a_reply_has_at_most_a_hundred_lines(void **state)
{
    (void)state;
    char stream[2000];
    struct buf got;
    buf_init(&got, 10000);
    for (int lines = 99; lines <= 102; lines++) {
        size_t len = 0;
        for (int i = 1; i < lines; i++)
            len += (size_t)snprintf(stream + len, sizeof stream - len, "250-x\r\n");
        len += (size_t)snprintf(stream + len, sizeof stream - len, "250 y\r\n250 z\r\n");
        const char *want = lines <= SMTP_REPLY_LINES_MAX ? "250||y\n250||z\n" : "garbage\n";
        assert_string_equal(read_stream(stream, len, 100, &got), want);
    }
    buf_fini(&got);
}

static void a_nul_is_a_byte_like_others(void **state)
{
    (void)state;
    struct buf got;
    buf_init(&got, 1000);
    read_stream("250 a\0b\r\n\0", 10, 3, &got);
    assert_memory_equal(got.data, "250||a\0b\n", 9);
    assert_int_equal(got.len, 9);
    read_stream("\0\r\n", 3, 1, &got);
    assert_string_equal(buf_text(&got), "garbage\n");
    buf_fini(&got);
}

static void a_reset_input_forgets_half_a_reply(void **state)
{
    (void)state;
    struct smtp_input in;
    struct reply r;
    size_t room;
    smtp_input_reset(&in);
    memcpy(smtp_input_room(&in, &room), "250-a\r\n250-b", 12);
    in.len += 12;
    assert_int_equal(smtp_input_next(&in, &r), SMTP_NEED_MORE);
    smtp_input_reset(&in);
    memcpy(smtp_input_room(&in, &room), "421 c\r\n", 7);
    assert_int_equal(room, SMTP_INPUT_SIZE);
    in.len += 7;
    assert_int_equal(smtp_input_next(&in, &r), SMTP_REPLY);
    assert_int_equal(r.code, 421);
}

static void enhanced_codes_are_told_from_text(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        int code;
        const char *want;
        size_t used;
    } rows[] = {
        {"2.0.0 Ok", 250, "2.0.0", 6},
        {"5.1.1", 550, "5.1.1", 5},
        {"4.123.456 x", 450, "4.123.456", 10},
        {"5.1.10 null MX", 550, "5.1.10", 7},
        {"5.1.1  two blanks", 550, "5.1.1", 6},
        {"", 550, "", 0},
        {"5.1", 550, "", 0},
        {"5.1.", 550, "", 0},
        {"5..1 x", 550, "", 0},
        {"5.1.1x", 550, "", 0},
        {"5.1.1: no", 550, "", 0},
        {"5.1.1.1 x", 550, "", 0},
        {"5.1234.1 x", 550, "", 0},
        {"5.1.1234 x", 550, "", 0},
        {"4.1.1 other class", 550, "", 0},
        {"2.1.1 other class", 354, "", 0},
        {"55.1.1 x", 550, "", 0},
        {"192.0.2.1 is listed", 550, "", 0},
        {"5-1-1 x", 550, "", 0},
        {" 5.1.1 x", 550, "", 0},
        {"no such user", 550, "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[12] = "before";
        size_t len = strlen(rows[i].input);
        char *copy = malloc(len + 1); /* a read past the end is noticed under a sanitizer */
        assert_non_null(copy);
        memcpy(copy, rows[i].input, len);
        copy = realloc(copy, len ? len : 1);
        size_t used = smtp_enhanced_parse(copy, len, rows[i].code, out);
        if (used != rows[i].used || strcmp(out, rows[i].want) != 0)
            fail_msg("'%s': %zu, '%s'", rows[i].input, used, out);
        free(copy);
    }
}

/* The same stream, cut differently, gives the same replies. */
static void random_streams_do_not_depend_on_their_cuts(void **state)
{
    (void)state;
    static const char *const pieces[] = {"250",        "550",       " ", "-",    "\r\n",
                                         "\n",         "5.1.1 ",    "x", "\xff", "4",
                                         "250 Ok\r\n", "250-a\r\n", "99"};
    struct buf whole, cut;
    buf_init(&whole, 100000);
    buf_init(&cut, 100000);
    srand(31);
    for (int round = 0; round < 5000; round++) {
        char stream[400];
        size_t len = 0;
        for (int i = 0; i < 30; i++) {
            const char *piece = pieces[rand() % 4 ? 10 + rand() % 2 : rand() % 13];
            memcpy(stream + len, piece, strlen(piece));
            len += strlen(piece);
        }
        const char *want = read_stream(stream, len, len, &whole);
        const char *got = read_stream(stream, len, 1 + (size_t)rand() % 9, &cut);
        assert_string_equal(got, want);
    }
    buf_fini(&whole);
    buf_fini(&cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_read_in_pieces_of_any_size),
        cmocka_unit_test(too_long_a_line_is_garbage_however_it_comes),
        cmocka_unit_test(a_long_line_behind_others_needs_no_more_room_than_one),
        cmocka_unit_test(a_reply_has_at_most_a_hundred_lines),
        cmocka_unit_test(a_nul_is_a_byte_like_others),
        cmocka_unit_test(a_reset_input_forgets_half_a_reply),
        cmocka_unit_test(enhanced_codes_are_told_from_text),
        cmocka_unit_test(random_streams_do_not_depend_on_their_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
