/* The group commit (PROTOCOL C5, C6) with the statements that end an attempt (C7, C8, C11): per
 * touched chunk one fenced UPDATE, then the delivery rows, then, once the matches are known,
 * COMMIT.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "consumer/ledger_internal.h"
#include "consumer/metrics.h"

static bool gathering(const struct job *job)
{
    return job->state == JOB_SENDING || job->state == JOB_RELEASING;
}

static bool all_arrived(const struct job *job)
{
    return job->n_arrived == job->n_expected;
}

/* Nothing of this claim is open any more. */
static bool complete(const struct job *job)
{
    return all_arrived(job) && !job_has(job, OUTCOME_OPEN);
}

/* What the next transaction does with the job. */
static enum ledger_end next_end(const struct job *job)
{
    if (job->state == JOB_CLOSING) return LEDGER_BUMP;
    if (!gathering(job)) return LEDGER_GO_ON;
    if (complete(job) && job->poison) return LEDGER_STUCK;
    if (complete(job)) return job_has(job, OUTCOME_DEFERRED) ? LEDGER_GO_ON : LEDGER_DONE;
    if (job->state == JOB_RELEASING && !job->with_sender) return LEDGER_RELEASE;
    return LEDGER_GO_ON;
}

/* Positions of the job that a crash now would leave ambiguous. */
static uint32_t at_risk(const struct job *job)
{
    return job->n_granted - job->n_answered;
}

/* Whether the sender takes the other's mails before those of the job, on the same connections. */
static bool comes_before(const struct ledger *l, const struct job *other, const struct job *job)
{
    return other->turn < job->turn && ledger_settings_of(l, other) == ledger_settings_of(l, job);
}

/* Whether a job whose turn is earlier still waits for its share of the window: room given to a
 * later one while connections hold mails of the earlier one would never be used. */
static bool others_first(const struct ledger *l, const struct job *job)
{
    for (int i = 0; i < l->n_jobs; i++) {
        const struct job *other = l->jobs[i];
        if (other->state == JOB_SENDING && other->n_granted < other->n_work &&
            comes_before(l, other, job))
            return true;
    }
    return false;
}

/* The window as the job finds it. Each transport has one of its own, so that one that is down does
 * not use up the room of the others. What later jobs have at risk was left to them by a dead
 * worker, and is sent when it is their turn: to wait for it here would be to wait for ever. One
 * that is released may await replies for minutes, and has at most one mail on each connection (C8).
 */
static uint32_t used_before(const struct ledger *l, const struct job *job)
{
    uint32_t used = at_risk(job), connections = (uint32_t)ledger_settings_of(l, job)->connections;
    for (int i = 0; i < l->n_jobs; i++) {
        const struct job *other = l->jobs[i];
        if (!gathering(other) || !comes_before(l, other, job)) continue;
        bool few = other->state == JOB_RELEASING && at_risk(other) > connections;
        used += few ? connections : at_risk(other);
    }
    return used;
}

/* How many more positions of the job may fall below the watermark. */
static uint32_t room_for(const struct ledger *l, const struct job *job)
{
    uint32_t size = window_size(&l->window, (uint32_t)ledger_settings_of(l, job)->connections);
    METRICS_SET(window, size);
    if (others_first(l, job)) return 0;
    uint32_t left = job->n_work - job->n_granted, used = used_before(l, job);
    uint32_t room = used < size ? size - used : 0,
             most = ledger_room_left(l, ledger_settings_of(l, job));
    if (room > most) room = most;
    return room < left ? room : left;
}

/* It has outcomes that no transaction has taken. */
static bool gathers(const struct job *job)
{
    return gathering(job) && job->n_arrived > job->n_committed;
}

bool ledger_gathers(const struct ledger *l)
{
    for (int n = 0; n < l->n_jobs; n++)
        if (gathers(l->jobs[n])) return true;
    return false;
}

