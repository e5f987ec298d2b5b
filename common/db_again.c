/* What lost against other transactions was rolled back as a whole, so it can be sent again. */
#include "common/db_again.h"

#include "common/clock.h"

enum { TRIES = 10, BACKOFF_BASE_MS = 5, BACKOFF_MAX_MS = 500 };

/* Whether to try again after e: sleeps before answering yes. */
static bool again(const struct err *e, int tries)
{
    if (e->code != ERR_DB || db_failure_of(e) != DB_FAILURE_RETRY || tries == TRIES) return false;
    clock_sleep_ms(clock_backoff_ms(tries, BACKOFF_BASE_MS, BACKOFF_MAX_MS));
    return true;
}

struct err db_again(struct db *db, const struct buf *sql, uint64_t *matched)
{
    struct err e = db_exec(db, sql, matched);
    for (int tries = 0; again(&e, tries); tries++) e = db_exec(db, sql, matched);
    return e;
}

static struct err once(struct db *db, db_step step, void *context)
{
    TRY(db_exec_text(db, "START TRANSACTION", NULL));
    TRY(step(db, context));
    return db_exec_text(db, "COMMIT", NULL);
}

struct err db_transaction(struct db *db, db_step step, void *context)
{
    for (int tries = 0;; tries++) {
        struct err e = once(db, step, context);
        if (!e.code) return e;
        struct err undone = db_exec_text(db, "ROLLBACK", NULL);
        if (undone.code || !again(&e, tries)) return e;
    }
}
