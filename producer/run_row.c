/* The producer's SQL on run and chunk. Each statement is a transaction of its own. */
#include "producer/run_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/db_again.h"
#include "common/db_lock.h"

enum { SQL_MAX = 48 * 1024 * 1024, DUPLICATE_KEY = 1062 };

void run_row_fini(struct run_row *row)
{
    content_fini(&row->content);
    row->content = (struct content){0};
}

struct err run_row_now(struct db *db, int64_t *utc_s)
{
    struct db_result *r;
    TRY(db_queryf(db, &r, "SELECT UNIX_TIMESTAMP()"));
    *utc_s = db_next(r) ? db_i64(r, 0) : 0;
    db_result_free(r);
    return err_none();
}

static enum run_control parse_control(const char *text)
{
    if (strcmp(text, "cancelled") == 0) return RUN_CANCELLED;
    return strcmp(text, "paused") == 0 ? RUN_PAUSED : RUN_GO;
}

/* The session's time zone is UTC, so UNIX_TIMESTAMP reads a DATETIME as what it is. */
#define RUN_COLUMNS                                                                                \
    "id, campaign, UNIX_TIMESTAMP(scheduled_at), publishing, control, published_at IS NOT NULL,"   \
    " content"

static struct err take_row(struct db_result *r, struct run_row *row)
{
    struct db_cell json = db_cell(r, 6);
    row->id = db_u64(r, 0);
    snprintf(row->campaign, sizeof row->campaign, "%s", db_text(r, 1));
    row->scheduled_s = db_i64(r, 2);
    row->published = strcmp(db_text(r, 3), "done") == 0;
    row->missed = strcmp(db_text(r, 3), "missed") == 0;
    row->control = parse_control(db_text(r, 4));
    row->audience_over = db_u64(r, 5) != 0;
    if (row->missed) return err_none(); /* it has no content */
    struct err e = content_decode(json.text ? json.text : "", json.len, &row->content);
    return e.code ? err_wrap(e, "run %" PRIu64, row->id) : e;
}

struct err run_row_find(struct db *db, const char *campaign, int64_t scheduled_s,
                        struct run_row *row)
{
    struct db_result *r;
    char iso[CLOCK_ISO_SIZE];
    *row = (struct run_row){.scheduled_s = scheduled_s};
    snprintf(row->campaign, sizeof row->campaign, "%s", campaign);
    clock_iso_format(scheduled_s, iso);
    TRY(db_queryf(
        db, &r, "SELECT " RUN_COLUMNS " FROM run WHERE campaign='%s' AND scheduled_at='%.10s %.8s'",
        row->campaign, iso, iso + 11));
    struct err e = db_next(r) ? take_row(r, row) : err_none();
    db_result_free(r);
    return e;
}

struct err run_row_load(struct db *db, uint64_t id, struct run_row *row)
{
    struct db_result *r;
    *row = (struct run_row){0};
    TRY(db_queryf(db, &r, "SELECT " RUN_COLUMNS " FROM run WHERE id=%" PRIu64, id));
    struct err e =
        db_next(r) ? take_row(r, row) : err_make(ERR_STATE, 0, "there is no run %" PRIu64, id);
    db_result_free(r);
    return e;
}

/* The clock is read by the statement that inserts (PROTOCOL P7): nothing can come between. */
static struct err insert_run(struct db *db, const struct run_row *row, const struct buf *content,
                             int64_t within_s, uint64_t *inserted)
{
    struct buf sql;
    char iso[CLOCK_ISO_SIZE];
    buf_init(&sql, SQL_MAX);
    clock_iso_format(row->scheduled_s, iso);
    buf_append_format(&sql,
                      "INSERT INTO run (campaign, scheduled_at, created_at, content)"
                      " SELECT '%s', '%.10s %.8s', UTC_TIMESTAMP(6), ",
                      row->campaign, iso, iso + 11);
    db_quote_bytes(db, &sql, content->data, content->len);
    if (within_s != RUN_ANY_TIME)
        buf_append_format(&sql,
                          " FROM DUAL WHERE UTC_TIMESTAMP(6) BETWEEN TIMESTAMP('%.10s %.8s')"
                          " AND TIMESTAMP('%.10s %.8s') + INTERVAL %" PRId64 " SECOND",
                          iso, iso + 11, iso, iso + 11, within_s);
    struct err e = db_exec(db, &sql, inserted);
    buf_fini(&sql);
    return e;
}

struct err run_row_create(struct db *db, const struct content *content, int64_t within_s,
                          struct run_row *row, bool *created)
{
    uint64_t inserted = 0;
    struct buf json;
    buf_init(&json, CONTENT_BYTES_MAX);
    content_encode(content, &json);
    struct err e = buf_check(&json, "the campaign's content");
    if (!e.code) e = insert_run(db, row, &json, within_s, &inserted);
    buf_fini(&json);
    if (e.code && e.native != DUPLICATE_KEY) return e;
    *created = !e.code && inserted;
    if (!e.code && !inserted) return err_none();
    char campaign[CAMPAIGN_NAME_MAX + 1];
    memcpy(campaign, row->campaign, sizeof campaign);
    int64_t scheduled_s = row->scheduled_s;
    run_row_fini(row);
    TRY(run_row_find(db, campaign, scheduled_s, row));
    return row->id ? err_none() : err_make(ERR_STATE, 0, "the run was deleted as it was created");
}

struct err run_row_lock(struct db *db, uint64_t id, bool *locked)
{
    return db_lock(db, "run", id, 0, locked);
}

