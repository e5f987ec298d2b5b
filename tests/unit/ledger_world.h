/* A database made for tests of the ledger's logic: one run, its chunk and delivery rows, and the
 * clock, all in memory. It stands in for common/db.c and common/clock.c, which the linker then
 * leaves out, understands the statements of consumer/ledger*.c and run.c by what they say, and
 * fails as the dice fall: connections lost before or after a statement took effect, deadlocks,
 * refusals. */
#ifndef MAILFLOCK_LEDGER_WORLD_H
#define MAILFLOCK_LEDGER_WORLD_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/content.h"
#include "common/db.h"
#include "consumer/outcome.h"

enum { W_CHUNKS = 2, W_POSITIONS = 12, W_UTC_S = 1767323045 };

struct w_row {
    enum outcome_status status; /* NONE: no row */
    unsigned attempt;
    bool maybe;
};

struct w_chunk {
    char state[10];
    unsigned attempt, started, claims;
    uint64_t token, digest; /* 0 = NULL */
    int64_t lease_until_us; /* 0 = NULL */
    uint32_t seq;
    int counters[OUTCOME_STATUSES];
    struct w_row rows[W_POSITIONS];
};

static struct world {
    char control[12];
    bool parked; /* the run's row in that table */
    struct w_chunk chunks[W_CHUNKS];
} world;

static int64_t w_now_us, w_host_ahead_us; /* how far the calendar of the host is ahead */
static int w_fault;                       /* one statement in so many fails; 0: none */
static bool w_down;                       /* nobody can connect */
static struct buf w_content;
static int w_applied_unseen, w_late; /* commits whose reply was lost; late replies recorded */

struct db {
    bool lost, in_txn;
    struct world staged;
};

struct db_result {
    char cells[W_POSITIONS][8][24];
    const char *json; /* of the run's content, cell 0 */
    size_t json_len;
    int n, at;
};

static inline bool w_one_in(int n)
{
    return n && rand() % n == 0;
}

/* The clock. */
int64_t clock_boot_us(void)
{
    return w_now_us;
}

int64_t clock_utc_us(void)
{
    return W_UTC_S * 1000000LL + w_now_us + w_host_ahead_us;
}

void clock_sleep_ms(int ms)
{
    w_now_us += ms * 1000LL;
}

int clock_backoff_ms(int tries, int base_ms, int max_ms)
{
    (void)tries, (void)max_ms;
    return base_ms;
}

/* What a statement says. */
static inline bool w_says(const char *sql, const char *what)
{
    return strstr(sql, what) != NULL;
}

static inline uint64_t w_number(const char *sql, const char *behind)
{
    const char *at = strstr(sql, behind);
    if (!at) fail_msg("no '%s' in: %s", behind, sql);
    return strtoull(at + strlen(behind), NULL, 10);
}

static inline struct w_chunk *w_chunk_of(struct world *w, const char *sql)
{
    uint64_t no = w_number(sql, "chunk_no=");
    assert_true(no < W_CHUNKS);
    return &w->chunks[no];
}

static inline bool w_lease_lives(const struct w_chunk *c)
{
    return c->token && c->lease_until_us >= w_now_us;
}

static inline uint64_t w_claim(struct world *w, const char *sql)
{
    struct w_chunk *c = w_chunk_of(w, sql);
    uint64_t token = w_number(sql, "token<=>"),
             digest = w_number(sql, "(digest IS NULL OR digest=");
    bool open = strcmp(c->state, "planned") == 0 || strcmp(c->state, "queued") == 0;
    assert_int_equal(w_number(sql, "OR token="), token);
    assert_true(w_says(sql, "OR lease_until<UTC_TIMESTAMP(6))"));
    assert_true(w_says(sql, "claims=claims+IF(token<=>"));
    if (!open || c->attempt != w_number(sql, "AND attempt=") ||
        (c->digest && c->digest != digest) ||
        (c->token && c->token != token && c->lease_until_us >= w_now_us) ||
        strcmp(w->control, "paused") == 0)
        return 0;
    if (c->token != token) c->claims++;
    c->token = token;
    c->digest = digest;
    c->lease_until_us = w_now_us + (int64_t)w_number(sql, "lease_until=UTC_TIMESTAMP(6)+INTERVAL ");
    snprintf(c->state, sizeof c->state, "queued");
    return 1;
}

