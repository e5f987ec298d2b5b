/* The ledger's side of retry and unknown. The order within a transaction: lock the chunk row, look
 * whether it may be touched, change its delivery rows, move the counters by as many as were
 * changed, with seq + 1 and no token: a worker that still believes to hold it is fenced off (C5).
 * seq alone would not do: who lost the connection during a commit takes a seq that moved under its
 * own token for that commit. */
#include "console/reopen.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/db_again.h"

enum { PAGE_CHUNKS = 256, CODE_MOST = 65535 };

/* Nobody holds it. The lease is judged by the database's clock. */
#define FREE "(c.token IS NULL OR c.lease_until <= UTC_TIMESTAMP(6))"

/* The current attempt is over, or has not begun: nothing was handed over and no outcome recorded.
 * Pending positions (a stuck chunk's) would be lost in a message of the deferred ones. */
#define BETWEEN_ATTEMPTS                                                                           \
    "(c.state <> 'stuck' AND c.recipients = c.sent + c.failed + c.deferred + c.suppressed"         \
    " + c.skipped + c.unknown AND (c.state = 'done' OR (c.started = 0 AND NOT EXISTS"              \
    " (SELECT 1 FROM delivery d WHERE d.run_id = c.run_id AND d.chunk_no = c.chunk_no"             \
    " AND d.attempt >= c.attempt))))"

/* What is done to the chosen rows of one chunk. */
struct change {
    uint64_t run;
    struct reopen_choice choice;
    bool resend; /* else: count as sent */
};

static const char *free_condition(const struct change *change)
{
    return change->resend ? FREE " AND " BETWEEN_ATTEMPTS : FREE;
}

bool reopen_parse_code(const char *text, int *least, int *most)
{
    if (strlen(text) != 3 || text[0] < '1' || text[0] > '9') return false;
    bool open = false;
    *least = *most = 0;
    for (int i = 0; i < 3; i++) {
        bool any = text[i] == 'x' || text[i] == 'X';
        if ((!any && (text[i] < '0' || text[i] > '9')) || (open && !any)) return false;
        open = any;
        *least = *least * 10 + (any ? 0 : text[i] - '0');
        *most = *most * 10 + (any ? 9 : text[i] - '0');
    }
    return true;
}

/* Refuses as a whole before anything is changed. */
static struct err check_all(struct db *db, const struct change *change)
{
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT COUNT(*), COALESCE(MIN(c.chunk_no), 0) FROM chunk c"
                  " WHERE c.run_id = %" PRIu64 " AND c.%s > 0 AND NOT (%s)",
                  change->run, TALLY_STATUS_NAMES[change->choice.status], free_condition(change)));
    int64_t busy = 0, first = 0;
    if (db_next(r)) {
        busy = db_i64(r, 0);
        first = db_i64(r, 1);
    }
    db_result_free(r);
    if (!busy) return err_none();
    return err_make(ERR_STATE, 0,
                    "%" PRId64 " chunk%s of run %" PRIu64 " (the first is %" PRId64 ") %s in a "
                    "worker's hands, stuck, or in the middle of an attempt: nothing was changed, "
                    "try again when 'mailflock status %" PRIu64 "' shows no holder",
                    busy, busy == 1 ? "" : "s", change->run, first, busy == 1 ? "is" : "are",
                    change->run);
}

/* Locks the chunk row; then, in a statement of its own that sees what was committed until then,
 * whether it may be touched. */
static struct err lock_chunk(struct db *db, const struct change *change, int64_t chunk_no,
                             bool *allowed, int64_t *attempt)
{
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT seq FROM chunk WHERE run_id = %" PRIu64 " AND chunk_no = %" PRId64
                  " FOR UPDATE",
                  change->run, chunk_no));
    db_result_free(r);
    TRY(db_queryf(db, &r,
                  "SELECT c.attempt FROM chunk c WHERE c.run_id = %" PRIu64
                  " AND c.chunk_no = %" PRId64 " AND %s",
                  change->run, chunk_no, free_condition(change)));
    *allowed = db_next(r);
    if (*allowed) *attempt = db_i64(r, 0);
    db_result_free(r);
    return err_none();
}

/* Rows become deferred from the attempt that is over now; what may have been sent keeps that mark
 * whatever comes of it (C12). */
