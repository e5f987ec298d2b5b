/* Locks of the server (GET_LOCK), which belong to a connection and end with it. */
#ifndef MAILFLOCK_DB_LOCK_H
#define MAILFLOCK_DB_LOCK_H

#include "common/db.h"

/* db_lock: waits up to wait_s for the lock "mailflock.WHAT.DATABASE", or with an id (not 0)
 * "mailflock.WHAT.DATABASE.ID". WHAT is short and plain. */
struct err db_lock(struct db *db, const char *what, uint64_t id, int wait_s,
                   bool *locked) MUST_CHECK;
struct err db_unlock(struct db *db, const char *what, uint64_t id) MUST_CHECK;

/* db_lock_database: how a database is named in a lock's name. MySQL takes 64 characters for the
 * whole (MariaDB 192), and a database's name may have as many: one of more than 28 becomes the
 * first 28 digits of its SHA-1. It is computed here, since MySQL 9 has no SHA1(), and must stay the
 * same from version to version: producers of two versions exclude one another (PROTOCOL P1). */
enum { DB_LOCK_DATABASE_SIZE = 28 * 4 + 1 };
void db_lock_database(const char *name, char out[DB_LOCK_DATABASE_SIZE]);

#endif
