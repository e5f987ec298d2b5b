/* mailflock-consumer: takes chunks, sends their mails, records every outcome. */
#ifndef MAILFLOCK_WORKER_H
#define MAILFLOCK_WORKER_H

#include "common/err.h"
#include "common/settings.h"

/* worker_run: returns after a signal on signal_fd (a signalfd; the signals are blocked), with what
 * was in flight committed and the rest given back; where that cannot be done in time the process
 * ends with 1. An error: it could not begin. Borrows both. */
struct err worker_run(const struct settings *settings, int signal_fd) MUST_CHECK;

#endif
