/* Claiming (PROTOCOL C1), and what becomes of a message that cannot be claimed (C2). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/start.h"
#include "consumer/ledger_internal.h"
#include "consumer/metrics.h"

enum { NEWER_READ_EVERY_US = 60000000 };

static uint64_t fresh_token(void)
{
    uint64_t token = 0;
    while (!token)
        if (getrandom(&token, sizeof token, 0) != sizeof token) token = 0;
    return token;
}

/* C1. A claim whose result is unknown is repeated with the same token: it finds its own. */
static struct err try_claim(struct ledger *l, struct job *job, bool *claimed)
{
    const struct chunk_message *m = &job->message;
    struct buf *sql = &l->sql;
    uint64_t matched;
    if (!job->token) job->token = fresh_token();
    job->lease_from_us = job->claimed_us = clock_boot_us();
    buf_reset(sql);
    buf_append_format(sql,
                      "UPDATE chunk SET claims=claims+IF(token<=>%" PRIu64 ",0,1), token=%" PRIu64
                      ", owner=",
                      job->token, job->token);
    db_quote(l->db, sql, l->config.worker);
    buf_append_format(
        sql,
        ", lease_until=UTC_TIMESTAMP(6)+INTERVAL %" PRId64 " MICROSECOND"
        ", recipients=IF(digest IS NULL,%u,recipients), digest=COALESCE(digest,%" PRIu64 ")"
        ", state='queued', next_due=UTC_TIMESTAMP(6)+INTERVAL %d SECOND"
        " WHERE run_id=%" PRIu64 " AND chunk_no=%u AND attempt=%u AND state IN ('planned','queued')"
        " AND (digest IS NULL OR digest=%" PRIu64 ")"
        " AND (token IS NULL OR token=%" PRIu64 " OR lease_until<UTC_TIMESTAMP(6))"
        " AND (SELECT control FROM run WHERE id=%" PRIu64 ")<>'paused'",
        l->lease_us, m->n, m->digest, START_OVERDUE_S, m->run, m->chunk, m->attempt, m->digest,
        job->token, m->run);
    TRY(db_exec(l->db, sql, &matched));
    *claimed = matched == 1;
    return err_none();
}

static void drop(struct ledger *l, struct job *job, const char *why)
{
    log_info("ledger", "msg=\"message dropped: %s\" run=%" PRIu64 " chunk=%u attempt=%u", why,
             job->message.run, job->message.chunk, job->message.attempt);
    ledger_over(l, job, NOTE_ACK, 0);
}

static void dead(struct ledger *l, struct job *job, const char *why)
{
    if (why != job->reason) snprintf(job->reason, sizeof job->reason, "%s", why);
    log_error("ledger", "msg=\"dead letter: %s\" run=%" PRIu64 " chunk=%u", why, job->message.run,
              job->message.chunk);
    ledger_over(l, job, NOTE_DEAD, 0);
}

/* P6: as long as its copy waits, the chunk is not overdue. */
static struct err postpone(struct ledger *l, const struct job *job, int delay_s)
{
    return db_execf(
        l->db, NULL,
        "UPDATE chunk SET next_due=GREATEST(next_due,UTC_TIMESTAMP(6)+INTERVAL %d SECOND)"
        " WHERE run_id=%" PRIu64 " AND chunk_no=%u AND state IN ('planned','queued')",
        delay_s + START_OVERDUE_S, job->message.run, job->message.chunk);
}

static struct err put_off(struct ledger *l, struct job *job, int delay_s)
{
    TRY(postpone(l, job, delay_s));
    ledger_over(l, job, NOTE_COPY, delay_s);
    return err_none();
}

static struct err park(struct ledger *l, struct job *job)
{
    TRY(postpone(l, job, 0));
    ledger_park(l, job);
    return err_none();
}

/* C2: the row as it is now decides. */
static struct err turn_away(struct ledger *l, struct job *job)
{
    const struct chunk_message *m = &job->message;
    struct db_result *r;
    TRY(db_queryf(l->db, &r,
                  "SELECT c.state, c.attempt, c.digest<=>%" PRIu64 " OR c.digest IS NULL,"
                  " c.token IS NOT NULL AND c.lease_until>=UTC_TIMESTAMP(6), r.control"
                  " FROM chunk c JOIN run r ON r.id=c.run_id WHERE c.run_id=%" PRIu64
                  " AND c.chunk_no=%u",
                  m->digest, m->run, m->chunk));
    bool found = db_next(r);
    char state[16] = "", control[16] = "";
    unsigned attempt = 0;
    bool same_digest = false, held = false;
    if (found) {
        snprintf(state, sizeof state, "%s", db_text(r, 0));
        attempt = (unsigned)db_u64(r, 1);
        same_digest = db_u64(r, 2) != 0;
        held = db_u64(r, 3) != 0;
        snprintf(control, sizeof control, "%s", db_text(r, 4));
    }
    db_result_free(r);
    if (!found)
        dead(l, job, "the ledger has no such chunk");
    else if (strcmp(state, "done") == 0)
        drop(l, job, "the chunk is done");
    else if (m->attempt < attempt)
        drop(l, job, "its attempt is over");
    else if (!same_digest)
        drop(l, job, "another reading of the audience was claimed first");
    else if (strcmp(state, "stuck") == 0 && m->attempt > attempt)
        drop(l, job, "the chunk is stuck at an earlier attempt, which will publish it again");
    else if (strcmp(state, "stuck") == 0) /* C11: who made it so may have died before the letter */
        dead(l, job, "the chunk is stuck");
    else if (m->attempt > attempt)
        return put_off(l, job, LEDGER_WAIT_DELAY_S);
    else if (held)
        return put_off(l, job, start_lease_s(l->config.settings));
    else if (strcmp(control, "paused") == 0)
        return park(l, job);
    return err_none(); /* otherwise it has become free meanwhile: the next round claims it */
}

