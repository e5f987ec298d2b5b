/* What a run would do, without doing it. */
#ifndef MAILFLOCK_PRODUCER_DRY_RUN_H
#define MAILFLOCK_PRODUCER_DRY_RUN_H

#include "common/buf.h"
#include "producer/run.h"

/* dry_run: reads and counts the whole audience, appends the first recipient's mail as it would
 * leave, and a summary line. Writes nothing anywhere and asks nothing of the broker. */
struct err dry_run(const struct run_request *request, struct buf *out) MUST_CHECK;

#endif
