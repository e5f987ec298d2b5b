/* mailflock audit: reads the ledger in one consistent snapshot, so that it holds for runs that are
 * under way too, and hands page after page to the rules. A page is PAGE_CHUNKS chunk rows and one
 * grouped query over their delivery rows: memory does not depend on the run's size. Reads only. */
#include "console/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console/console.h"
#include "console/tally.h"

enum { PAGE_CHUNKS = 64, PAGE_RUNS = 256, REPORT_BYTES_MAX = 64 * 1024 };

struct run_row {
    uint64_t id;
    bool publishing, completed;
};

/* Where the audit of one run has got to. */
struct cursor {
    const struct run_row *run;
    int64_t last;     /* chunk_no of the last chunk row read; -1 at first */
    int64_t expected; /* the next one's, when dense */
    int64_t open;     /* pending and deferred so far */
    struct audit_chunk chunks[PAGE_CHUNKS];
    int n;
};

static enum tally_chunk_state state_of(const char *word)
{
    int state = 0;
    while (state < TALLY_CHUNK_STATES - 1 && strcmp(word, TALLY_CHUNK_STATE_NAMES[state]) != 0)
        state++;
    return (enum tally_chunk_state)state;
}

static void read_chunk(const struct db_result *r, const struct run_row *run,
                       struct audit_chunk *out)
{
    *out = (struct audit_chunk){.run = run->id, .publishing = run->publishing};
    out->chunk_no = db_i64(r, 0);
    out->state = state_of(db_text(r, 1));
    out->has_token = db_i64(r, 2) != 0;
    out->has_lease = db_i64(r, 3) != 0;
    out->has_digest = db_i64(r, 4) != 0;
    out->recipients = db_i64(r, 5);
    out->attempt = db_i64(r, 6);
    out->seq = db_i64(r, 7);
    out->started = db_i64(r, 8);
    for (int i = 0; i < TALLY_STATUSES; i++) out->counts[i] = db_i64(r, 9 + (unsigned)i);
}

static struct err read_page(struct db *db, struct cursor *at)
{
    struct db_result *r;
    at->n = 0;
    TRY(db_queryf(db, &r,
                  "SELECT chunk_no, state, token IS NOT NULL, lease_until IS NOT NULL,"
                  " digest IS NOT NULL, recipients, attempt, seq, started,"
                  " sent, failed, deferred, suppressed, skipped, unknown"
                  " FROM chunk WHERE run_id = %" PRIu64 " AND chunk_no > %" PRId64
                  " ORDER BY chunk_no LIMIT %d",
                  at->run->id, at->last, PAGE_CHUNKS));
    while (at->n < PAGE_CHUNKS && db_next(r)) read_chunk(r, at->run, &at->chunks[at->n++]);
    db_result_free(r);
    return err_none();
}

static void read_rows(const struct db_result *r, struct audit_rows *out)
{
    for (int i = 0; i < TALLY_STATUSES; i++) out->counts[i] = db_i64(r, 1 + (unsigned)i);
    out->total = db_i64(r, 7);
    out->max_position = db_i64(r, 8);
    out->max_attempt = db_i64(r, 9);
    out->maybe_ended = db_i64(r, 10);
}

static void check_chunk(struct audit *a, struct cursor *at, const struct audit_chunk *chunk,
                        const struct audit_rows *rows)
{
    int64_t final = 0;
    audit_check_dense(a, at->run->id, at->expected, chunk->chunk_no);
    audit_check_chunk(a, chunk, rows);
    for (int i = 0; i < TALLY_STATUSES; i++)
        if (i != TALLY_DEFERRED) final += chunk->counts[i];
    at->open += chunk->recipients - final;
    at->expected = chunk->chunk_no + 1;
}

/* Walks the page's chunks and the grouped rows side by side; both ascend. */
static void match_page(struct audit *a, struct cursor *at, struct db_result *r)
{
    static const struct audit_rows none;
    bool has_row = db_next(r);
    for (int i = 0; i < at->n; i++) {
        struct audit_rows rows;
        for (; has_row && db_i64(r, 0) < at->chunks[i].chunk_no; has_row = db_next(r))
            audit_orphans(a, at->run->id, db_i64(r, 0), "no-chunk", db_i64(r, 7));
        bool matches = has_row && db_i64(r, 0) == at->chunks[i].chunk_no;
        if (matches) read_rows(r, &rows);
        check_chunk(a, at, &at->chunks[i], matches ? &rows : &none);
        if (matches) has_row = db_next(r);
    }
    for (; has_row; has_row = db_next(r))
        audit_orphans(a, at->run->id, db_i64(r, 0), "no-chunk", db_i64(r, 7));
}

/* The delivery rows from behind the last page to the end of this one. After the last page nothing
 * belongs to a chunk any more; what is found there are orphans, of which one page is enough. */
