/* The bounded buffer: nothing passes its maximum, whatever comes in what order. */
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

static void writes_add_up(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_string_equal(buf_text(&b), "");
    buf_append(&b, "ab", 2);
    buf_append_char(&b, 'c');
    buf_append_text(&b, "def");
    buf_append_format(&b, "%d-%s", 42, "x");
    buf_append_u64(&b, 0);
    buf_append_u64(&b, UINT64_MAX);
    buf_append(&b, NULL, 0);
    assert_string_equal(buf_text(&b), "abcdef42-x018446744073709551615");
    assert_int_equal(b.len, strlen("abcdef42-x018446744073709551615"));
    assert_false(b.too_big);
    assert_int_equal(buf_check(&b, "it").code, ERR_NONE);
    buf_fini(&b);
}

/* Each kind of write, of n bytes. */
static void write_bytes(struct buf *b, size_t n)
{
    char bytes[2000];
    memset(bytes, 'x', sizeof bytes);
    buf_append(b, bytes, n);
}

static void write_formatted(struct buf *b, size_t n)
{
    buf_append_format(b, "%*s", (int)n, "");
}

static void write_reserved(struct buf *b, size_t n)
{
    if (!buf_reserve(b, n)) return;
    if (n) memset(b->data + b->len, 'x', n);
    b->len += n;
}

static void write_after_text(struct buf *b, size_t n)
{
    buf_text(b);
    write_bytes(b, n);
}

static void (*const WRITES[])(struct buf *, size_t) = {write_bytes, write_formatted, write_reserved,
                                                       write_after_text};
enum { N_WRITES = sizeof WRITES / sizeof *WRITES };

static void the_maximum_can_be_filled_and_not_passed_by_any_write(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t max, first, second;
    } rows[] = {
        {"small", 4, 3, 1},
        {"small, at once", 4, 0, 4},
        {"one byte", 1, 0, 1},
        {"the first size of the buffer", 256, 200, 56},
        {"a format longer than its scratch", 300, 0, 300},
        {"the same behind something", 1000, 700, 300},
        {"large", 1500, 1, 1499},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int w = 0; w < N_WRITES; w++) {
            struct buf b;
            buf_init(&b, rows[i].max);
            WRITES[w](&b, rows[i].first);
            WRITES[w](&b, rows[i].second);
            if (b.too_big || b.len != rows[i].max)
                fail_msg("%s, write %d: %zu of %zu", rows[i].name, w, b.len, rows[i].max);
            WRITES[w](&b, 1);
            if (!b.too_big || b.len != rows[i].max)
                fail_msg("%s, write %d: %zu past %zu", rows[i].name, w, b.len, rows[i].max);
            buf_fini(&b);
        }
    }
}

static void asking_for_the_text_makes_no_room(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4);
    buf_append_text(&b, "abcd");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(buf_text(&b), "abcd");
        buf_append_char(&b, 'e');
        assert_int_equal(b.len, 4);
    }
    assert_true(b.too_big);
    buf_fini(&b);
}

static void after_a_write_that_did_not_fit_none_does(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_append_text(&b, "12345");
    buf_append_text(&b, "1234567");
    for (int w = 0; w < N_WRITES; w++) WRITES[w](&b, 1);
    buf_append_char(&b, 'x');
    buf_append_u64(&b, 1);
    assert_string_equal(buf_text(&b), "12345");
    struct err e = buf_check(&b, "a thing");
    assert_int_equal(e.code, ERR_TOO_BIG);
    assert_string_equal(e.text, "a thing is larger than 10 bytes");
    buf_fini(&b);
}

static void a_reset_buffer_takes_again_without_new_memory(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    write_bytes(&b, 1000);
    write_bytes(&b, 1);
    const char *data = b.data;
    buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_false(b.too_big);
    write_bytes(&b, 1000);
    assert_false(b.too_big);
    assert_ptr_equal(b.data, data);
    buf_fini(&b);
    assert_null(b.data);
}

static void sizes_that_would_wrap_around_are_refused(void **state)
{
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1, 101};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf b;
        buf_init(&b, 100);
        buf_append_text(&b, "some");
        assert_false(buf_reserve(&b, sizes[i]));
        assert_true(b.too_big);
        buf_fini(&b);
    }
}

static void a_buffer_of_no_bytes_takes_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_append(&b, "x", 0);
    assert_false(b.too_big);
    assert_string_equal(buf_text(&b), "");
    buf_append_char(&b, 'x');
    assert_true(b.too_big);
    assert_string_equal(buf_text(&b), "");
    buf_fini(&b);
}

/* Against a plain array: the same bytes, and never more than the maximum. */
static void random_writes_match_a_plain_array(void **state)
{
    (void)state;
    srand(4711);
    for (int round = 0; round < 500; round++) {
        static char want[4000];
        size_t len = 0, max = (size_t)rand() % 3000;
        bool too_big = false;
        struct buf b;
        buf_init(&b, max);
        for (int i = 0; i < 20; i++) {
            size_t n = (size_t)rand() % 400;
            int w = rand() % N_WRITES;
            WRITES[w](&b, n);
            if (n && len + n > max) too_big = true;
            if (too_big || !n) continue;
            memset(want + len, w == 1 ? ' ' : 'x', n);
            len += n;
        }
        assert_int_equal(b.too_big, too_big);
        assert_int_equal(b.len, len);
        if (len) assert_memory_equal(b.data, want, len);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_add_up),
        cmocka_unit_test(the_maximum_can_be_filled_and_not_passed_by_any_write),
        cmocka_unit_test(asking_for_the_text_makes_no_room),
        cmocka_unit_test(after_a_write_that_did_not_fit_none_does),
        cmocka_unit_test(a_reset_buffer_takes_again_without_new_memory),
        cmocka_unit_test(sizes_that_would_wrap_around_are_refused),
        cmocka_unit_test(a_buffer_of_no_bytes_takes_nothing),
        cmocka_unit_test(random_writes_match_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
