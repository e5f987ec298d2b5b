/* The window of unconfirmed publishes and the assembly of messages from frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/broker_assembly.h"
#include "common/broker_window.h"

static void expect(struct broker_window *w, uint64_t want_tag, uint16_t want_refusal)
{
    uint64_t tag = 0;
    uint16_t refusal = 0xffff;
    assert_true(broker_window_take(w, &tag, &refusal));
    assert_int_equal(tag, want_tag);
    assert_int_equal(refusal, want_refusal);
}

static void expect_nothing(struct broker_window *w)
{
    uint64_t tag;
    uint16_t refusal;
    assert_false(broker_window_take(w, &tag, &refusal));
}

static void fill(struct broker_window *w, uint32_t size, int n)
{
    broker_window_init(w, size);
    for (int i = 1; i <= n; i++) assert_int_equal(broker_window_add(w, (uint64_t)i), i);
}

static void ack_gives_its_tag_once(void **state)
{
    (void)state;
    struct broker_window w;
    fill(&w, 4, 2);
    expect_nothing(&w);
    assert_true(broker_window_resolve(&w, 2, false, true));
    expect(&w, 2, BROKER_WINDOW_CONFIRMED);
    expect_nothing(&w);
    assert_int_equal(w.waiting, 1);
    broker_window_fini(&w);
}

static void multiple_ack_gives_every_open_tag_up_to_it(void **state)
{
    (void)state;
    struct broker_window w;
    fill(&w, 8, 5);
    assert_true(broker_window_resolve(&w, 2, false, false));
    assert_true(broker_window_resolve(&w, 4, true, true));
    expect(&w, 2, BROKER_WINDOW_NACKED);
    expect(&w, 1, BROKER_WINDOW_CONFIRMED);
    expect(&w, 3, BROKER_WINDOW_CONFIRMED);
    expect(&w, 4, BROKER_WINDOW_CONFIRMED);
    expect_nothing(&w);
    assert_int_equal(w.waiting, 1);
    broker_window_fini(&w);
}

static void multiple_ack_of_zero_means_all(void **state)
{
    (void)state;
    struct broker_window w;
    fill(&w, 8, 3);
    assert_true(broker_window_resolve(&w, 0, true, true));
    for (uint64_t tag = 1; tag <= 3; tag++) expect(&w, tag, BROKER_WINDOW_CONFIRMED);
    expect_nothing(&w);
    broker_window_fini(&w);
}

static void ack_of_a_returned_message_is_a_refusal(void **state)
{
    (void)state;
    struct broker_window w;
    fill(&w, 4, 3);
    assert_true(broker_window_return(&w, 2, 312));
    expect_nothing(&w);
    assert_true(broker_window_resolve(&w, 3, true, true));
    expect(&w, 1, BROKER_WINDOW_CONFIRMED);
    expect(&w, 2, 312);
    expect(&w, 3, BROKER_WINDOW_CONFIRMED);
    broker_window_fini(&w);
}

static void returns_of_one_id_published_twice_go_to_the_oldest_first(void **state)
{
    (void)state;
    struct broker_window w;
    broker_window_init(&w, 4);
    for (int i = 0; i < 3; i++) broker_window_add(&w, 7);
    assert_true(broker_window_return(&w, 7, 312));
    assert_true(broker_window_return(&w, 7, 312));
    assert_true(broker_window_resolve(&w, 0, true, true));
    expect(&w, 1, 312);
    expect(&w, 2, 312);
    expect(&w, 3, BROKER_WINDOW_CONFIRMED);
    broker_window_fini(&w);
}

static void answers_for_unknown_tags_are_refused(void **state)
{
    (void)state;
    struct broker_window w;
    fill(&w, 4, 2);
    assert_false(broker_window_resolve(&w, 3, false, true));
    assert_false(broker_window_resolve(&w, 3, true, true));
    assert_false(broker_window_resolve(&w, 0, false, true));
    assert_false(broker_window_return(&w, 99, 312));
    assert_true(broker_window_resolve(&w, 1, false, true));
    assert_false(broker_window_resolve(&w, 1, false, true));
    assert_false(broker_window_resolve(&w, 1, false, false));
    expect(&w, 1, BROKER_WINDOW_CONFIRMED);
    assert_false(broker_window_resolve(&w, 1, false, true));
    expect_nothing(&w);
    broker_window_fini(&w);
}

static void zero_multiple_on_an_empty_window_is_refused(void **state)
{
    (void)state;
    struct broker_window w;
    fill(&w, 4, 0);
    assert_false(broker_window_resolve(&w, 0, true, true));
    broker_window_fini(&w);
}

static void window_is_full_until_its_oldest_is_taken(void **state)
{
    (void)state;
    struct broker_window w;
    fill(&w, 3, 3);
    assert_true(broker_window_full(&w));
    assert_true(broker_window_resolve(&w, 2, false, true));
    expect(&w, 2, BROKER_WINDOW_CONFIRMED);
    assert_true(broker_window_full(&w));
    assert_true(broker_window_resolve(&w, 1, false, true));
    assert_true(broker_window_full(&w));
    expect(&w, 1, BROKER_WINDOW_CONFIRMED);
    assert_false(broker_window_full(&w));
    assert_int_equal(w.oldest, 3);
    broker_window_fini(&w);
}

/* Against a plain list of what is open, with answers in random order and width. */
static void oldest_is_the_first_that_the_broker_has_not_answered(void **state)
{
    (void)state;
    struct broker_window w;
    uint64_t tag = 0;
    int64_t sent_us = 0;
    fill(&w, 4, 0);
    assert_false(broker_window_oldest(&w, &tag, &sent_us));
    for (int i = 1; i <= 3; i++) broker_window_sent(&w, broker_window_add(&w, 7), 100 * i);
    assert_true(broker_window_oldest(&w, &tag, &sent_us));
    assert_int_equal(tag, 1);
    assert_int_equal(sent_us, 100);
    broker_window_resolve(&w, 1, false, true); /* answered, and not taken yet */
    assert_true(broker_window_oldest(&w, &tag, &sent_us));
    assert_int_equal(tag, 2);
    assert_int_equal(sent_us, 200);
    broker_window_resolve(&w, 3, true, true);
    assert_false(broker_window_oldest(&w, &tag, &sent_us));
    broker_window_fini(&w);
}