static struct err audit_page(struct db *db, struct audit *a, struct cursor *at)
{
    struct db_result *r;
    char until[48] = "";
    if (at->n)
        snprintf(until, sizeof until, " AND chunk_no <= %" PRId64, at->chunks[at->n - 1].chunk_no);
    TRY(db_queryf(db, &r,
                  "SELECT chunk_no, SUM(status = 'sent'), SUM(status = 'failed'),"
                  " SUM(status = 'deferred'), SUM(status = 'suppressed'), SUM(status = 'skipped'),"
                  " SUM(status = 'unknown'), COUNT(*), MAX(position), MAX(attempt),"
                  " SUM(maybe AND status IN ('failed', 'skipped', 'suppressed'))"
                  " FROM delivery WHERE run_id = %" PRIu64 " AND chunk_no > %" PRId64 "%s"
                  " GROUP BY chunk_no ORDER BY chunk_no LIMIT 10000",
                  at->run->id, at->last, until));
    match_page(a, at, r);
    db_result_free(r);
    if (at->n) at->last = at->chunks[at->n - 1].chunk_no;
    return err_none();
}

static struct err audit_run(struct db *db, struct audit *a, const struct run_row *run)
{
    struct cursor at = {.run = run, .last = -1};
    a->runs++;
    do {
        TRY(read_page(db, &at));
        TRY(audit_page(db, a, &at));
    } while (at.n);
    audit_check_run(a, run->id, run->publishing, run->completed, at.open);
    return err_none();
}

/* Fills rows with the runs after id last (or just run number only, where it is not 0). */
static struct err read_runs(struct db *db, uint64_t last, uint64_t only, struct run_row *rows,
                            int *n)
{
    struct db_result *r;
    *n = 0;
    TRY(db_queryf(db, &r,
                  "SELECT id, publishing = 'open', completed_at IS NOT NULL FROM run"
                  " WHERE id > %" PRIu64 " AND (%" PRIu64 " = 0 OR id = %" PRIu64 ")"
                  " ORDER BY id LIMIT %d",
                  last, only, only, PAGE_RUNS));
    while (*n < PAGE_RUNS && db_next(r))
        rows[(*n)++] = (struct run_row){db_u64(r, 0), db_i64(r, 1) != 0, db_i64(r, 2) != 0};
    db_result_free(r);
    return err_none();
}

static struct err audit_runs(struct db *db, struct audit *a, uint64_t only)
{
    struct run_row rows[PAGE_RUNS];
    uint64_t last = 0;
    int n;
    do {
        TRY(read_runs(db, last, only, rows, &n));
        for (int i = 0; i < n; i++) TRY(audit_run(db, a, &rows[i]));
        if (n) last = rows[n - 1].id;
    } while (n == PAGE_RUNS);
    return err_none();
}

/* Rows that belong to no run at all; looked for only when the whole ledger is. */
static struct err audit_strays(struct db *db, struct audit *a, const char *table)
{
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT t.run_id, (SELECT COUNT(*) FROM %s n WHERE n.run_id = t.run_id)"
                  " FROM (SELECT DISTINCT run_id FROM %s) t LEFT JOIN run ON run.id = t.run_id"
                  " WHERE run.id IS NULL ORDER BY t.run_id LIMIT 1000",
                  table, table));
    while (db_next(r)) {
        /* chunk rows are not deliveries: keep them out of that total */
        int64_t before = a->deliveries;
        audit_orphans(a, db_u64(r, 0), -1, "no-run", db_i64(r, 1));
        if (strcmp(table, "chunk") == 0) a->deliveries = before;
    }
    db_result_free(r);
    return err_none();
}

static struct err audit_ledger(struct db *db, struct audit *a, uint64_t only)
{
    TRY(db_exec_text(db, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", NULL));
    TRY(db_exec_text(db, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", NULL));
    TRY(audit_runs(db, a, only));
    if (!only) {
        TRY(audit_strays(db, a, "chunk"));
        TRY(audit_strays(db, a, "delivery"));
    }
    return db_exec_text(db, "COMMIT", NULL);
}

static struct err print_audit(const struct audit *a)
{
    struct buf text;
    buf_init(&text, REPORT_BYTES_MAX);
    audit_report(a, &text);
    struct err e = buf_check(&text, "the report");
    if (!e.code) fputs(buf_text(&text), stdout);
    buf_fini(&text);
    return e;
}

int command_audit(struct console *c, int argc, char **argv)
{
    if (!console_options(&argc, argv, NULL, 0, 0, 1)) return CONSOLE_USAGE;
    struct tally run = {0};
    struct audit a = {0};
    struct err e = console_open(c);
    if (!e.code && argc > 1) e = tally_find(c->db, argv[1], &run);
    if (!e.code) e = audit_ledger(c->db, &a, run.id);
    if (!e.code) e = print_audit(&a);
    if (e.code) return console_fail(&e);
    return a.breaches ? CONSOLE_FAILED : CONSOLE_DONE;
}