struct err run_row_unlock(struct db *db, uint64_t id)
{
    return db_unlock(db, "run", id);
}

struct err run_row_refresh(struct db *db, struct run_row *row)
{
    struct db_result *r;
    TRY(db_queryf(db, &r, "SELECT publishing, control FROM run WHERE id=%" PRIu64, row->id));
    bool found = db_next(r);
    if (found) {
        row->published = strcmp(db_text(r, 0), "done") == 0;
        row->control = parse_control(db_text(r, 1));
    }
    db_result_free(r);
    if (found) return err_none();
    return err_make(ERR_STATE, 0, "run %" PRIu64 " was deleted meanwhile", row->id);
}

static void write_chunk_row(struct db *db, struct buf *sql, uint64_t run,
                            const struct chunker_chunk *chunk)
{
    buf_append_format(sql, "(%" PRIu64 ", %u, ", run, chunk->no);
    db_quote(db, sql, chunk->first_id);
    buf_append_text(sql, ", ");
    db_quote(db, sql, chunk->last_id);
    buf_append_format(sql, ", %u, UTC_TIMESTAMP(6) + INTERVAL %d MINUTE)", chunk->recipients,
                      RUN_DUE_MINUTES);
}

/* PROTOCOL P2: a duplicate key is the sign of another producer. */
struct err run_row_plan(struct db *db, uint64_t run, const struct chunker_chunk *chunks, unsigned n)
{
    struct buf sql;
    if (!n) return err_none();
    buf_init(&sql, SQL_MAX);
    buf_append_text(&sql, "INSERT INTO chunk (run_id, chunk_no, first_id, last_id, recipients, "
                          "next_due) VALUES ");
    for (unsigned i = 0; i < n; i++) {
        if (i) buf_append_text(&sql, ", ");
        write_chunk_row(db, &sql, run, &chunks[i]);
    }
    struct err e = db_again(db, &sql, NULL);
    buf_fini(&sql);
    if (e.native != DUPLICATE_KEY) return e;
    return err_make(ERR_STATE, e.native,
                    "run %" PRIu64 " has a chunk %u or one after it already: another producer is "
                    "at work on it",
                    run, chunks[0].no);
}

struct err run_row_queued(struct db *db, uint64_t run, unsigned attempt, const uint32_t *chunks,
                          unsigned n)
{
    struct buf sql;
    if (!n) return err_none();
    buf_init(&sql, SQL_MAX);
    buf_append_format(&sql,
                      "UPDATE chunk SET state='queued', next_due=UTC_TIMESTAMP(6) + INTERVAL %d "
                      "MINUTE WHERE run_id=%" PRIu64 " AND attempt=%u AND state='planned' AND "
                      "chunk_no IN (",
                      RUN_DUE_MINUTES, run, attempt);
    for (unsigned i = 0; i < n; i++) buf_append_format(&sql, i ? ",%u" : "%u", chunks[i]);
    buf_append_char(&sql, ')');
    struct err e = db_again(db, &sql, NULL);
    buf_fini(&sql);
    return e;
}

/* The greatest number counts, not the greatest id (PROTOCOL P2): ids may be texts, whose order is
 * not that of this table. */
struct err run_row_end(struct db *db, uint64_t run, uint32_t *next_no,
                       char last_id[CHUNK_ID_MAX + 1])
{
    struct db_result *r;
    *next_no = 0;
    last_id[0] = '\0';
    TRY(db_queryf(db, &r,
                  "SELECT chunk_no, last_id FROM chunk WHERE run_id=%" PRIu64
                  " ORDER BY chunk_no DESC LIMIT 1",
                  run));
    if (db_next(r)) {
        *next_no = (uint32_t)db_u64(r, 0) + 1;
        snprintf(last_id, CHUNK_ID_MAX + 1, "%s", db_text(r, 1));
    }
    db_result_free(r);
    return err_none();
}

struct err run_row_totals(struct db *db, uint64_t run, struct run_totals *totals)
{
    struct db_result *r;
    *totals = (struct run_totals){0};
    TRY(db_queryf(db, &r,
                  "SELECT COUNT(*), COALESCE(SUM(recipients), 0),"
                  " COALESCE(SUM(state='planned'), 0) FROM chunk WHERE run_id=%" PRIu64,
                  run));
    if (db_next(r)) *totals = (struct run_totals){db_u64(r, 0), db_u64(r, 1), db_u64(r, 2)};
    db_result_free(r);
    return err_none();
}

struct err run_row_publishing_done(struct db *db, uint64_t run)
{
    return db_execf(
        db, NULL,
        "UPDATE run SET publishing='done', published_at=COALESCE(published_at, UTC_TIMESTAMP(6)),"
        " completed_at=IF(EXISTS (SELECT 1 FROM chunk c WHERE c.run_id=%" PRIu64
        " AND " RUN_CHUNK_UNFINISHED "), completed_at, UTC_TIMESTAMP(6)) WHERE id=%" PRIu64
        " AND publishing='open' AND NOT EXISTS (SELECT 1 FROM chunk WHERE run_id=%" PRIu64
        " AND state='planned')",
        run, run, run);
}

struct err run_row_sweep(struct db *db, uint64_t *completed)
{
    return db_execf(db, completed,
                    "UPDATE run r SET completed_at=UTC_TIMESTAMP(6)"
                    " WHERE publishing='done' AND completed_at IS NULL AND NOT EXISTS"
                    " (SELECT 1 FROM chunk c WHERE c.run_id=r.id AND " RUN_CHUNK_UNFINISHED ")");
}
