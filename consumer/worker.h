/* mailflock-consumer: takes chunks, sends their mails, records every outcome. */
#ifndef MAILFLOCK_WORKER_H
#define MAILFLOCK_WORKER_H

#include "common/err.h"
#include "common/settings.h"

/* worker_run: returns after a signal that asks for the end, with what was in flight committed and
 * the rest given back; where that cannot be done in time the process ends with 1. An error: it
 * could not begin. Borrows the settings, and lowers the connections of transports
 * where too few open files are allowed for them. */
struct err worker_run(struct settings *settings) MUST_CHECK;

#endif