static void long_random_use_gives_each_tag_exactly_once(void **state)
{
    (void)state;
    enum { SIZE = 13, TAGS = 20000 };
    static unsigned char given[TAGS + 1];
    struct broker_window w;
    broker_window_init(&w, SIZE);
    uint32_t random = 1;
    uint64_t tag = 0;
    uint16_t refusal;
    int given_count = 0;
    while (given_count < TAGS) {
        random = random * 1664525 + 1013904223;
        if (tag < TAGS && !broker_window_full(&w) && random >> 31) tag = broker_window_add(&w, 5);
        uint64_t target = tag > SIZE ? tag - (random >> 8) % SIZE : tag;
        broker_window_resolve(&w, target, (random >> 20) % 3 == 0, true);
        if ((random >> 24) % 2) continue;
        uint64_t out;
        while (broker_window_take(&w, &out, &refusal)) {
            assert_in_range(out, 1, tag);
            assert_int_equal(given[out], 0);
            given[out] = 1;
            given_count++;
        }
    }
    assert_int_equal(w.waiting, 0);
    broker_window_fini(&w);
}

static void key_tells_the_parts_apart(void **state)
{
    (void)state;
    uint64_t key = broker_window_key("a", "b", "c");
    assert_true(key == broker_window_key("a", "b", "c"));
    assert_true(key != broker_window_key("ab", "", "c"));
    assert_true(key != broker_window_key("a", "bc", ""));
    assert_true(key != broker_window_key("a", "b", "d"));
}

static void body_of_one_frame_is_borrowed(void **state)
{
    (void)state;
    struct broker_assembly a;
    broker_assembly_init(&a, 10);
    const char *frame = "hello";
    assert_int_equal(broker_assembly_begin(&a), ASSEMBLY_MORE);
    assert_int_equal(broker_assembly_header(&a, 5), ASSEMBLY_MORE);
    assert_int_equal(broker_assembly_add(&a, frame, 5), ASSEMBLY_DONE);
    assert_ptr_equal(a.body, frame);
    broker_assembly_fini(&a);
}

