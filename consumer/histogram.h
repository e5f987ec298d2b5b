/* How long something takes, as Prometheus counts it: how often it took at most so long. Any thread
 * observes, the metrics endpoint reads. */
#ifndef MAILFLOCK_HISTOGRAM_H
#define MAILFLOCK_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/buf.h"

enum { HISTOGRAM_BOUNDS = 22 }; /* 100 us, 200 us, 500 us, 1 ms and so on to 1000 s */

struct histogram {
    atomic_ulong counts[HISTOGRAM_BOUNDS + 1]; /* the last: longer than every bound */
    atomic_ulong sum_us;
};

/* histogram_observe: a negative time, by clocks that disagree, counts as none. */
void histogram_observe(struct histogram *h, int64_t us);

/* histogram_write: appends mailflock_<name>_seconds in Prometheus' text format. */
void histogram_write(struct histogram *h, const char *name, const char *help, struct buf *out);

#endif
