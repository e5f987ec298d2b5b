/* mailflock skip: gives up what is left of one chunk, where no message of it can come any more: the
 * message is lost, and the audience is another one than when the chunk was begun, so that nobody
 * can say who is meant by its open positions. As everywhere, what may have been sent is unknown.
 * The row is locked, and seq moves: whoever still believes to hold the chunk is fenced off (C5). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/db_again.h"
#include "console/console.h"
#include "console/tally.h"

enum { ROWS_AT_ONCE = 1000, SQL_MAX = 1024 * 1024 };

#define DETAIL "given up by the operator"

/* The chunk as it was when it was locked. */
struct lost {
    uint64_t run;
    uint32_t no;
    char state[16];
    bool leased;
    uint32_t attempt, started, recipients;
    int64_t skipped, unknown; /* what became of it */
};

static struct err lock(struct db *db, struct lost *c)
{
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT state, token IS NOT NULL AND lease_until > UTC_TIMESTAMP(6), attempt,"
                  " started, recipients FROM chunk WHERE run_id = %" PRIu64
                  " AND chunk_no = %u FOR UPDATE",
                  c->run, c->no));
    bool found = db_next(r);
    if (found) {
        snprintf(c->state, sizeof c->state, "%s", db_text(r, 0));
        c->leased = db_u64(r, 1) != 0;
        c->attempt = (uint32_t)db_u64(r, 2);
        c->started = (uint32_t)db_u64(r, 3);
        c->recipients = (uint32_t)db_u64(r, 4);
    }
    db_result_free(r);
    if (!found) return err_make(ERR_STATE, 0, "run %" PRIu64 " has no chunk %u", c->run, c->no);
    if (strcmp(c->state, "done") == 0)
        return err_make(ERR_STATE, 0, "chunk %u of run %" PRIu64 " is done: nothing to skip", c->no,
                        c->run);
    if (c->leased)
        return err_make(ERR_STATE, 0,
                        "chunk %u of run %" PRIu64 " is in a worker's hands: nothing was changed",
                        c->no, c->run);
    return err_none();
}

/* has_row: one for each position. */
static struct err read_rows(struct db *db, const struct lost *c, bool *has_row)
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

/* Who they were, nobody knows: "?17" for position 17. */
static void append_row(struct buf *sql, struct lost *c, uint32_t position)
{
    bool unknown = position < c->started;
    buf_append_format(
        sql, "(%" PRIu64 ",%u,%u,'?%u','','%s',%u,%d,'" DETAIL "','mailflock',UTC_TIMESTAMP(6))",
        c->run, c->no, position, position, unknown ? "unknown" : "skipped", c->attempt, unknown);
    *(unknown ? &c->unknown : &c->skipped) += 1;
}

static struct err end_pending(struct db *db, struct lost *c, const bool *has_row, struct buf *sql)
{
    for (uint32_t p = 0; p < c->recipients;) {
        int rows = 0;
        buf_reset(sql);
        buf_append_text(sql,
                        "INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email,"
                        " status, attempt, maybe, detail, worker, at) VALUES ");
        for (; p < c->recipients && rows < ROWS_AT_ONCE; p++) {
            if (has_row[p]) continue;
            if (rows++) buf_append_char(sql, ',');
            append_row(sql, c, p);
        }
        if (rows) TRY(db_exec(db, sql, NULL));
    }
    return err_none();
}

#define END_DEFERRED                                                                               \
    "UPDATE delivery SET status = '%s', maybe = %d, attempt = %u, code = 0, enhanced = '',"        \
    " detail = '" DETAIL "', worker = 'mailflock', at = UTC_TIMESTAMP(6)"                          \
    " WHERE run_id = %" PRIu64 " AND chunk_no = %u AND status = 'deferred'"

/* Below the watermark this attempt may have reached them too. */
static struct err end_deferred(struct db *db, struct lost *c)
{
    uint64_t unknown, skipped;
    TRY(db_execf(db, &unknown, END_DEFERRED " AND (maybe = 1 OR (position < %u AND attempt < %u))",
                 "unknown", 1, c->attempt, c->run, c->no, c->started, c->attempt));
    TRY(db_execf(db, &skipped, END_DEFERRED, "skipped", 0, c->attempt, c->run, c->no));
    c->unknown += (int64_t)unknown;
    c->skipped += (int64_t)skipped;
    return err_none();
}

/* Outcomes have a digest beside them; nobody can compute that of a chunk that was never claimed. */
static struct err close_chunk(struct db *db, const struct lost *c)
{
    return db_execf(
        db, NULL,
        "UPDATE chunk SET seq = seq + 1, digest = COALESCE(digest, 0), skipped = skipped + %" PRId64
        ", unknown = unknown + %" PRId64
        ", deferred = 0, state = 'done', token = NULL, owner = NULL,"
        " lease_until = NULL, next_due = NULL WHERE run_id = %" PRIu64 " AND chunk_no = %u",
        c->skipped, c->unknown, c->run, c->no);
}

static struct err skip(struct db *db, void *context)
{
    struct lost *c = context;
    struct buf sql;
    c->skipped = c->unknown = 0;
    TRY(lock(db, c));
    bool *has_row = mem_alloc(c->recipients * sizeof *has_row + 1);
    buf_init(&sql, SQL_MAX);
    struct err e = read_rows(db, c, has_row);
    if (!e.code) e = end_pending(db, c, has_row, &sql);
    buf_fini(&sql);
    free(has_row);
    if (!e.code) e = end_deferred(db, c);
    return e.code ? e : close_chunk(db, c);
}

static struct err run_command(struct console *c, const char *name, uint32_t chunk_no)
{
    struct tally run;
    c->changes = true;
    TRY(console_open(c));
    TRY(tally_find(c->db, name, &run));
    struct lost lost = {.run = run.id, .no = chunk_no};
    TRY(db_transaction(c->db, skip, &lost));
    printf("run %" PRIu64 ", chunk %u: done: %" PRId64 " recipients skipped, %" PRId64 " unknown\n",
           lost.run, lost.no, lost.skipped, lost.unknown);
    return err_none();
}

int command_skip(struct console *c, int argc, char **argv)
{
    const char *chunk = NULL;
    char *end = NULL;
    const struct console_option options[] = {{"--chunk", NULL, &chunk}};
    if (!console_options(&argc, argv, options, 1, 1, 1)) return CONSOLE_USAGE;
    unsigned long number = chunk && *chunk >= '0' && *chunk <= '9' ? strtoul(chunk, &end, 10) : 0;
    if (!end || *end || number > UINT32_MAX)
        return console_usage(argv[0], "--chunk takes the number of a chunk, from 0");
    struct err e = run_command(c, argv[1], (uint32_t)number);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}
