/* What cron's every minute is for (PROTOCOL P6). */
#ifndef MAILFLOCK_PRODUCER_DUE_H
#define MAILFLOCK_PRODUCER_DUE_H

#include "common/buf.h"
#include "common/settings.h"

/* due: starts what the campaigns' schedules ask for, goes on with every open run whose lock is
 * free, publishes overdue chunks again, and marks runs complete. Appends one line for each run it
 * worked on; the summaries of those it started are printed. Goes on with the next run after one
 * that failed; ERR_STATE counts those. */
struct err due(const struct settings *settings, struct buf *out) MUST_CHECK;

#endif
