/* A single statement under autocommit was rolled back as a whole, so it can be sent again. */
#include "common/db_again.h"

#include "common/clock.h"

enum { TRIES = 10, BACKOFF_BASE_MS = 5, BACKOFF_MAX_MS = 500 };

struct err db_again(struct db *db, const struct buf *sql, uint64_t *matched)
{
    struct err e = db_exec(db, sql, matched);
    for (int tries = 0; e.code && db_failure_of(&e) == DB_FAILURE_RETRY && tries < TRIES; tries++) {
        clock_sleep_ms(clock_backoff_ms(tries, BACKOFF_BASE_MS, BACKOFF_MAX_MS));
        e = db_exec(db, sql, matched);
    }
    return e;
}