/* A step of the watermark that is worth a commit of its own. */
static bool wants_grant(const struct ledger *l, const struct job *job)
{
    if (job->state != JOB_SENDING || job->n_granted == job->n_work) return false;
    uint32_t connections = (uint32_t)ledger_settings_of(l, job)->connections,
             room = room_for(l, job);
    return room && (room == job->n_work - job->n_granted ||
                    window_runs_low(window_size(&l->window, connections), used_before(l, job),
                                    connections));
}

bool ledger_wants_commit(const struct ledger *l, const struct job *job)
{
    if (!gathering(job) && job->state != JOB_DEFERRING && job->state != JOB_CLOSING) return false;
    if (next_end(job) != LEDGER_GO_ON) return true;
    if (gathers(job) && clock_boot_us() - l->gather_from_us >= WINDOW_GATHER_US) return true;
    if (wants_grant(l, job)) return true;
    /* All outcomes were there before the claim, and deferred ones wait for their retry. */
    if (gathering(job) && complete(job)) return true;
    return clock_boot_us() - job->lease_from_us > l->lease_us / 3; /* C6 */
}

/* C8: the lowest position without an outcome, so that everything from there on is sent afresh. */
static uint32_t lowest_open(const struct job *job)
{
    for (uint32_t i = 0; i < job->message.n; i++)
        if (!job->outcomes[i].status || job->outcomes[i].status == OUTCOME_OPEN)
            return job->message.recipients[i].position;
    return job->started;
}

/* What the ledger calls it: what is given back unsettled is deferred, of the attempt before. */
static int counted_as(const struct outcome *o)
{
    return o->status == OUTCOME_OPEN ? OUTCOME_DEFERRED : o->status;
}

static void append_counters(struct buf *sql, const struct job *job)
{
    int moved[OUTCOME_STATUSES] = {0};
    for (uint32_t k = job->n_committed; k < job->txn.arrived; k++) {
        uint32_t i = job->arrived[k];
        moved[counted_as(&job->outcomes[i])]++;
        moved[job->old_status[i]]--;
    }
    for (int s = OUTCOME_SENT; s < OUTCOME_STATUSES; s++) {
        const char *name = outcome_status_name((enum outcome_status)s);
        if (moved[s]) buf_append_format(sql, ", %s=%s+%d", name, name, moved[s]);
    }
}

static void append_end(struct ledger *l, struct job *job)
{
    struct buf *sql = &l->sql;
    switch ((enum ledger_end)job->txn.end) {
    case LEDGER_GO_ON:
        buf_append_format(
            sql, ", started=%u, lease_until=UTC_TIMESTAMP(6)+INTERVAL %" PRId64 " MICROSECOND",
            job->txn.started, l->lease_us);
        return;
    case LEDGER_DONE:
        buf_append_text(sql, ", state='done', next_due=NULL");
        break;
    case LEDGER_BUMP:
        buf_append_format(sql,
                          ", attempt=attempt+1, started=0, claims=0"
                          ", next_due=UTC_TIMESTAMP(6)+INTERVAL %d SECOND",
                          job->retry_delay_s + START_OVERDUE_S);
        break;
    case LEDGER_RELEASE:
        buf_append_format(sql,
                          ", started=%u, claims=0, next_due=UTC_TIMESTAMP(6)+INTERVAL %d SECOND",
                          job->txn.started, job->copy_delay_s + START_OVERDUE_S);
        break;
    case LEDGER_STUCK:
        buf_append_text(sql, ", state='stuck', next_due=NULL");
        break;
    }
    buf_append_text(sql, ", token=NULL, lease_until=NULL");
}

/* Counted before it is committed, so that the next job finds less room. What is granted may have
 * its outcome by now: envelopes are refused ahead of the watermark. */
static void grant(struct job *job, uint32_t room)
{
    for (; room; room--) job->n_answered += job->answered[job->work[job->n_granted++]];
    job->txn.granted = job->n_granted;
}

