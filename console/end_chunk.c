/* Ends chunks that no worker will end. Below the watermark the current attempt may have reached a
 * position that has no outcome of it, and that is unknown, as everywhere (PROTOCOL C12). */
#include "console/end_chunk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_AT_ONCE = 1000, SQL_MAX = 16 * 1024 * 1024 };

struct err end_chunk_read(struct db *db, struct end_chunk *c, bool lock, bool *found)
{
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT state, token IS NOT NULL AND lease_until > UTC_TIMESTAMP(6),"
                  " digest IS NOT NULL, digest, attempt, started, recipients,"
                  " sent + failed + suppressed + skipped + unknown"
                  " FROM chunk WHERE run_id = %" PRIu64 " AND chunk_no = %u%s",
                  c->run, c->no, lock ? " FOR UPDATE" : ""));
    *found = db_next(r);
    if (*found) {
        snprintf(c->state, sizeof c->state, "%s", db_text(r, 0));
        c->leased = db_u64(r, 1) != 0;
        c->has_digest = db_u64(r, 2) != 0;
        c->digest = db_u64(r, 3);
        c->attempt = (uint32_t)db_u64(r, 4);
        c->started = (uint32_t)db_u64(r, 5);
        c->recipients = (uint32_t)db_u64(r, 6);
        c->settled = db_i64(r, 7);
    }
    db_result_free(r);
    return err_none();
}

/* has_row: one for each position. */
static struct err read_rows(struct db *db, const struct end_chunk *c, bool *has_row)
{
    struct db_result *r;
    memset(has_row, 0, c->recipients * sizeof *has_row);
    TRY(db_queryf(db, &r,
                  "SELECT position FROM delivery WHERE run_id = %" PRIu64 " AND chunk_no = %u",
                  c->run, c->no));
    while (db_next(r))
        if (db_u64(r, 0) < c->recipients) has_row[db_u64(r, 0)] = true;
    db_result_free(r);
    return err_none();
}

/* to is NULL where nobody knows who it was: "?17" for position 17. */
static void append_row(struct db *db, struct buf *sql, struct end_chunk *c, uint32_t position,
                       const struct chunk_recipient *to, const char *detail)
{
    bool unknown = position < c->started;
    buf_append_format(sql, "(%" PRIu64 ",%u,%u,", c->run, c->no, position);
    if (to) {
        db_quote_bytes(db, sql, to->id, to->id_len);
        buf_append_char(sql, ',');
        db_quote_bytes(db, sql, to->to, to->to_len);
    } else {
        buf_append_format(sql, "'?%u',''", position);
    }
    buf_append_format(sql, ",'%s',%u,%d,'%s','mailflock',UTC_TIMESTAMP(6))",
                      unknown ? "unknown" : "skipped", c->attempt, unknown, detail);
    *(unknown ? &c->unknown : &c->skipped) += 1;
}

/* Positions without a row, a statement for each thousand of them. */
static struct err end_pending(struct db *db, struct end_chunk *c, const bool *has_row,
                              const struct chunk_message *known, const char *detail,
                              struct buf *sql)
{
    uint32_t n = known ? known->n : c->recipients;
    for (uint32_t i = 0; i < n;) {
        int rows = 0;
        buf_reset(sql);
        buf_append_text(sql,
                        "INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email,"
                        " status, attempt, maybe, detail, worker, at) VALUES ");
        for (; i < n && rows < ROWS_AT_ONCE; i++) {
            const struct chunk_recipient *to = known ? &known->recipients[i] : NULL;
            uint32_t position = to ? to->position : i;
            if (position < c->recipients && has_row[position]) continue;
            if (rows++) buf_append_char(sql, ',');
            append_row(db, sql, c, position, to, detail);
        }
        if (rows) TRY(db_exec(db, sql, NULL));
    }
    return err_none();
}

#define END_DEFERRED                                                                               \
    "UPDATE delivery SET status = '%s', maybe = %d, attempt = %u, code = 0, enhanced = '',"        \
    " detail = '%s', worker = 'mailflock', at = UTC_TIMESTAMP(6)"                                  \
    " WHERE run_id = %" PRIu64 " AND chunk_no = %u AND status = 'deferred'"

/* Those of an earlier attempt, or of this one without a retry that was published. */
static struct err end_deferred(struct db *db, struct end_chunk *c, const char *detail)
{
    uint64_t unknown, skipped;
    TRY(db_execf(db, &unknown, END_DEFERRED " AND (maybe = 1 OR (position < %u AND attempt < %u))",
                 "unknown", 1, c->attempt, detail, c->run, c->no, c->started, c->attempt));
    TRY(db_execf(db, &skipped, END_DEFERRED, "skipped", 0, c->attempt, detail, c->run, c->no));
    c->unknown += (int64_t)unknown;
    c->skipped += (int64_t)skipped;
    return err_none();
}

/* Outcomes have a digest beside them; that of a chunk that was never claimed is known from its
 * message, or not at all. */
static struct err close_chunk(struct db *db, const struct end_chunk *c,
                              const struct chunk_message *known)
{
    return db_execf(db, NULL,
                    "UPDATE chunk SET seq = seq + 1, digest = COALESCE(digest, %" PRIu64
                    "), skipped = skipped + %" PRId64 ", unknown = unknown + %" PRId64
                    ", deferred = 0, state = 'done', token = NULL, owner = NULL,"
                    " lease_until = NULL, next_due = NULL WHERE run_id = %" PRIu64
                    " AND chunk_no = %u",
                    known ? known->digest : 0, c->skipped, c->unknown, c->run, c->no);
}

struct err end_chunk_settle(struct db *db, struct end_chunk *c, const struct chunk_message *known,
                            const char *detail)
{
    bool *has_row = mem_alloc(c->recipients * sizeof *has_row + 1);
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    c->skipped = c->unknown = 0;
    struct err e = read_rows(db, c, has_row);
    if (!e.code) e = end_pending(db, c, has_row, known, detail, &sql);
    buf_fini(&sql);
    free(has_row);
    if (!e.code) e = end_deferred(db, c, detail);
    return e.code ? e : close_chunk(db, c, known);
}
