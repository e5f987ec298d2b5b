/* The ledger thread: the only user of the database. It claims chunks, recovers what an earlier
 * claim left behind, commits outcomes and watermarks in groups, and ends attempts. */
#ifndef MAILFLOCK_LEDGER_H
#define MAILFLOCK_LEDGER_H

#include <pthread.h>
#include <stdint.h>

#include "common/db.h"
#include "common/db_clock.h"
#include "common/err.h"
#include "common/settings.h"
#include "consumer/queue.h"

struct ledger_config {
    const struct settings *settings;
    struct db_config db;
    const char *worker; /* name, shown as owner */
    struct queue *inbox, *to_sender, *to_broker;
    struct db_clock *clock; /* read by the ledger thread alone, asked by the sender too */
};

struct ledger;

/* ledger_start: takes the open connection and runs until NOTE_STOP came and no job is left. */
struct ledger *ledger_start(const struct ledger_config *config, struct db *db);
/* ledger_join: waits for the thread's end and frees. */
void ledger_join(struct ledger *l);

#endif
