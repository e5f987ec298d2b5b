/* The broker thread: takes deliveries, passes them to the ledger as jobs, publishes what the ledger
 * asks for with confirms, and acks. Runs in the main thread. */
#ifndef MAILFLOCK_INTAKE_H
#define MAILFLOCK_INTAKE_H

#include <stdbool.h>

#include "common/broker.h"
#include "common/settings.h"
#include "consumer/queue.h"

struct intake_config {
    const struct settings *settings;
    struct broker_config broker;
    struct queue *inbox, *to_ledger;
    int signal_fd; /* of stop_signal_watch: stop */
};

/* intake_run: takes the open connection and returns after a signal, or when
 * database or broker refuse the login for good: once the ledger has given everything back, or when
 * the time for that is over. True: there was a signal, and nothing was left. */
bool intake_run(const struct intake_config *config, struct broker *broker);

#endif
