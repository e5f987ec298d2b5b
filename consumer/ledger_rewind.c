/* PROTOCOL C13: the database lost commits that it had confirmed, as after a failover to a replica
 * that lagged, or when a backup was put back. A row then says less than the worker that has the
 * chunk knows. What that worker knows is written down, and it ends: nothing it goes by holds any
 * more. Chunks that nobody has in hand are as lost as the commits; DESIGN presumes that there are
 * none. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "consumer/ledger_internal.h"

/* MySQL calls itself server_uuid, MariaDB (10.11) server_uid. */
static struct err read_server(struct ledger *l, char *out, size_t size)
{
    struct db_result *r;
    size_t len = 0;
    TRY(db_queryf(l->db, &r,
                  "SHOW GLOBAL VARIABLES WHERE Variable_name IN"
                  " ('hostname', 'port', 'server_uid', 'server_uuid')"));
    out[0] = '\0';
    while (db_next(r) && len < size) {
        char value[80];
        log_text(value, sizeof value, db_text(r, 1), strlen(db_text(r, 1)));
        len += (size_t)snprintf(out + len, size - len, "%s%s", len ? " " : "", value);
    }
    db_result_free(r);
    return err_none();
}

void ledger_know_server(struct ledger *l)
{
    char server[sizeof l->server];
    struct err e = read_server(l, server, sizeof server);
    if (e.code) return; /* the next statement will find out */
    if (*l->server && strcmp(l->server, server) != 0)
        log_warn("ledger", "msg=\"the database is another server\" before=\"%s\" now=\"%s\"",
                 l->server, server);
    snprintf(l->server, sizeof l->server, "%s", server);
}

/* The row as it is now; where there is none, attempt and seq are 0. */
struct behind {
    unsigned attempt;
    uint32_t seq;
};

static struct err read_behind(struct ledger *l, const struct job *job, struct behind *row)
{
    struct db_result *r;
    TRY(db_queryf(l->db, &r,
                  "SELECT attempt, seq FROM chunk WHERE run_id=%" PRIu64
                  " AND chunk_no=%u FOR UPDATE",
                  job->message.run, job->message.chunk));
    *row = (struct behind){0};
    if (db_next(r)) *row = (struct behind){(unsigned)db_u64(r, 0), (uint32_t)db_u64(r, 1)};
    db_result_free(r);
    return err_none();
}

/* Whether to repeat what failed; at an end once the time to stop is over. */
static bool try_again(struct ledger *l, const struct err *e)
{
    log_warn("ledger", "msg=\"looking at a lost chunk failed, will be repeated\" err=\"%s\"",
             e->text);
    if (ledger_is_out_of_time(l)) return false;
    if (db_failure_of(e) == DB_FAILURE_LOST) return ledger_reconnect(l);
    struct err undone = db_exec_text(l->db, "ROLLBACK", NULL);
    if (undone.code) return ledger_reconnect(l);
    clock_sleep_ms(clock_backoff_ms(1, 50, 500));
    return true;
}

bool ledger_went_back(struct ledger *l, const struct job *job)
{
    struct behind row = {0};
    struct err e;
    if (!l->db) return false;
    do e = read_behind(l, job, &row);
    while (e.code && try_again(l, &e));
    if (e.code || row.seq >= job->seq) return false;
    log_error("ledger",
              "msg=\"the database has lost commits: this worker ends\" run=%" PRIu64
              " chunk=%u seq=%u committed=%u server=\"%s\"",
              job->message.run, job->message.chunk, row.seq, job->seq, l->server);
    return true;
}

/* What the row calls deferred may have been sent since, in an attempt that it does not know. */
static struct err doubt_deferred(struct ledger *l, const struct job *job, uint64_t *unknown)
{
    bool resend = job->run->content.resend;
    uint64_t rows;
    TRY(db_execf(l->db, &rows,
                 "UPDATE delivery SET maybe=1, status='%s', detail='the database has lost a"
                 " later attempt' WHERE run_id=%" PRIu64 " AND chunk_no=%u AND status='deferred'",
                 resend ? "deferred" : "unknown", job->message.run, job->message.chunk));
    *unknown = resend ? 0 : rows;
    return err_none();
}

/* An earlier attempt reached everybody; of this one the worker knows how far it came. The digest
 * says of which recipients. The token goes: whoever claimed since knows too little. */
static struct err raise_row(struct ledger *l, const struct job *job, const struct behind *row)
{
    const struct chunk_message *m = &job->message;
    uint32_t end = job->known_end > job->started ? job->known_end : job->started;
    uint64_t unknown = 0;
    char started[64] = "recipients", recipients[64] = "recipients";
    if (row->attempt < m->attempt)
        TRY(doubt_deferred(l, job, &unknown));
    else
        snprintf(started, sizeof started, "GREATEST(started,%u)", end);
    if (m->attempt == 1)
        snprintf(recipients, sizeof recipients, "IF(digest IS NULL,%u,recipients)", m->n);
    return db_execf(l->db, NULL,
                    "UPDATE chunk SET recipients=%s, digest=COALESCE(digest,%" PRIu64
                    "), started=%s, deferred=deferred-%" PRIu64 ", unknown=unknown+%" PRIu64
                    ", token=NULL, lease_until=NULL WHERE run_id=%" PRIu64 " AND chunk_no=%u",
                    recipients, m->digest, started, unknown, unknown, m->run, m->chunk);
}

static struct err raise_job(struct ledger *l, const struct job *job)
{
    struct behind row;
    TRY(db_exec_text(l->db, "BEGIN", NULL));
    TRY(read_behind(l, job, &row));
    if (row.attempt == 0 || row.attempt > job->message.attempt || row.seq >= job->seq)
        return db_exec_text(l->db, "ROLLBACK", NULL);
    TRY(raise_row(l, job, &row));
    TRY(db_exec_text(l->db, "COMMIT", NULL));
    log_warn("ledger",
             "msg=\"the watermark is raised to what was sent\" run=%" PRIu64 " chunk=%u attempt=%u",
             job->message.run, job->message.chunk, row.attempt);
    return err_none();
}

static bool in_hand(const struct job *job)
{
    return job->state == JOB_SENDING || job->state == JOB_RELEASING ||
           job->state == JOB_DEFERRING || job->state == JOB_CLOSING;
}

void ledger_raise(struct ledger *l)
{
    for (int n = 0; n < l->n_jobs; n++) {
        struct err e = err_none();
        if (!in_hand(l->jobs[n])) continue;
        do e = raise_job(l, l->jobs[n]);
        while (e.code && try_again(l, &e));
        if (e.code) return;
    }
}