/* C4, C8: where the watermark will stand once this transaction is committed. */
static void choose_watermark(const struct ledger *l, struct job *job)
{
    job->txn.started = job->started;
    job->txn.granted = job->n_granted;
    if (job->txn.end == LEDGER_RELEASE) {
        job->txn.started = lowest_open(job);
    } else if (job->state == JOB_SENDING && job->txn.end == LEDGER_GO_ON) {
        grant(job, room_for(l, job));
        uint32_t last = job->txn.granted ? job->work[job->txn.granted - 1] : 0;
        if (job->txn.granted && job->message.recipients[last].position >= job->started)
            job->txn.started = job->message.recipients[last].position + 1;
    }
}

/* The fenced UPDATE. claims is reset by a commit of outcomes (C11); to 1, for ours goes on. */
static struct err update_chunk(struct ledger *l, struct job *job, bool *matched)
{
    struct buf *sql = &l->sql;
    uint64_t rows;
    job->txn.arrived = job->n_arrived;
    job->txn.end = next_end(job);
    choose_watermark(l, job);
    int64_t sent_us = clock_boot_us();
    buf_reset(sql);
    buf_append_text(sql, "UPDATE chunk SET seq=seq+1");
    append_counters(sql, job);
    if (job->txn.arrived > job->n_committed && job->txn.end == LEDGER_GO_ON)
        buf_append_text(sql, ", claims=1");
    append_end(l, job);
    buf_append_format(
        sql,
        " WHERE run_id=%" PRIu64 " AND chunk_no=%u AND token=%" PRIu64 " AND attempt=%u AND seq=%u",
        job->message.run, job->message.chunk, job->token, job->message.attempt, job->seq);
    TRY(db_exec(l->db, sql, &rows));
    *matched = rows == 1;
    if (*matched) job->lease_from_us = sent_us;
    return err_none();
}

static void append_time(struct ledger *l, struct buf *sql, int64_t at_us)
{
    int64_t second = at_us / 1000000;
    if (second != l->second) {
        time_t t = (time_t)second;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(l->second_text, sizeof l->second_text, "%Y-%m-%d %H:%M:%S", &tm);
        l->second = second;
    }
    char micro[8] = ".000000";
    int64_t left = at_us % 1000000;
    for (int i = 6; i > 0; i--, left /= 10) micro[i] = (char)('0' + left % 10);
    buf_append_char(sql, '\'');
    buf_append_text(sql, l->second_text);
    buf_append(sql, micro, 7);
    buf_append_char(sql, '\'');
}

static void append_number(struct buf *sql, uint64_t number)
{
    buf_append_u64(sql, number);
    buf_append_char(sql, ',');
}

static void append_quoted(struct ledger *l, const char *text, size_t len)
{
    db_quote_bytes(l->db, &l->sql, text, len);
    buf_append_char(&l->sql, ',');
}

static void append_row(struct ledger *l, const struct job *job, uint32_t i)
{
    const struct chunk_recipient *to = &job->message.recipients[i];
    const struct outcome *o = &job->outcomes[i];
    struct buf *sql = &l->sql;
    char mail_id[JOB_MAIL_ID_SIZE];
    bool open = o->status == OUTCOME_OPEN; /* C8: of the attempt before, with maybe */
    job_mail_id(mail_id, job, i);
    buf_append_char(sql, '(');
    append_number(sql, job->message.run);
    append_number(sql, job->message.chunk);
    append_number(sql, to->position);
    append_quoted(l, to->id, to->id_len);
    append_quoted(l, to->to, to->to_len);
    append_quoted(l, outcome_status_name(o->status), strlen(outcome_status_name(o->status)));
    append_number(sql, open ? job->message.attempt - 1 : job->message.attempt);
    append_number(sql, o->maybe);
    append_number(sql, o->code);
    append_quoted(l, o->enhanced, strlen(o->enhanced));
    append_quoted(l, o->detail, l->bare_rows ? 0 : strlen(o->detail));
    append_quoted(l, mail_id, strnlen(mail_id, 160));
    append_quoted(l, l->config.worker, strlen(l->config.worker));
    append_time(l, sql, o->at_us);
    buf_append_char(sql, ')');
}

