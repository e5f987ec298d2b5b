/* Recovery (PROTOCOL C3): what an earlier claim of this chunk, or an earlier attempt, left behind
 * decides what is to be sent now. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/address.h"
#include "common/log.h"
#include "consumer/ledger_internal.h"

/* The chunk's row at the time of recovery. */
struct row {
    bool mine, cancelled;
    unsigned claims, attempt, started;
    uint64_t outcomes;
};

static struct err read_row(struct ledger *l, struct job *job, struct row *row)
{
    struct db_result *r;
    TRY(db_queryf(l->db, &r,
                  "SELECT c.token<=>%" PRIu64 ", c.attempt, c.seq, c.started, c.claims,"
                  " c.sent+c.failed+c.deferred+c.suppressed+c.skipped+c.unknown,"
                  " r.control='cancelled' FROM chunk c JOIN run r ON r.id=c.run_id"
                  " WHERE c.run_id=%" PRIu64 " AND c.chunk_no=%u",
                  job->token, job->message.run, job->message.chunk));
    *row = (struct row){0};
    if (db_next(r)) {
        row->mine = db_u64(r, 0) != 0;
        row->attempt = (unsigned)db_u64(r, 1);
        job->seq = (uint32_t)db_u64(r, 2);
        row->started = (unsigned)db_u64(r, 3);
        row->claims = (unsigned)db_u64(r, 4);
        row->outcomes = db_u64(r, 5);
        row->cancelled = db_u64(r, 6) != 0;
    }
    db_result_free(r);
    return err_none();
}

static int by_position(const void *key, const void *item)
{
    uint32_t a = *(const uint32_t *)key, b = ((const struct chunk_recipient *)item)->position;
    return a < b ? -1 : a > b;
}

/* One row of delivery: what it means for the message's recipient at that position. */
static void take_row(struct job *job, const struct db_result *r)
{
    uint32_t position = (uint32_t)db_u64(r, 0);
    const struct chunk_message *m = &job->message;
    const struct chunk_recipient *found =
        bsearch(&position, m->recipients, m->n, sizeof *m->recipients, by_position);
    unsigned attempt = (unsigned)db_u64(r, 2);
    enum outcome_status status = outcome_status_parse(db_text(r, 1));
    if (!found && status == OUTCOME_DEFERRED && attempt < m->attempt)
        snprintf(job->reason, sizeof job->reason,
                 "position %u is deferred, and not in this retry of the chunk", position);
    if (!found) return;
    uint32_t i = (uint32_t)(found - m->recipients);
    job->old_status[i] = (uint8_t)status;
    job->outcomes[i].maybe = db_u64(r, 3) != 0;
    if (strcmp(db_text(r, 4), found->id) != 0) {
        snprintf(job->reason, sizeof job->reason, "position %u is not the ledger's recipient",
                 position);
    } else if (status != OUTCOME_DEFERRED || attempt >= m->attempt) {
        job->outcomes[i].status = (uint8_t)status;
    }
}

static struct err read_rows(struct ledger *l, struct job *job)
{
    struct db_result *r;
    TRY(db_queryf(l->db, &r,
                  "SELECT position, status, attempt, maybe, recipient_id FROM delivery"
                  " WHERE run_id=%" PRIu64 " AND chunk_no=%u",
                  job->message.run, job->message.chunk));
    while (db_next(r)) take_row(job, r);
    db_result_free(r);
    return err_none();
}