/* The fenced UPDATE. */
static inline uint64_t w_fenced(struct world *w, const char *sql)
{
    struct w_chunk *c = w_chunk_of(w, sql);
    const char *where = strstr(sql, " WHERE ");
    assert_non_null(where);
    if (c->token != w_number(where, "token=") || c->attempt != w_number(where, "attempt=") ||
        c->seq != w_number(where, "seq="))
        return 0;
    c->seq++;
    for (int s = OUTCOME_SENT; s < OUTCOME_STATUSES; s++) {
        char key[60];
        const char *name = outcome_status_name((enum outcome_status)s);
        snprintf(key, sizeof key, ", %s=%s+", name, name);
        if (w_says(sql, key)) c->counters[s] += (int)(int64_t)w_number(sql, key);
        assert_true(c->counters[s] >= 0 && c->counters[s] <= W_POSITIONS);
    }
    if (w_says(sql, ", started=")) c->started = (unsigned)w_number(sql, ", started=");
    if (w_says(sql, ", claims=")) c->claims = (unsigned)w_number(sql, ", claims=");
    if (w_says(sql, ", attempt=attempt+1")) c->attempt++;
    if (w_says(sql, ", state='done'")) snprintf(c->state, sizeof c->state, "done");
    if (w_says(sql, ", state='stuck'")) snprintf(c->state, sizeof c->state, "stuck");
    if (w_says(sql, ", token=NULL, lease_until=NULL"))
        c->token = 0, c->lease_until_us = 0;
    else
        c->lease_until_us = w_now_us + (int64_t)w_number(sql, "UTC_TIMESTAMP(6)+INTERVAL ");
    return 1;
}

static inline void w_upsert(struct world *w, const char *sql)
{
    const char *at = strstr(sql, "VALUES (") + strlen("VALUES ");
    while (*at == '(') {
        unsigned run, chunk, position, attempt, maybe;
        char id[70], to[330], status[20];
        assert_int_equal(sscanf(at, "(%u,%u,%u,'%69[^']','%329[^']','%19[^']',%u,%u", &run, &chunk,
                                &position, id, to, status, &attempt, &maybe),
                         8);
        assert_true(chunk < W_CHUNKS && position < W_POSITIONS);
        assert_int_equal(strtol(id, NULL, 10), chunk * 100 + position);
        w->chunks[chunk].rows[position] =
            (struct w_row){outcome_status_parse(status), attempt, maybe};
        at = strstr(at, "')") + strlen("')"); /* of the time, which ends the row */
        if (*at == ',') at++;
    }
}

static inline uint64_t w_late_answers(struct world *w, const char *sql)
{
    struct w_chunk *c = w_chunk_of(w, sql);
    uint64_t n = 0;
    const char *at = strstr(sql, "position IN (") + strlen("position IN ");
    while (*at == '(' || *at == ',') {
        char *end;
        struct w_row *r = &c->rows[strtoul(at + 1, &end, 10)];
        at = end;
        if (r->status != OUTCOME_UNKNOWN || r->attempt != w_number(sql, "attempt=")) continue;
        r->status = OUTCOME_SENT;
        n++;
    }
    w_late += (int)n;
    return n;
}

/* PROTOCOL C13. */
static inline uint64_t w_raise(struct world *w, const char *sql)
{
    struct w_chunk *c = w_chunk_of(w, sql);
    unsigned to = w_says(sql, "started=recipients") ? W_POSITIONS
                                                    : (unsigned)w_number(sql, "GREATEST(started,");
    if (to > c->started) c->started = to;
    if (!c->digest) c->digest = w_number(sql, "COALESCE(digest,");
    c->counters[OUTCOME_DEFERRED] -= (int)w_number(sql, "deferred=deferred-");
    c->counters[OUTCOME_UNKNOWN] += (int)w_number(sql, "unknown=unknown+");
    c->token = 0, c->lease_until_us = 0;
    assert_true(w_says(sql, "token=NULL, lease_until=NULL"));
    return 1;
}

static inline uint64_t w_doubt(struct world *w, const char *sql)
{
    struct w_chunk *c = w_chunk_of(w, sql);
    uint64_t n = 0;
    for (int p = 0; p < W_POSITIONS; p++) {
        if (c->rows[p].status != OUTCOME_DEFERRED) continue;
        if (w_says(sql, "status='unknown'")) c->rows[p].status = OUTCOME_UNKNOWN;
        c->rows[p].maybe = true;
        n++;
    }
    return n;
}

/* A claim is taken back. */
static inline uint64_t w_unclaim(struct world *w, const char *sql)
{
    struct w_chunk *c = w_chunk_of(w, sql);
    if (c->token != w_number(sql, "AND token=")) return 0;
    c->token = 0;
    c->claims -= c->claims > 0;
    return 1;
}

