/* Statements and transactions that lose against other transactions' locks now and then. */
#ifndef MAILFLOCK_DB_AGAIN_H
#define MAILFLOCK_DB_AGAIN_H

#include "common/db.h"

/* db_again: db_exec outside a transaction, repeated a few times after a deadlock or lock wait. */
struct err db_again(struct db *db, const struct buf *sql, uint64_t *matched) MUST_CHECK;

/* db_transaction: step in a transaction of its own, which ends with COMMIT, or with ROLLBACK where
 * step has an error; repeated as a whole like db_again: step begins anew each time. After a lost
 * connection it is unknown whether it was committed. */
typedef struct err (*db_step)(struct db *db, void *context);
struct err db_transaction(struct db *db, db_step step, void *context) MUST_CHECK;

#endif