/* A transport that this worker lacks must not cost the chunk a claim: it goes back, to the queue of
 * that transport, which this worker does not consume. *over as with load_run. */
static struct err check_transport(struct ledger *l, struct job *job, bool *over)
{
    const char *transport = job->run->content.transport;
    int wait_s =
        set_aside_wait(&l->set_aside, transport, message_from(job->run->mail), clock_boot_us());
    if (wait_s) { /* PROTOCOL S2 */
        *over = true;
        return put_off(l, job, wait_s);
    }
    *over = !settings_find_transport(l->config.settings, transport);
    if (!*over) return err_none();
    log_error("ledger", "msg=\"this worker has no transport '%s'\" run=%" PRIu64, transport,
              job->message.run);
    return put_off(l, job, LEDGER_WAIT_DELAY_S);
}

static struct ledger_newer *find_newer(struct ledger *l, uint64_t run)
{
    for (int i = 0; i < LEDGER_NEWER_RUNS; i++)
        if (l->newer[i].run == run) return &l->newer[i];
    return NULL;
}

/* A content can be large: it is read, and the run spoken of, once a minute. */
static void note_newer(struct ledger *l, const struct job *job, const char *why)
{
    struct ledger_newer *newer = find_newer(l, job->message.run);
    if (!newer) newer = &l->newer[l->n_newer++ % LEDGER_NEWER_RUNS];
    *newer = (struct ledger_newer){job->message.run, clock_boot_us() + NEWER_READ_EVERY_US};
    log_warn("ledger", "msg=\"left to a newer worker\" reason=\"%s\"", why);
}

static bool known_as_newer(struct ledger *l, const struct job *job)
{
    const struct ledger_newer *newer = find_newer(l, job->message.run);
    return newer && clock_boot_us() < newer->until_us;
}

/* *over: the job has been passed on, and must not be touched any more. */
static struct err load_run(struct ledger *l, struct job *job, bool *over)
{
    *over = false;
    if (job->run) return err_none();
    struct err e = err_none();
    bool newer = known_as_newer(l, job);
    if (!newer) e = run_cache_get(&l->runs, l->db, job->message.run, &job->run);
    if (!newer && (!e.code || e.code == ERR_DB)) return e;
    *over = true;
    if (e.code == ERR_NEWER) note_newer(l, job, e.text);
    if (newer || e.code == ERR_NEWER) return put_off(l, job, LEDGER_WAIT_DELAY_S);
    dead(l, job, e.text);
    return err_none();
}

static void begin_sending(struct ledger *l, struct job *job)
{
    if (job->n_work == 0) return;
    job->with_sender = true;
    job->turn = ++l->turns;
    queue_push(l->config.to_sender,
               (struct note){.kind = NOTE_SEND,
                             .job = job,
                             .index = job->started, /* resend: below it all may go at once */
                             .value = (uint64_t)(job->lease_from_us + l->lease_us * 9 / 10)});
}

/* A message that contradicts the rows is nothing that its chunk did: the claim is taken back, or
 * the chunk were locked for a lease, and by a few such messages stuck (C11). */
static struct err unclaim(struct ledger *l, const struct job *job)
{
    return db_execf(l->db, NULL,
                    "UPDATE chunk SET token=NULL, lease_until=NULL, claims=GREATEST(claims,1)-1"
                    " WHERE run_id=%" PRIu64 " AND chunk_no=%u AND token=%" PRIu64,
                    job->message.run, job->message.chunk, job->token);
}

struct err ledger_claim(struct ledger *l, struct job *job)
{
    bool claimed, mine, over;
    TRY(load_run(l, job, &over));
    if (!over) TRY(check_transport(l, job, &over));
    if (over) return err_none();
    if (ledger_is_spare(l, job)) {
        ledger_over(l, job, NOTE_COPY, ledger_transport_of(l, job)->delay_s);
        return err_none();
    }
    if (!ledger_wants_claim(l, job)) return err_none();
    FAULT_POINT("before_claim");
    TRY(try_claim(l, job, &claimed));
    if (!claimed) return turn_away(l, job);
    FAULT_POINT("after_claim");
    TRY(ledger_recover(l, job, &mine));
    if (mine && *job->reason) {
        TRY(unclaim(l, job));
        dead(l, job, job->reason);
        return err_none();
    }
    job_set_state(job, JOB_SENDING);
    METRICS_ADD(chunks_claimed, 1);
    if (job->published_us) METRICS_OBSERVE(queue_wait, ledger_now_us(l) - job->published_us);
    if (mine)
        begin_sending(l, job);
    else
        ledger_fenced_off(l, job);
    return err_none();
}
