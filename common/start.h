/* What every program does first: reach the database and the broker, with patience. */
#ifndef MAILFLOCK_START_H
#define MAILFLOCK_START_H

#include "common/broker.h"
#include "common/db.h"
#include "common/err.h"
#include "common/settings.h"

/* start_db_config: the settings as db.h wants them; the texts stay borrowed from settings. */
struct db_config start_db_config(const struct settings *settings, const char *program);

/* start_db, start_broker: connect, trying again with jittered backoff until settings.start_limit
 * has passed since the first try; what waiting cannot mend (a wrong password) fails at once. Each
 * failed try is logged once as a warning. */
struct err start_db(const struct settings *settings, const struct db_config *config,
                    struct db **out) MUST_CHECK;
struct err start_broker(const struct settings *settings, const struct broker_config *config,
                        struct broker **out) MUST_CHECK;

/* start_broker_config: the settings as broker.h wants them. */
struct broker_config start_broker_config(const struct settings *settings, const char *name);

#endif
