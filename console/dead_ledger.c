/* The ledger's side of dead letters (PROTOCOL C11). A stuck chunk has no holder: its token is NULL,
 * and nobody claims it. Each change names the state it expects, and moves seq, so that whoever
 * still believes to hold the chunk is fenced off (C5). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/db_again.h"
#include "console/dead.h"

enum {
    DUE_MINUTES = 10, /* as after any publish: then the producer publishes it again (P6) */
    ROWS_AT_ONCE = 1000,
    SQL_MAX = 16 * 1024 * 1024,
};

/* The row that the letter speaks of, by the same reading of the audience. */
#define OF_LETTER                                                                                  \
    " WHERE run_id = %" PRIu64 " AND chunk_no = %u AND attempt = %u"                               \
    " AND (digest IS NULL OR digest = %" PRIu64 ")"
#define LETTER(m) (m)->run, (m)->chunk, (m)->attempt, (m)->digest

static void judge(const char *state, uint64_t attempt, bool same_digest,
                  const struct chunk_message *m, struct dead_finding *out)
{
    bool stuck = strcmp(state, "stuck") == 0;
    out->verdict = DEAD_OVER;
    if (strcmp(state, "done") == 0) {
        out->why = "its chunk is done";
    } else if (m->attempt < attempt) {
        out->why = "its attempt is over";
    } else if (!same_digest) {
        out->why = "its chunk was made of another reading of the audience";
    } else if (stuck && m->attempt > attempt) {
        out->why = "its chunk is stuck at an earlier attempt, which comes first";
    } else {
        out->verdict = stuck ? DEAD_STUCK : DEAD_OPEN;
        out->why = stuck ? "its chunk is stuck" : "its chunk is open";
    }
}

static struct err find(struct db *db, const struct chunk_message *m, const char *lock,
                       struct dead_finding *out)
{
    struct db_result *r;
    *out = (struct dead_finding){DEAD_NO_CHUNK, "the ledger has no such chunk", 0, 0};
    TRY(db_queryf(db, &r,
                  "SELECT state, attempt, digest IS NULL OR digest = %" PRIu64
                  " FROM chunk WHERE run_id = %" PRIu64 " AND chunk_no = %u%s",
                  m->digest, m->run, m->chunk, lock));
    if (db_next(r)) judge(db_text(r, 0), db_u64(r, 1), db_u64(r, 2) != 0, m, out);
    db_result_free(r);
    return err_none();
}

/* claims goes back to 0: the operator says that the cause is gone. The watermark stays: when the
 * chunk became stuck, what lay below it got its outcome. */
struct err dead_ledger_requeue(struct db *db, const struct chunk_message *m,
                               struct dead_finding *out)
{
    uint64_t matched;
    *out = (struct dead_finding){DEAD_STUCK, "its chunk is stuck", 0, 0};
    TRY(db_execf(db, &matched,
                 "UPDATE chunk SET state = 'queued', claims = 0, seq = seq + 1, token = NULL,"
                 " owner = NULL, lease_until = NULL,"
                 " next_due = UTC_TIMESTAMP(6) + INTERVAL %d MINUTE" OF_LETTER
                 " AND state = 'stuck'",
                 DUE_MINUTES, LETTER(m)));
    return matched ? err_none() : find(db, m, "", out);
}

/* Sets has_row for the message's recipients whose position has a row already. */
static struct err mark_rows(struct db *db, const struct chunk_message *m, bool *has_row)
{
    struct db_result *r;
    uint32_t i = 0;
    TRY(db_queryf(db, &r,
                  "SELECT position FROM delivery WHERE run_id = %" PRIu64 " AND chunk_no = %u"
                  " ORDER BY position",
                  m->run, m->chunk));
    while (db_next(r)) {
        uint32_t position = (uint32_t)db_u64(r, 0);
        while (i < m->n && m->recipients[i].position < position) i++;
        if (i < m->n && m->recipients[i].position == position) has_row[i] = true;
    }
    db_result_free(r);
    return err_none();
}