/* A statement without a result; returns the rows that it matched. */
static inline uint64_t w_run(struct world *w, const char *sql)
{
    if (w_says(sql, "UPDATE chunk SET claims=")) return w_claim(w, sql);
    if (w_says(sql, "UPDATE chunk SET token=NULL")) return w_unclaim(w, sql);
    if (w_says(sql, "UPDATE chunk SET seq=")) return w_fenced(w, sql);
    if (w_says(sql, "UPDATE delivery SET status='sent'")) return w_late_answers(w, sql);
    if (w_says(sql, "UPDATE chunk SET recipients=")) return w_raise(w, sql);
    if (w_says(sql, "UPDATE chunk SET next_due=")) return 1;
    if (w_says(sql, "UPDATE delivery SET maybe=1")) return w_doubt(w, sql);
    if (w_says(sql, "INSERT INTO parked")) return w->parked = true;
    if (w_says(sql, "UPDATE chunk SET unknown=unknown-")) {
        struct w_chunk *c = w_chunk_of(w, sql);
        c->counters[OUTCOME_UNKNOWN] -= (int)w_number(sql, "unknown=unknown-");
        c->counters[OUTCOME_SENT] += (int)w_number(sql, "sent=sent+");
        return 1;
    }
    if (w_says(sql, "INSERT INTO delivery"))
        w_upsert(w, sql);
    else if (!w_says(sql, "INSERT IGNORE INTO suppression") && !w_says(sql, "SET TRANSACTION"))
        fail_msg("not understood: %s", sql);
    return 1;
}

#define W_LOST err_make(ERR_DB, 2013, "lost connection")

static inline struct err w_lose(struct db *db)
{
    db->lost = true;
    db->in_txn = false; /* the server rolls back */
    return W_LOST;
}

/* Before a statement: what may go wrong with it, without effect. */
static inline struct err w_before(struct db *db)
{
    w_now_us += rand() % 3000;
    if (db->lost) return W_LOST;
    if (!w_one_in(w_fault)) return err_none();
    switch (rand() % 4) {
    case 0:
        return err_make(ERR_DB, 1213, "deadlock");
    case 1:
        return err_make(ERR_DB, 1366, "incorrect string value");
    default:
        return w_lose(db);
    }
}

static inline struct err w_exec(struct db *db, const char *sql, uint64_t *matched)
{
    uint64_t rows = 0;
    TRY(w_before(db));
    if (strcmp(sql, "BEGIN") == 0 || strncmp(sql, "START TRANSACTION", 17) == 0) {
        db->staged = world;
        db->in_txn = true;
    } else if (strcmp(sql, "ROLLBACK") == 0) {
        db->in_txn = false;
    } else if (strcmp(sql, "COMMIT") == 0) {
        if (db->in_txn) world = db->staged;
        db->in_txn = false;
    } else {
        rows = w_run(db->in_txn ? &db->staged : &world, sql);
    }
    if (w_one_in(w_fault * 2)) { /* it took effect, and nobody heard */
        w_applied_unseen += strcmp(sql, "COMMIT") == 0;
        return w_lose(db);
    }
    if (matched) *matched = rows;
    return err_none();
}

static inline void w_cell(struct db_result *r, int column, const char *text)
{
    snprintf(r->cells[r->n][column], sizeof r->cells[0][0], "%s", text);
}

static inline void w_cell_u64(struct db_result *r, int column, uint64_t number)
{
    snprintf(r->cells[r->n][column], sizeof r->cells[0][0], "%" PRIu64, number);
}

static inline void w_select_row(const struct world *w, const struct w_chunk *c, const char *sql,
                                struct db_result *r)
{
    uint64_t outcomes = 0;
    for (int s = 0; s < OUTCOME_STATUSES; s++) outcomes += (uint64_t)c->counters[s];
    const uint64_t cells[] = {
        c->token == w_number(sql, "token<=>"), c->attempt, c->seq, c->started, c->claims, outcomes,
        strcmp(w->control, "cancelled") == 0};
    for (int i = 0; i < 7; i++) w_cell_u64(r, i, cells[i]);
}

static inline void w_select_rows(const struct w_chunk *c, struct db_result *r)
{
    unsigned no = (unsigned)(c->digest & 0xff); /* see chunk_body */
    for (uint32_t i = 0; i < W_POSITIONS; i++) {
        if (!c->rows[i].status) continue;
        w_cell_u64(r, 0, i);
        w_cell(r, 1, outcome_status_name(c->rows[i].status));
        w_cell_u64(r, 2, c->rows[i].attempt);
        w_cell_u64(r, 3, c->rows[i].maybe);
        w_cell_u64(r, 4, no * 100 + i);
        r->n++;
    }
}