static struct err flush_rows(struct ledger *l, int *rows)
{
    if (!*rows) return err_none();
    buf_append_text(&l->sql,
                    " ON DUPLICATE KEY UPDATE status=VALUES(status), attempt=VALUES(attempt),"
                    " maybe=VALUES(maybe), code=VALUES(code), enhanced=VALUES(enhanced),"
                    " detail=VALUES(detail), message_id=VALUES(message_id), worker=VALUES(worker),"
                    " at=VALUES(at)");
    *rows = 0;
    return db_exec(l->db, &l->sql, NULL);
}

static struct err insert_deliveries(struct ledger *l)
{
    int rows = 0;
    for (int n = 0; n < l->n_jobs; n++) {
        const struct job *job = l->jobs[n];
        for (uint32_t k = job->n_committed; job->txn.in && k < job->txn.arrived; k++) {
            if (rows == 0) {
                buf_reset(&l->sql);
                buf_append_text(&l->sql,
                                "INSERT INTO delivery (run_id,chunk_no,position,recipient_id,email,"
                                "status,attempt,maybe,code,enhanced,detail,message_id,worker,at)"
                                " VALUES ");
            } else {
                buf_append_char(&l->sql, ',');
            }
            append_row(l, job, job->arrived[k]);
            if (++rows == LEDGER_ROWS_MAX) TRY(flush_rows(l, &rows));
        }
    }
    return flush_rows(l, &rows);
}

static struct err insert_suppressions(struct ledger *l)
{
    for (int n = 0; n < l->n_jobs; n++) {
        const struct job *job = l->jobs[n];
        for (uint32_t k = job->n_committed; job->txn.in && k < job->txn.arrived; k++) {
            const struct outcome *o = &job->outcomes[job->arrived[k]];
            const struct chunk_recipient *to = &job->message.recipients[job->arrived[k]];
            if (!o->suppress) continue;
            buf_reset(&l->sql);
            buf_append_text(&l->sql, "INSERT IGNORE INTO suppression VALUES (");
            ledger_quote_folded(l, to);
            buf_append_char(&l->sql, ',');
            append_quoted(l, o->detail, strlen(o->detail));
            buf_append_text(&l->sql, "'bounce',UTC_TIMESTAMP(6))");
            TRY(db_exec(l->db, &l->sql, NULL));
        }
    }
    return err_none();
}

/* What follows from it has to wait for the transaction's end. */
static void leave_group(struct job *job)
{
    job->txn.in = false;
    job->txn.fenced = true;
}

static void abandon_fenced(struct ledger *l)
{
    for (int n = 0; n < l->n_jobs && !l->went_back; n++)
        l->went_back = l->jobs[n]->txn.fenced && ledger_went_back(l, l->jobs[n]);
    if (l->went_back) {
        ledger_raise(l);
        return;
    }
    for (int n = l->n_jobs - 1; n >= 0; n--)
        if (l->jobs[n]->txn.fenced) ledger_fenced_off(l, l->jobs[n]);
}

/* All statements but COMMIT. A chunk that does not match leaves the group, alone. */
static struct err run_statements(struct ledger *l)
{
    TRY(db_exec_text(l->db, "BEGIN", NULL));
    for (int n = 0; n < l->n_jobs; n++) {
        struct job *job = l->jobs[n];
        bool matched = true;
        if (job->txn.in) TRY(update_chunk(l, job, &matched));
        if (!matched) leave_group(job);
    }
    TRY(insert_deliveries(l));
    return insert_suppressions(l);
}

/* C5, result unknown: our token still there and seq moved -> it was applied; same -> repeat. When
 * the statement would have given the token up, a gone token proves nothing but the end of our hold:
 * then what the row says now decides, and where it does not say our end, the job is abandoned. */