static void append_row(struct db *db, struct buf *sql, const struct chunk_message *m, uint32_t i)
{
    const struct chunk_recipient *to = &m->recipients[i];
    buf_append_format(sql, "(%" PRIu64 ",%u,%u,", m->run, m->chunk, to->position);
    db_quote_bytes(db, sql, to->id, to->id_len);
    buf_append_char(sql, ',');
    db_quote_bytes(db, sql, to->to, to->to_len);
    buf_append_format(sql, ",'skipped',%u,'dropped by the operator','mailflock',UTC_TIMESTAMP(6))",
                      m->attempt);
}

/* Pending positions: nothing of them was ever handed over. */
static struct err insert_skipped(struct db *db, const struct chunk_message *m, const bool *has_row,
                                 struct buf *sql, int64_t *skipped)
{
    for (uint32_t i = 0; i < m->n;) {
        int rows = 0;
        buf_reset(sql);
        buf_append_text(sql,
                        "INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email,"
                        " status, attempt, detail, worker, at) VALUES ");
        for (; i < m->n && rows < ROWS_AT_ONCE; i++) {
            if (has_row[i]) continue;
            if (rows++) buf_append_char(sql, ',');
            append_row(db, sql, m, i);
        }
        if (rows) TRY(db_exec(db, sql, NULL));
        *skipped += rows;
    }
    return err_none();
}

/* Deferred ones: of an earlier attempt, or of this one without a retry that was published. */
static struct err end_deferred(struct db *db, const struct chunk_message *m, bool maybe,
                               int64_t *changed)
{
    uint64_t matched;
    TRY(db_execf(db, &matched,
                 "UPDATE delivery SET status = '%s', attempt = %u, code = 0, enhanced = '',"
                 " detail = 'dropped by the operator', worker = 'mailflock',"
                 " at = UTC_TIMESTAMP(6) WHERE run_id = %" PRIu64
                 " AND chunk_no = %u AND status = 'deferred' AND maybe = %d",
                 maybe ? "unknown" : "skipped", m->attempt, m->run, m->chunk, maybe));
    *changed += (int64_t)matched;
    return err_none();
}

/* Only if every position has its outcome then. SET works from left to right, WHERE on the row as it
 * was. */
static struct err close_chunk(struct db *db, const struct chunk_message *m,
                              const struct dead_finding *out)
{
    uint64_t matched;
    TRY(db_execf(db, &matched,
                 "UPDATE chunk SET seq = seq + 1, skipped = skipped + %" PRId64
                 ", unknown = unknown + %" PRId64
                 ", deferred = 0, state = 'done', token = NULL, owner = NULL, lease_until = NULL,"
                 " next_due = NULL" OF_LETTER " AND state = 'stuck' AND recipients ="
                 " sent + failed + suppressed + skipped + unknown + %" PRId64,
                 out->skipped, out->unknown, LETTER(m), out->skipped + out->unknown));
    if (matched) return err_none();
    return err_make(ERR_STATE, 0,
                    "chunk %" PRIu64
                    "/%u has recipients that the letter does not name: nothing was "
                    "changed; 'mailflock audit %" PRIu64 "' shows the accounts",
                    m->run, m->chunk, m->run);
}

static struct err change(struct db *db, const struct chunk_message *m, struct dead_finding *out)
{
    bool *has_row = mem_alloc(m->n * sizeof *has_row);
    struct buf sql;
    memset(has_row, 0, m->n * sizeof *has_row);
    buf_init(&sql, SQL_MAX);
    struct err e = mark_rows(db, m, has_row);
    if (!e.code) e = insert_skipped(db, m, has_row, &sql, &out->skipped);
    buf_fini(&sql);
    free(has_row);
    if (!e.code) e = end_deferred(db, m, false, &out->skipped);
    if (!e.code) e = end_deferred(db, m, true, &out->unknown);
    return e.code ? e : close_chunk(db, m, out);
}

struct drop {
    const struct chunk_message *m;
    struct dead_finding *out;
};

static struct err drop(struct db *db, void *context)
{
    const struct drop *d = context;
    TRY(find(db, d->m, " FOR UPDATE", d->out));
    return d->out->verdict == DEAD_STUCK ? change(db, d->m, d->out) : err_none();
}

struct err dead_ledger_drop(struct db *db, const struct chunk_message *m, struct dead_finding *out)
{
    struct drop d = {m, out};
    return db_transaction(db, drop, &d);
}
