/* What the cache of runs keeps: the most recent ones, by number and by bytes, and those in use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/run.h"

enum { MIB = 1024 * 1024 };

/* A run that is in the cache at that place, of so many MiB. */
static struct run *put(struct run_cache *cache, int at, size_t mib)
{
    struct run *run = mem_alloc(sizeof *run);
    run->id = (uint64_t)at;
    run->refs = 1;
    run->bytes = mib * MIB;
    return cache->runs[at] = run;
}

static int count(const struct run_cache *cache)
{
    int n = 0;
    while (n < RUN_CACHE_SIZE && cache->runs[n]) n++;
    for (int i = n; i < RUN_CACHE_SIZE; i++) assert_null(cache->runs[i]);
    return n;
}

static void small_runs_are_kept_by_number(void **state)
{
    (void)state;
    struct run_cache cache = {0};
    for (int i = 0; i < RUN_CACHE_SIZE; i++) put(&cache, i, 1);
    run_cache_trim(&cache);
    assert_int_equal(count(&cache), RUN_CACHE_SIZE);
    run_cache_fini(&cache);
}

static void large_runs_are_kept_by_bytes_the_most_recent_first(void **state)
{
    (void)state;
    struct run_cache cache = {0};
    for (int i = 0; i < RUN_CACHE_SIZE; i++) put(&cache, i, 10);
    run_cache_trim(&cache);
    assert_int_equal(count(&cache), 3);
    for (int i = 0; i < 3; i++) assert_int_equal(cache.runs[i]->id, i);
    run_cache_fini(&cache);
}

static void the_most_recent_is_kept_however_large(void **state)
{
    (void)state;
    struct run_cache cache = {0};
    put(&cache, 0, 100);
    put(&cache, 1, 1);
    run_cache_trim(&cache);
    assert_int_equal(count(&cache), 1);
    run_cache_fini(&cache);
}

static void what_jobs_refer_to_stays_until_they_are_over(void **state)
{
    (void)state;
    struct run_cache cache = {0};
    struct run *used[2];
    for (int i = 0; i < RUN_CACHE_SIZE; i++) put(&cache, i, 20);
    for (int k = 0; k < 2; k++) used[k] = run_ref(cache.runs[4 + k]);
    run_cache_trim(&cache);
    assert_int_equal(count(&cache), 3);
    assert_ptr_equal(cache.runs[1], used[0]);
    assert_ptr_equal(cache.runs[2], used[1]);
    for (int k = 0; k < 2; k++) run_unref(used[k]);
    run_cache_trim(&cache);
    assert_int_equal(count(&cache), 1);
    run_cache_fini(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_runs_are_kept_by_number),
        cmocka_unit_test(large_runs_are_kept_by_bytes_the_most_recent_first),
        cmocka_unit_test(the_most_recent_is_kept_however_large),
        cmocka_unit_test(what_jobs_refer_to_stays_until_they_are_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