static struct err resync(struct ledger *l, struct job *job, bool *applied)
{
    struct db_result *r;
    TRY(db_queryf(l->db, &r,
                  "SELECT token<=>%" PRIu64 ", attempt, seq, token IS NULL, state='done',"
                  " state='stuck' FROM chunk WHERE run_id=%" PRIu64 " AND chunk_no=%u FOR UPDATE",
                  job->token, job->message.run, job->message.chunk));
    bool found = db_next(r);
    bool mine = found && db_u64(r, 0);
    unsigned attempt = found ? (unsigned)db_u64(r, 1) : 0;
    uint32_t seq = found ? (uint32_t)db_u64(r, 2) : 0;
    bool is_free = found && db_u64(r, 3), done = found && db_u64(r, 4),
         stuck = found && db_u64(r, 5);
    db_result_free(r);
    bool moved = seq == job->seq + 1;
    *applied =
        moved && ((mine && job->txn.end == LEDGER_GO_ON) || (job->txn.end == LEDGER_DONE && done) ||
                  (job->txn.end == LEDGER_STUCK && stuck) ||
                  (job->txn.end == LEDGER_BUMP && attempt == job->message.attempt + 1) ||
                  (job->txn.end == LEDGER_RELEASE && is_free));
    if (!*applied && !(mine && seq == job->seq)) leave_group(job);
    return err_none();
}

static struct err resync_all(struct ledger *l)
{
    for (int n = l->n_jobs - 1; n >= 0; n--) {
        struct job *job = l->jobs[n];
        bool applied;
        if (!job->txn.in) continue;
        TRY(resync(l, job, &applied));
        if (!applied) continue;
        job->txn.in = false;
        ledger_committed(l, job);
    }
    return err_none();
}

/* Where one job needs a transaction, all outcomes that are there go with it. */
static void group(struct ledger *l)
{
    l->gather_from_us = 0;
    for (int n = 0; n < l->n_jobs; n++) {
        struct job *job = l->jobs[n];
        job->txn.in = gathers(job) || ledger_wants_commit(l, job);
    }
}

static void applied_all(struct ledger *l)
{
    for (int n = l->n_jobs - 1; n >= 0; n--) {
        struct job *job = l->jobs[n];
        if (!job->txn.in) continue;
        job->txn.in = false;
        ledger_committed(l, job);
    }
}

static void await_better_times(const struct err *e, int tries)
{
    if (db_failure_of(e) == DB_FAILURE_RETRY) return;
    log_warn("ledger", "msg=\"commit failed, will be repeated\" tries=%d err=\"%s\"", tries,
             e->text);
    if (db_failure_of(e) != DB_FAILURE_LOST) clock_sleep_ms(clock_backoff_ms(tries, 50, 2000));
}

static uint32_t outcomes_in_group(const struct ledger *l)
{
    uint32_t n = 0;
    for (int i = 0; i < l->n_jobs; i++)
        if (l->jobs[i]->txn.in) n += l->jobs[i]->txn.arrived - l->jobs[i]->n_committed;
    return n;
}

static void commit_group(struct ledger *l)
{
    int64_t began_us = clock_boot_us();
    l->bare_rows = false;
    group(l);
    for (int tries = 1;; tries++) {
        struct err e = run_statements(l);
        if (!e.code && outcomes_in_group(l)) FAULT_POINT("outcomes_collected");
        bool unsure = false;
        if (!e.code) {
            e = db_exec_text(l->db, "COMMIT", NULL);
            unsure = true;
        }
        if (!e.code) break;
        await_better_times(&e, tries);
        /* What a server said must not keep an outcome from being recorded. */
        l->bare_rows = db_failure_of(&e) == DB_FAILURE_STATEMENT;
        struct err undone = e; /* a server that takes no writes is left as one that is lost */
        if (db_failure_of(&e) != DB_FAILURE_READ_ONLY)
            undone = db_exec_text(l->db, "ROLLBACK", NULL);
        while (undone.code || unsure) {
            if (undone.code && !ledger_reconnect(l)) return;
            undone = resync_all(l);
            unsure = false;
        }
        if (ledger_is_out_of_time(l)) return;
    }
    int64_t ended_us = clock_boot_us();
    window_observe(&l->window, outcomes_in_group(l), began_us, ended_us);
    METRICS_OBSERVE(commit, ended_us - began_us);
    applied_all(l);
}

void ledger_commit(struct ledger *l)
{
    commit_group(l);
    abandon_fenced(l);
}
