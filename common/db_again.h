/* Statements that lose against other transactions' locks now and then. */
#ifndef MAILFLOCK_DB_AGAIN_H
#define MAILFLOCK_DB_AGAIN_H

#include "common/db.h"

/* db_again: db_exec outside a transaction, repeated a few times after a deadlock or lock wait. */
struct err db_again(struct db *db, const struct buf *sql, uint64_t *matched) MUST_CHECK;

#endif
