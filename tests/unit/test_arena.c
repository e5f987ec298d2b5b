/* The arena: alignment, zeroes, its maximum. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/arena.h"

static void what_is_allocated_is_aligned_and_zeroed(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    for (size_t size = 1; size < 300; size++) {
        assert_non_null(arena_copy(&a, "odd", size % 3)); /* leaves the next one at an odd place */
        char *p = arena_alloc(&a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
    }
    arena_fini(&a);
}

static void allocations_do_not_overlap(void **state)
{
    (void)state;
    enum { N = 2000 };
    struct arena a;
    static char *at[N];
    arena_init(&a, 8 << 20);
    for (unsigned i = 0; i < N; i++) {
        size_t size = 1 + i * 7919 % 1500;
        at[i] = arena_alloc(&a, size);
        assert_non_null(at[i]);
        memset(at[i], (int)(i % 251), size);
    }
    for (unsigned i = 0; i < N; i++) {
        size_t size = 1 + i * 7919 % 1500;
        for (size_t k = 0; k < size; k++) assert_int_equal((unsigned char)at[i][k], i % 251);
    }
    arena_fini(&a);
}

static void a_copy_ends_in_a_nul_and_may_hold_any_byte(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 100);
    char *copy = arena_copy(&a, "a\0b", 3);
    assert_memory_equal(copy, "a\0b", 4);
    copy = arena_copy(&a, NULL, 0);
    assert_string_equal(copy, "");
    arena_fini(&a);
}

static void the_maximum_can_be_used_up_and_not_passed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t max, first, second;
        bool fits;
    } rows[] = {
        {"exactly", 100, 60, 40, true},
        {"one byte too many", 100, 60, 41, false},
        {"at once", 100, 0, 100, true},
        {"at once, one too many", 100, 0, 101, false},
        {"more than a block", 1 << 20, 0, 1 << 20, true},
        {"a size that would wrap around", 100, 1, SIZE_MAX, false},
        {"nothing, when all is used", 100, 100, 0, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        arena_init(&a, rows[i].max);
        assert_non_null(arena_alloc(&a, rows[i].first));
        void *p = arena_alloc(&a, rows[i].second);
        if (!p != !rows[i].fits) fail_msg("%s", rows[i].name);
        if (p) memset(p, 1, rows[i].second);
        arena_fini(&a);
    }
}

static void a_refused_copy_leaves_room_for_a_smaller_one(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 10);
    assert_null(arena_copy(&a, "0123456789", 10)); /* and its NUL */
    assert_string_equal(arena_copy(&a, "012345678", 9), "012345678");
    assert_null(arena_alloc(&a, 1));
    arena_fini(&a);
}

static void it_can_be_emptied_twice_and_used_again(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 200000);
    for (int round = 0; round < 3; round++) {
        assert_non_null(arena_alloc(&a, 100000));
        assert_non_null(arena_alloc(&a, 100000));
        assert_null(arena_alloc(&a, 1));
        arena_fini(&a);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_allocated_is_aligned_and_zeroed),
        cmocka_unit_test(allocations_do_not_overlap),
        cmocka_unit_test(a_copy_ends_in_a_nul_and_may_hold_any_byte),
        cmocka_unit_test(the_maximum_can_be_used_up_and_not_passed),
        cmocka_unit_test(a_refused_copy_leaves_room_for_a_smaller_one),
        cmocka_unit_test(it_can_be_emptied_twice_and_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
