/* PROTOCOL C12: a worker that has lost its lease may hold the answer to what its successor had to
 * call unknown. A 250 that came late turns `unknown` of the same attempt into `sent`; nothing else
 * of the chunk is touched, so the successor's fence holds. */
#include <inttypes.h>
#include <string.h>

#include "common/log.h"
#include "consumer/ledger_internal.h"

static bool is_late_answer(const struct job *job, uint32_t index)
{
    return job->outcomes[index].status == OUTCOME_SENT;
}

static bool any_late_answer(const struct job *job)
{
    for (uint32_t k = job->n_committed; k < job->n_arrived; k++)
        if (is_late_answer(job, job->arrived[k])) return true;
    return false;
}

static struct err lock_chunk(struct ledger *l, const struct job *job)
{
    struct db_result *r;
    TRY(db_queryf(l->db, &r,
                  "SELECT seq FROM chunk WHERE run_id=%" PRIu64 " AND chunk_no=%u FOR UPDATE",
                  job->message.run, job->message.chunk));
    db_result_free(r);
    return err_none();
}

static struct err answer_unknown(struct ledger *l, const struct job *job, uint64_t *answered)
{
    struct buf *sql = &l->sql;
    const char *separator = "";
    buf_reset(sql);
    buf_append_text(sql, "UPDATE delivery SET status='sent', code=250, enhanced='',"
                         " detail='the reply came after the lease' WHERE run_id=");
    buf_append_format(sql,
                      "%" PRIu64 " AND chunk_no=%u AND attempt=%u AND status='unknown'"
                      " AND position IN (",
                      job->message.run, job->message.chunk, job->message.attempt);
    for (uint32_t k = job->n_committed; k < job->n_arrived; k++) {
        if (!is_late_answer(job, job->arrived[k])) continue;
        buf_append_format(sql, "%s%u", separator,
                          job->message.recipients[job->arrived[k]].position);
        separator = ",";
    }
    buf_append_char(sql, ')');
    return db_exec(l->db, sql, answered);
}

static struct err report(struct ledger *l, const struct job *job, uint64_t *answered)
{
    TRY(db_exec_text(l->db, "BEGIN", NULL));
    TRY(lock_chunk(l, job));
    TRY(answer_unknown(l, job, answered));
    TRY(db_execf(l->db, NULL,
                 "UPDATE chunk SET unknown=unknown-%" PRIu64 ", sent=sent+%" PRIu64
                 " WHERE run_id=%" PRIu64 " AND chunk_no=%u",
                 *answered, *answered, job->message.run, job->message.chunk));
    return db_exec_text(l->db, "COMMIT", NULL);
}

void ledger_report_late(struct ledger *l, const struct job *job)
{
    uint64_t answered = 0;
    if (!l->db || !any_late_answer(job)) return;
    struct err e = report(l, job, &answered);
    if (e.code) { /* nothing is lost by it: they stay unknown */
        log_warn("ledger", "msg=\"late replies not recorded\" err=\"%s\"", e.text);
        struct err undone = db_exec_text(l->db, "ROLLBACK", NULL);
        if (undone.code) log_debug("ledger", "err=\"%s\"", undone.text);
    } else if (answered) {
        log_info("ledger",
                 "msg=\"late replies: unknown is sent\" run=%" PRIu64 " chunk=%u count=%" PRIu64,
                 job->message.run, job->message.chunk, answered);
    }
}
