/* The ledger's tables, as numbered migrations. `mailflock init` applies them; every program checks
 * at start that the database has what it was built for. */
#ifndef MAILFLOCK_SCHEMA_H
#define MAILFLOCK_SCHEMA_H

#include <stdbool.h>

#include "common/db.h"
#include "common/err.h"

/* schema_migrate: applies what is missing, in order, under a lock; *applied counts. Idempotent, and
 * goes on where one that was interrupted stopped. */
struct err schema_migrate(struct db *db, int *applied) MUST_CHECK;

/* schema_check: ERR_STATE with what to do where the tables are missing or too old; a newer schema
 * is refused too. ERR_DB where the database does not answer. */
struct err schema_check(struct db *db) MUST_CHECK;

/* schema_has_table: whether a table of that name is Mailflock's own, whatever the case. */
bool schema_has_table(const char *name);

#endif