/* Row and deliveries in one snapshot: a commit of somebody who took over must not lie between. */
static struct err read_snapshot(struct ledger *l, struct job *job, struct row *row)
{
    TRY(db_exec_text(l->db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", NULL));
    TRY(db_exec_text(l->db, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", NULL));
    struct err e = read_row(l, job, row);
    if (!e.code) e = read_rows(l, job);
    struct err ended = db_exec_text(l->db, "COMMIT", NULL);
    return e.code ? e : ended;
}

void ledger_quote_folded(struct ledger *l, const struct chunk_recipient *r)
{
    char folded[CHUNK_TO_MAX];
    address_fold(r->to, r->to_len, folded);
    db_quote_bytes(l->db, &l->sql, folded, r->to_len);
}

static struct err mark_suppressed(struct ledger *l, struct job *job)
{
    const struct chunk_message *m = &job->message;
    struct buf *sql = &l->sql;
    struct db_result *r;
    bool any = false;
    buf_reset(sql);
    buf_append_text(sql, "SELECT email FROM suppression WHERE email IN (");
    for (uint32_t i = 0; i < m->n; i++) {
        if (job->outcomes[i].status || m->recipients[i].fail) continue;
        if (any) buf_append_char(sql, ',');
        ledger_quote_folded(l, &m->recipients[i]);
        any = true;
    }
    buf_append_char(sql, ')');
    if (!any) return err_none();
    TRY(db_query(l->db, sql, &r));
    while (db_next(r))
        for (uint32_t i = 0; i < m->n; i++)
            if (!job->outcomes[i].status && strcasecmp(m->recipients[i].to, db_text(r, 0)) == 0)
                outcome_set(&job->outcomes[i], OUTCOME_SUPPRESSED, "on the suppression list");
    db_result_free(r);
    return err_none();
}

static void decided(const struct ledger *l, struct job *job, uint32_t i, enum outcome_status status,
                    const char *why)
{
    struct outcome *o = &job->outcomes[i];
    struct outcome_rules rules = {.attempt = job->message.attempt, .max_attempts = 1000};
    if (status) outcome_set(o, status, why);
    rules.max_age_s = INT64_MAX;
    o->at_us = ledger_now_us(l);
    outcome_settle(o, &rules);
    job->n_expected++;
    ledger_arrived(job, i);
}

static int64_t age_s(const struct ledger *l, const struct job *job)
{
    return ledger_now_us(l) / 1000000 - job->run->scheduled_s;
}

/* Only of a first attempt: a later one was allowed when the one before ended, or an operator wants
 * it. */
static bool too_late(const struct ledger *l, const struct job *job)
{
    return job->message.attempt == 1 && age_s(l, job) > job->run->content.max_age_s;
}

static void say_too_late(const struct ledger *l, const struct job *job, uint32_t n)
{
    if (!n) return;
    log_warn("ledger",
             "msg=\"too late: max_age has passed, recipients are skipped\" run=%" PRIu64
             " chunk=%u recipients=%u age_s=%" PRId64 " max_age_s=%" PRId64,
             job->message.run, job->message.chunk, n, age_s(l, job), job->run->content.max_age_s);
}

/* C3: ambiguous positions first, then cancelled, then suppressed; what is left is to be sent. */
static void divide(const struct ledger *l, struct job *job, const struct row *row)
{
    const struct chunk_message *m = &job->message;
    bool resend = job->run->content.resend, late = too_late(l, job);
    uint32_t n_late = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        struct outcome *o = &job->outcomes[i];
        if (job->answered[i]) continue;
        bool ambiguous = m->recipients[i].position < row->started;
        if (ambiguous) o->maybe = true;
        if (ambiguous && (!resend || row->cancelled || job->poison))
            decided(l, job, i, OUTCOME_UNKNOWN, "a worker stopped after handing it over");
        else if (job->poison)
            continue;
        else if (row->cancelled)
            decided(l, job, i, OUTCOME_SKIPPED, "the run was cancelled");
        else if (late && ++n_late)
            decided(l, job, i, OUTCOME_SKIPPED, "too late: max_age has passed");
        else if (o->status == OUTCOME_SUPPRESSED)
            decided(l, job, i, OUTCOME_NONE, NULL);
        else if (m->recipients[i].fail)
            decided(l, job, i, OUTCOME_FAILED, m->recipients[i].fail);
        else
            job->work[job->n_work++] = i;
    }
    job->n_expected += job->n_work;
    say_too_late(l, job, n_late);
}

/* A retry carries all that the ledger calls deferred (take_row), and nothing else. */
static void check_retry(struct job *job)
{
    if (job->message.attempt == 1) return;
    for (uint32_t i = 0; i < job->message.n; i++)
        if (!job->old_status[i])
            snprintf(job->reason, sizeof job->reason, "position %u has no earlier attempt",
                     job->message.recipients[i].position);
}

/* C13: the watermark does not cover what was sent before a release lowered it. */
static uint32_t known_end(const struct job *job, unsigned started)
{
    const struct chunk_message *m = &job->message;
    for (uint32_t i = m->n; i-- && m->recipients[i].position >= started;)
        if (job->old_status[i] == OUTCOME_SENT || job->old_status[i] == OUTCOME_UNKNOWN ||
            job->outcomes[i].maybe)
            return m->recipients[i].position + 1;
    return started;
}

static void reset(struct job *job)
{
    uint32_t n = job->message.n;
    if (!job->outcomes) job_prepare(job);
    memset(job->outcomes, 0, n * sizeof *job->outcomes);
    memset(job->old_status, 0, n);
    memset(job->losses, 0, n);
    job->n_work = job->n_expected = job->n_arrived = job->n_committed = 0;
    job->n_granted = job->n_answered = 0;
    job->reason[0] = '\0';
}

struct err ledger_recover(struct ledger *l, struct job *job, bool *mine)
{
    struct row row;
    reset(job);
    TRY(read_row(l, job, &row));
    bool untouched = row.claims <= 1 && row.attempt == 1 && row.started == 0 && row.outcomes == 0;
    if (!untouched) TRY(read_snapshot(l, job, &row));
    *mine = row.mine && row.attempt == job->message.attempt;
    if (*mine) check_retry(job);
    if (!*mine || *job->reason) return err_none();
    job->known_end = known_end(job, row.started);
    for (uint32_t i = 0; i < job->message.n; i++) job->answered[i] = job->outcomes[i].status != 0;
    job->claims = row.claims;
    job->poison = row.claims >= LEDGER_POISON_CLAIMS && !row.cancelled;
    if (!row.cancelled && !job->poison) TRY(mark_suppressed(l, job));
    divide(l, job, &row);
    job->started = row.started;
    while (job->n_granted < job->n_work &&
           job->message.recipients[job->work[job->n_granted]].position < job->started)
        job->n_granted++;
    return err_none();
}