static void body_of_several_frames_is_joined(void **state)
{
    (void)state;
    struct broker_assembly a;
    broker_assembly_init(&a, 10);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(broker_assembly_begin(&a), ASSEMBLY_MORE);
        assert_int_equal(broker_assembly_header(&a, 10), ASSEMBLY_MORE);
        assert_int_equal(broker_assembly_add(&a, "0123", 4), ASSEMBLY_MORE);
        assert_int_equal(broker_assembly_add(&a, "", 0), ASSEMBLY_MORE);
        assert_int_equal(broker_assembly_add(&a, "456789", 6), ASSEMBLY_DONE);
        assert_memory_equal(a.body, "0123456789", 10);
        assert_int_equal(a.size, 10);
    }
    broker_assembly_fini(&a);
}

static void empty_body_is_complete_with_its_header(void **state)
{
    (void)state;
    struct broker_assembly a;
    broker_assembly_init(&a, 10);
    assert_int_equal(broker_assembly_begin(&a), ASSEMBLY_MORE);
    assert_int_equal(broker_assembly_header(&a, 0), ASSEMBLY_DONE);
    assert_non_null(a.body);
    assert_int_equal(a.size, 0);
    broker_assembly_fini(&a);
}

static void body_past_the_maximum_is_drained(void **state)
{
    (void)state;
    struct broker_assembly a;
    broker_assembly_init(&a, 10);
    assert_int_equal(broker_assembly_begin(&a), ASSEMBLY_MORE);
    assert_int_equal(broker_assembly_header(&a, 11), ASSEMBLY_MORE);
    assert_int_equal(broker_assembly_add(&a, "0123456789", 10), ASSEMBLY_MORE);
    assert_int_equal(broker_assembly_add(&a, "x", 1), ASSEMBLY_DONE);
    assert_null(a.body);
    assert_int_equal(a.size, 11);
    assert_int_equal(a.whole.cap, 0);
    broker_assembly_fini(&a);
}

static void frames_out_of_place_are_bad(void **state)
{
    (void)state;
    struct broker_assembly a;
    broker_assembly_init(&a, 10);
    assert_int_equal(broker_assembly_add(&a, "x", 1), ASSEMBLY_BAD);
    assert_int_equal(broker_assembly_header(&a, 1), ASSEMBLY_BAD);
    assert_int_equal(broker_assembly_begin(&a), ASSEMBLY_MORE);
    assert_int_equal(broker_assembly_begin(&a), ASSEMBLY_BAD);
    assert_int_equal(broker_assembly_add(&a, "x", 1), ASSEMBLY_BAD);
    assert_int_equal(broker_assembly_header(&a, 2), ASSEMBLY_MORE);
    assert_int_equal(broker_assembly_header(&a, 2), ASSEMBLY_BAD);
    assert_int_equal(broker_assembly_add(&a, "abc", 3), ASSEMBLY_BAD);
    broker_assembly_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ack_gives_its_tag_once),
        cmocka_unit_test(multiple_ack_gives_every_open_tag_up_to_it),
        cmocka_unit_test(multiple_ack_of_zero_means_all),
        cmocka_unit_test(ack_of_a_returned_message_is_a_refusal),
        cmocka_unit_test(returns_of_one_id_published_twice_go_to_the_oldest_first),
        cmocka_unit_test(answers_for_unknown_tags_are_refused),
        cmocka_unit_test(zero_multiple_on_an_empty_window_is_refused),
        cmocka_unit_test(window_is_full_until_its_oldest_is_taken),
        cmocka_unit_test(oldest_is_the_first_that_the_broker_has_not_answered),
        cmocka_unit_test(long_random_use_gives_each_tag_exactly_once),
        cmocka_unit_test(key_tells_the_parts_apart),
        cmocka_unit_test(body_of_one_frame_is_borrowed),
        cmocka_unit_test(body_of_several_frames_is_joined),
        cmocka_unit_test(empty_body_is_complete_with_its_header),
        cmocka_unit_test(body_past_the_maximum_is_drained),
        cmocka_unit_test(frames_out_of_place_are_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
