/* Times counted by bounds, and how Prometheus reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/histogram.h"

static void a_time_counts_in_every_bucket_from_its_own_on(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        int bucket;
    } rows[] = {{-5, 0},    {0, 0},           {100, 0},         {101, 1},           {200, 1},
                {201, 2},   {1000, 3},        {999999999, 21},  {1500, 4},          {50000, 8},
                {50001, 9}, {1000000000, 21}, {1000000001, 22}, {INT64_MAX / 2, 22}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct histogram h = {0};
        histogram_observe(&h, rows[i].us);
        for (int k = 0; k <= HISTOGRAM_BOUNDS; k++)
            if (h.counts[k] != (k == rows[i].bucket ? 1u : 0u))
                fail_msg("%lld us, bucket %d: %lu", (long long)rows[i].us, k,
                         (unsigned long)h.counts[k]);
    }
}

static void the_page_is_cumulative_and_in_seconds(void **state)
{
    (void)state;
    struct histogram h = {0};
    struct buf b;
    buf_init(&b, 10000);
    histogram_observe(&h, 90);
    histogram_observe(&h, 150);
    histogram_observe(&h, 150);
    histogram_observe(&h, 2000000000);
    histogram_write(&h, "commit", "One.", &b);
    const char *page = buf_text(&b);
    static const char *const lines[] = {
        "# HELP mailflock_commit_seconds One.\n# TYPE mailflock_commit_seconds histogram\n",
        "\nmailflock_commit_seconds_bucket{le=\"0.0001\"} 1\n",
        "\nmailflock_commit_seconds_bucket{le=\"0.0002\"} 3\n",
        "\nmailflock_commit_seconds_bucket{le=\"1000\"} 3\n",
        "\nmailflock_commit_seconds_bucket{le=\"+Inf\"} 4\n",
        "\nmailflock_commit_seconds_sum 2000.000390\n",
        "\nmailflock_commit_seconds_count 4\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(page, lines[i])) fail_msg("no %s in\n%s", lines[i], page);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_counts_in_every_bucket_from_its_own_on),
        cmocka_unit_test(the_page_is_cumulative_and_in_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