static struct err change_rows(struct db *db, const struct change *change, int64_t chunk_no,
                              int64_t attempt, uint64_t *matched)
{
    char set[120] = "status = 'sent'";
    if (change->resend)
        snprintf(set, sizeof set,
                 "maybe = IF(status = 'unknown', 1, maybe), status = 'deferred',"
                 " attempt = %" PRId64,
                 attempt);
    return db_execf(db, matched,
                    "UPDATE delivery SET %s WHERE run_id = %" PRIu64 " AND chunk_no = %" PRId64
                    " AND status = '%s' AND code BETWEEN %d AND %d",
                    set, change->run, chunk_no, TALLY_STATUS_NAMES[change->choice.status],
                    change->choice.code_least, change->choice.code_most);
}

static struct err change_chunk(struct db *db, const struct change *change, int64_t chunk_no,
                               uint64_t rows)
{
    const char *from = TALLY_STATUS_NAMES[change->choice.status];
    const char *to = change->resend ? "deferred" : "sent";
    const char *also = change->resend
                           ? ", attempt = attempt + 1, started = 0, claims = 0,"
                             " next_due = UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE, state = 'planned'"
                           : "";
    TRY(db_execf(db, NULL,
                 "UPDATE chunk SET seq = seq + 1, token = NULL, owner = NULL, lease_until = NULL,"
                 " %s = %s - %" PRIu64 ", %s = %s + %" PRIu64 "%s"
                 " WHERE run_id = %" PRIu64 " AND chunk_no = %" PRId64,
                 from, from, rows, to, to, rows, also, change->run, chunk_no));
    if (!change->resend) return err_none();
    return db_execf(db, NULL,
                    "UPDATE run SET publishing = 'open', completed_at = NULL WHERE id = %" PRIu64,
                    change->run);
}

/* The transaction of one chunk. */
struct reopening {
    const struct change *change;
    int64_t chunk_no;
    bool allowed;
    uint64_t rows; /* that were changed */
};

static struct err reopen_chunk(struct db *db, void *context)
{
    struct reopening *r = context;
    int64_t attempt = 0;
    r->rows = 0;
    TRY(lock_chunk(db, r->change, r->chunk_no, &r->allowed, &attempt));
    if (r->allowed) TRY(change_rows(db, r->change, r->chunk_no, attempt, &r->rows));
    return r->rows ? change_chunk(db, r->change, r->chunk_no, r->rows) : err_none();
}

static struct err apply_to_chunk(struct db *db, const struct change *change, int64_t chunk_no,
                                 struct reopen_result *result)
{
    struct reopening r = {.change = change, .chunk_no = chunk_no};
    TRY(db_transaction(db, reopen_chunk, &r));
    result->refused += !r.allowed;
    result->chunks += r.rows > 0;
    result->recipients += (int64_t)r.rows;
    return err_none();
}

static struct err apply_to_page(struct db *db, const struct change *change, int64_t *last, int *n,
                                struct reopen_result *result)
{
    int64_t chunks[PAGE_CHUNKS];
    struct db_result *r;
    *n = 0;
    TRY(db_queryf(db, &r,
                  "SELECT chunk_no FROM chunk WHERE run_id = %" PRIu64 " AND chunk_no > %" PRId64
                  " AND %s > 0 ORDER BY chunk_no LIMIT %d",
                  change->run, *last, TALLY_STATUS_NAMES[change->choice.status], PAGE_CHUNKS));
    while (*n < PAGE_CHUNKS && db_next(r)) chunks[(*n)++] = db_i64(r, 0);
    db_result_free(r);
    for (int i = 0; i < *n; i++) {
        TRY(apply_to_chunk(db, change, chunks[i], result));
        *last = chunks[i];
    }
    return err_none();
}

static struct err apply(struct db *db, const struct change *change, struct reopen_result *result)
{
    int64_t last = -1;
    int n;
    *result = (struct reopen_result){0};
    TRY(check_all(db, change));
    do TRY(apply_to_page(db, change, &last, &n, result));
    while (n == PAGE_CHUNKS);
    return err_none();
}

struct err reopen_publishing(struct db *db, uint64_t run)
{
    return db_execf(db, NULL,
                    "UPDATE run SET publishing = 'open', completed_at = NULL WHERE id = %" PRIu64
                    " AND EXISTS (SELECT 1 FROM chunk WHERE run_id = %" PRIu64
                    " AND state = 'planned')",
                    run, run);
}

struct err reopen_resend(struct db *db, uint64_t run, const struct reopen_choice *choice,
                         struct reopen_result *result)
{
    struct change change = {run, *choice, true};
    return apply(db, &change, result);
}

struct err reopen_mark_sent(struct db *db, uint64_t run, struct reopen_result *result)
{
    struct change change = {run, {TALLY_UNKNOWN, 0, CODE_MOST}, false};
    return apply(db, &change, result);
}
