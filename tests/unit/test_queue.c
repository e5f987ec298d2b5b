/* The queues between the threads: nothing is lost, nothing overtakes, nobody sleeps on a note, and
 * nobody is woken for nothing for ever. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "consumer/queue.h"

static bool readable(const struct queue *q)
{
    struct pollfd p = {.fd = queue_fd(q), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void push(struct queue *q, uint32_t n)
{
    queue_push(q, (struct note){.kind = NOTE_OUTCOME, .index = n, .value = n * 3, .arg = ~n});
}

/* Pops up to max notes, which must be from, from + 1 ...; returns how many. */
static size_t pop(struct queue *q, size_t max, uint32_t from)
{
    struct note notes[64];
    assert_true(max <= 64);
    size_t n = queue_pop(q, notes, max);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(notes[i].kind, NOTE_OUTCOME);
        assert_int_equal(notes[i].index, from + i);
        assert_int_equal(notes[i].value, notes[i].index * 3);
        assert_int_equal(notes[i].arg, ~notes[i].index);
    }
    return n;
}

static void notes_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct queue *q = queue_new(10);
    assert_int_equal(pop(q, 64, 0), 0);
    for (uint32_t i = 0; i < 10; i++) push(q, i);
    assert_int_equal(pop(q, 3, 0), 3);
    assert_int_equal(pop(q, 64, 3), 7);
    assert_int_equal(pop(q, 64, 0), 0);
    queue_free(q);
    queue_free(NULL);
}

static void a_ring_wraps_around_at_every_place(void **state)
{
    (void)state;
    for (size_t capacity = 1; capacity <= 9; capacity++) {
        struct queue *q = queue_new(capacity);
        uint32_t in = 0, out = 0;
        srand((unsigned)capacity);
        for (int round = 0; round < 2000; round++) {
            uint32_t waiting = in - out;
            for (size_t n = (size_t)rand() % (capacity - waiting + 1); n; n--) push(q, in++);
            out += (uint32_t)pop(q, (size_t)rand() % (capacity + 1), out);
        }
        out += (uint32_t)pop(q, capacity, out);
        assert_int_equal(in, out);
        queue_free(q);
    }
}

static void it_is_readable_while_notes_wait(void **state)
{
    (void)state;
    struct queue *q = queue_new(10);
    assert_false(readable(q));
    push(q, 0);
    assert_true(readable(q));
    push(q, 1);
    push(q, 2);
    pop(q, 2, 0);
    assert_true(readable(q));
    pop(q, 2, 2);
    assert_false(readable(q));
    pop(q, 2, 0);
    assert_false(readable(q));
    push(q, 3);
    assert_true(readable(q));
    pop(q, 1, 3); /* exactly all */
    assert_false(readable(q));
    queue_free(q);
}

static void a_wait_ends_with_a_note_or_with_its_time(void **state)
{
    (void)state;
    struct queue *q = queue_new(10);
    int64_t before = clock_boot_us();
    queue_wait(q, 0);
    queue_wait(q, 20);
    int64_t waited = clock_boot_us() - before;
    assert_true(waited >= 19000);
    push(q, 0);
    queue_wait(q, -1); /* or this would never end */
    queue_free(q);
}

static void a_full_queue_is_a_broken_invariant(void **state)
{
    (void)state;
    int ends[2], status;
    char said[200] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        struct queue *q = queue_new(3);
        for (uint32_t i = 0; i < 4; i++) push(q, i);
        _exit(0);
    }
    close(ends[1]);
    assert_true(read(ends[0], said, sizeof said - 1) > 0);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(said, "capacity=3"));
}

/* Four threads push; one pops. The room is bounded by what the threads may have outstanding. */
enum { WRITERS = 4, EACH = 4000, OUTSTANDING = 50 };
static atomic_int outstanding[WRITERS];
static struct queue *shared;

static void *write_notes(void *arg)
{
    uint32_t who = (uint32_t)(uintptr_t)arg;
    for (uint32_t i = 0; i < EACH; i++) {
        while (atomic_load(&outstanding[who]) >= OUTSTANDING) sched_yield();
        atomic_fetch_add(&outstanding[who], 1);
        queue_push(shared, (struct note){.kind = NOTE_OUTCOME, .index = i, .value = who});
        if (i % 499 == 0) clock_sleep_ms(1); /* lets the reader go to sleep */
    }
    return NULL;
}

static void threads_lose_nothing_and_keep_the_order_of_each(void **state)
{
    (void)state;
    pthread_t threads[WRITERS];
    uint32_t next[WRITERS] = {0}, left = WRITERS * EACH;
    shared = queue_new(WRITERS * OUTSTANDING);
    for (uintptr_t i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_notes, (void *)i);
    while (left) {
        struct note notes[64];
        queue_wait(shared, -1); /* a note that came and woke nobody would make it the last one */
        size_t n = queue_pop(shared, notes, 1 + left % 64);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(notes[i].index, next[notes[i].value]++);
            atomic_fetch_sub(&outstanding[notes[i].value], 1);
        }
        left -= (uint32_t)n;
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    queue_pop(shared, &(struct note){0}, 1);
    assert_false(readable(shared));
    queue_free(shared);
}

static atomic_uint go;

static void *push_when_told(void *arg)
{
    (void)arg;
    for (unsigned i = 1; i <= EACH; i++) {
        while (atomic_load(&go) < i) sched_yield();
        push(shared, i);
    }
    return NULL;
}

/* A note may be taken before the push that brought it has written its wake-up. */
static void a_wake_up_that_comes_late_wakes_once(void **state)
{
    (void)state;
    pthread_t thread;
    shared = queue_new(4);
    pthread_create(&thread, NULL, push_when_told, NULL);
    for (uint32_t i = 1; i <= EACH; i++) {
        atomic_store(&go, i);
        while (!pop(shared, 1, i)) sched_yield();
    }
    pthread_join(thread, NULL);
    assert_int_equal(pop(shared, 1, 0), 0);
    assert_false(readable(shared));
    queue_free(shared);
}

/* The same, with the late write made by hand. */
static void an_empty_queue_that_is_readable_is_so_once(void **state)
{
    (void)state;
    struct queue *q = queue_new(4);
    uint64_t one = 1;
    assert_int_equal(write(queue_fd(q), &one, sizeof one), sizeof one);
    assert_true(readable(q));
    assert_int_equal(pop(q, 4, 0), 0);
    assert_false(readable(q));
    push(q, 7);
    assert_true(readable(q));
    queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_come_out_as_they_went_in),
        cmocka_unit_test(a_ring_wraps_around_at_every_place),
        cmocka_unit_test(it_is_readable_while_notes_wait),
        cmocka_unit_test(a_wait_ends_with_a_note_or_with_its_time),
        cmocka_unit_test(a_full_queue_is_a_broken_invariant),
        cmocka_unit_test(threads_lose_nothing_and_keep_the_order_of_each),
        cmocka_unit_test(a_wake_up_that_comes_late_wakes_once),
        cmocka_unit_test(an_empty_queue_that_is_readable_is_so_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
