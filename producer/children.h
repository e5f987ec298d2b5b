/* Work in processes of its own, so that one run never waits for another. */
#ifndef MAILFLOCK_PRODUCER_CHILDREN_H
#define MAILFLOCK_PRODUCER_CHILDREN_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

enum { CHILDREN_MAX = 16 }; /* at work at a time */

struct children {
    pid_t pids[CHILDREN_MAX];
    unsigned n, failed;
    bool told_to_stop;
};

/* children_start: calls work(arg) in a new process, which ends with 0 where it answers true. Waits
 * while CHILDREN_MAX are at work. The child has a copy of all memory, must not use a connection of
 * its parent's, and is told to stop when the parent is, or is gone. */
struct err children_start(struct children *c, bool (*work)(const void *arg),
                          const void *arg) MUST_CHECK;

/* children_wait: until all have ended; the number of those that failed, over the whole life. */
unsigned children_wait(struct children *c);

#endif
