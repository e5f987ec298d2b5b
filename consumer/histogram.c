/* Times counted by bounds of 1, 2 and 5 in each decade. Counts are relaxed atomics: a page written
 * while others count may be a few behind, but no bucket of it is above its total. */
#include "consumer/histogram.h"

static const int64_t BOUNDS_US[HISTOGRAM_BOUNDS] = {
    100,      200,      500,       1000,      2000,      5000,       10000,   20000,
    50000,    100000,   200000,    500000,    1000000,   2000000,    5000000, 10000000,
    20000000, 50000000, 100000000, 200000000, 500000000, 1000000000,
};

void histogram_observe(struct histogram *h, int64_t us)
{
    int i = 0;
    if (us < 0) us = 0;
    while (i < HISTOGRAM_BOUNDS && us > BOUNDS_US[i]) i++;
    atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, (unsigned long)us, memory_order_relaxed);
}

void histogram_write(struct histogram *h, const char *name, const char *help, struct buf *out)
{
    unsigned long total = 0;
    buf_append_format(out,
                      "# HELP mailflock_%s_seconds %s\n# TYPE mailflock_%s_seconds histogram\n",
                      name, help, name);
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        total += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        buf_append_format(out, "mailflock_%s_seconds_bucket{le=\"%g\"} %lu\n", name,
                          (double)BOUNDS_US[i] / 1e6, total);
    }
    total += atomic_load_explicit(&h->counts[HISTOGRAM_BOUNDS], memory_order_relaxed);
    buf_append_format(out, "mailflock_%s_seconds_bucket{le=\"+Inf\"} %lu\n", name, total);
    buf_append_format(out, "mailflock_%s_seconds_sum %.6f\nmailflock_%s_seconds_count %lu\n", name,
                      (double)atomic_load_explicit(&h->sum_us, memory_order_relaxed) / 1e6, name,
                      total);
}