static inline void w_select(const struct world *w, const char *sql, struct db_result *r)
{
    const struct w_chunk *c =
        w_says(sql, "chunk_no=") ? w_chunk_of((struct world *)(uintptr_t)w, sql) : NULL;
    if (w_says(sql, "FROM suppression")) return;
    if (w_says(sql, "FROM delivery")) {
        w_select_rows(c, r);
        return;
    }
    if (w_says(sql, "SELECT content")) {
        r->json = w_content.data;
        r->json_len = w_content.len;
        w_cell_u64(r, 1, W_UTC_S);
        w_cell(r, 2, w->control);
    } else if (w_says(sql, "IS_USED_LOCK(")) {
        w_cell(r, 0, ""); /* a lost session is gone at once here */
    } else if (w_says(sql, "GET_LOCK(")) {
        w_cell_u64(r, 0, 1);
    } else if (w_says(sql, "UNIX_TIMESTAMP(UTC_TIMESTAMP(6))")) {
        w_cell_u64(r, 0, (uint64_t)(W_UTC_S * 1000000LL + w_now_us));
    } else if (w_says(sql, "SELECT control")) {
        w_cell(r, 0, w->control);
    } else if (w_says(sql, "SELECT c.state")) {
        w_cell(r, 0, c->state);
        w_cell_u64(r, 1, c->attempt);
        w_cell_u64(r, 2, !c->digest || c->digest == w_number(sql, "digest<=>"));
        w_cell_u64(r, 3, w_lease_lives(c));
        w_cell(r, 4, w->control);
    } else if (w_says(sql, "SELECT c.token<=>")) {
        w_select_row(w, c, sql, r);
    } else if (w_says(sql, "SELECT token<=>")) {
        const uint64_t cells[] = {c->token == w_number(sql, "token<=>"),
                                  c->attempt,
                                  c->seq,
                                  !c->token,
                                  strcmp(c->state, "done") == 0,
                                  strcmp(c->state, "stuck") == 0};
        for (int i = 0; i < 6; i++) w_cell_u64(r, i, cells[i]);
    } else if (w_says(sql, "SELECT attempt, seq FROM chunk")) {
        w_cell_u64(r, 0, c->attempt);
        w_cell_u64(r, 1, c->seq);
    } else if (w_says(sql, "SHOW GLOBAL VARIABLES")) {
        w_cell(r, 1, "a server");
    } else if (!w_says(sql, "SELECT seq FROM chunk")) {
        fail_msg("not understood: %s", sql);
    }
    r->n++;
}

/* The functions of common/db.h. */
struct err db_open(struct db **out, const struct db_config *config)
{
    (void)config;
    *out = NULL;
    w_now_us += 1000;
    if (w_down || w_one_in(w_fault)) return W_LOST;
    *out = mem_alloc(sizeof **out);
    return err_none();
}

void db_close(struct db *db)
{
    free(db);
}

enum db_failure db_failure_of(const struct err *e)
{
    return e->native == 2013   ? DB_FAILURE_LOST
           : e->native == 1213 ? DB_FAILURE_RETRY
                               : DB_FAILURE_STATEMENT;
}

struct err db_exec(struct db *db, const struct buf *sql, uint64_t *matched)
{
    return w_exec(db, buf_text((struct buf *)(uintptr_t)sql), matched);
}

struct err db_exec_text(struct db *db, const char *sql, uint64_t *matched)
{
    return w_exec(db, sql, matched);
}

static inline struct err w_query(struct db *db, const char *sql, struct db_result **out)
{
    *out = NULL;
    TRY(w_before(db));
    *out = mem_alloc(sizeof **out);
    w_select(db->in_txn ? &db->staged : &world, sql, *out);
    return err_none();
}

struct err db_execf(struct db *db, uint64_t *matched, const char *format, ...)
{
    char sql[1000];
    va_list args;
    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    return w_exec(db, sql, matched);
}

struct err db_query(struct db *db, const struct buf *sql, struct db_result **out)
{
    return w_query(db, buf_text((struct buf *)(uintptr_t)sql), out);
}

struct err db_queryf(struct db *db, struct db_result **out, const char *format, ...)
{
    char sql[1000];
    va_list args;
    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    return w_query(db, sql, out);
}

void db_result_free(struct db_result *r)
{
    free(r);
}

bool db_next(struct db_result *r)
{
    return r->at++ < r->n;
}

const char *db_text(const struct db_result *r, unsigned column)
{
    return r->cells[r->at - 1][column];
}

uint64_t db_u64(const struct db_result *r, unsigned column)
{
    return strtoull(db_text(r, column), NULL, 10);
}

int64_t db_i64(const struct db_result *r, unsigned column)
{
    return strtoll(db_text(r, column), NULL, 10);
}

struct db_cell db_cell(const struct db_result *r, unsigned column)
{
    assert_true(r->json && column == 0);
    return (struct db_cell){r->json, r->json_len};
}

void db_quote_bytes(struct db *db, struct buf *sql, const char *text, size_t len)
{
    (void)db;
    buf_append_char(sql, '\'');
    buf_append(sql, text, len); /* no text of these tests holds a quote */
    buf_append_char(sql, '\'');
}

void db_quote(struct db *db, struct buf *sql, const char *text)
{
    db_quote_bytes(db, sql, text, strlen(text));
}

#endif
