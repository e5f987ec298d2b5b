/* Starts the runs whose moment has come. */
#ifndef MAILFLOCK_PRODUCER_SCHEDULED_H
#define MAILFLOCK_PRODUCER_SCHEDULED_H

#include "common/db.h"
#include "common/settings.h"
#include "producer/children.h"

/* scheduled_start: looks at the schedules of all campaigns. What is due is published by children,
 * one for each campaign, which print their summaries themselves; what is too late is recorded as
 * missed. Goes on with the next campaign after one that is wrong; ERR_STATE counts those. */
struct err scheduled_start(const struct settings *settings, struct db *control,
                           struct children *children) MUST_CHECK;

#endif
