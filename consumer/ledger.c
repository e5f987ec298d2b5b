/* The ledger thread's loop, and the life of a job as the ledger sees it. Statements are in
 * ledger_claim.c, ledger_recover.c and ledger_commit.c. */
#include "consumer/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/start.h"
#include "consumer/ledger_internal.h"
#include "consumer/metrics.h"

enum {
    NOTES_AT_ONCE = 256,
    CONTROL_EVERY_US = 1000000,
    SQL_MAX = 16 * 1024 * 1024,
    GATHER_NAP_MS = 1,
};

static void to_sender(struct ledger *l, enum note_kind kind, struct job *job, uint64_t until_us)
{
    job->told_sender = true;
    queue_push(l->config.to_sender, (struct note){.kind = kind, .job = job, .value = until_us});
}

void ledger_arrived(struct job *job, uint32_t index)
{
    job->arrived[job->n_arrived++] = index;
    job->answered[index] = true;
    if (job->n_granted && index <= job->work[job->n_granted - 1]) job->n_answered++;
    uint8_t status = job->outcomes[index].status;
    if (status < OUTCOME_STATUSES) METRICS_ADD(outcomes[status], 1);
}

static void forget(struct ledger *l, const struct job *job)
{
    int i = 0;
    while (l->jobs[i] != job) i++;
    memmove(l->jobs + i, l->jobs + i + 1, (size_t)(--l->n_jobs - i) * sizeof(struct job *));
}

void ledger_over(struct ledger *l, struct job *job, enum note_kind kind, int delay_s)
{
    forget(l, job);
    job_set_state(job, JOB_OVER);
    queue_push(l->config.to_broker,
               (struct note){.kind = kind, .job = job, .value = (uint64_t)delay_s});
}

/* The last step, once neither the sender nor a retry on its way knows the job. */
static void end_if_free(struct ledger *l, struct job *job)
{
    if (job->with_sender || job->retry_pending) return;
    if (job->state == JOB_ABANDONED) {
        ledger_report_late(l, job);
        /* PROTOCOL C10: a copy stands for the message before its ack */
        ledger_over(l, job, NOTE_COPY, job->copy_delay_s);
    } else if (job->state == JOB_ENDED && job->txn.end == LEDGER_STUCK) {
        snprintf(job->reason, sizeof job->reason,
                 "the chunk is stuck: %d claims in a row came to nothing", LEDGER_POISON_CLAIMS);
        log_error("ledger", "msg=\"dead letter: %s\" run=%" PRIu64 " chunk=%u", job->reason,
                  job->message.run, job->message.chunk);
        ledger_over(l, job, NOTE_DEAD, 0);
    } else if (job->state == JOB_ENDED && job->txn.end == LEDGER_RELEASE)
        ledger_over(l, job, NOTE_COPY, job->copy_delay_s);
    else if (job->state == JOB_ENDED)
        ledger_over(l, job, NOTE_ACK, 0);
}

void ledger_fenced_off(struct ledger *l, struct job *job)
{
    log_warn("ledger",
             "msg=\"lease lost, the chunk is somebody else's\" run=%" PRIu64 " chunk=%u attempt=%u",
             job->message.run, job->message.chunk, job->message.attempt);
    job->txn.fenced = false;
    job_set_state(job, JOB_ABANDONED);
    METRICS_ADD(leases_lost, 1);
    job->copy_delay_s = start_lease_s(l->config.settings);
    if (job->with_sender && !job->told_sender) to_sender(l, NOTE_ABANDON, job, 0);
    end_if_free(l, job);
}

/* The server that wants the longest wait decides for the chunk. */
static int retry_delay_s(const struct job *job)
{
    const struct content *content = &job->run->content;
    int64_t left_s = job->run->scheduled_s + content->max_age_s - clock_utc_us() / 1000000;
    uint32_t wanted_s = 0;
    for (uint32_t i = 0; i < job->message.n; i++) {
        const struct outcome *o = &job->outcomes[i];
        if (o->status == OUTCOME_DEFERRED && o->retry_after_s > wanted_s)
            wanted_s = o->retry_after_s;
    }
    return content_delay_hinted_s(content, job->message.attempt, wanted_s, left_s);
}

static void ask_for_retry(struct ledger *l, struct job *job)
{
    job->retry_delay_s = retry_delay_s(job);
    job_set_state(job, JOB_DEFERRING);
    FAULT_POINT("retry_not_published");
    job->retry_pending = true;
    queue_push(
        l->config.to_broker,
        (struct note){.kind = NOTE_RETRY, .job = job, .value = (uint64_t)job->retry_delay_s});
}

void ledger_committed(struct ledger *l, struct job *job)
{
    uint32_t newly = job->txn.arrived - job->n_committed;
    job->seq++;
    job->started = job->txn.started;
    job->n_granted = job->txn.granted;
    job->n_committed = job->txn.arrived;
    if (job->n_granted && !job->n_committed) FAULT_POINT("watermark_committed");
    if (job->txn.end != LEDGER_GO_ON) {
        job_set_state(job, JOB_ENDED);
        METRICS_ADD(chunks_ended, 1);
        if (job->with_sender && !job->told_sender) to_sender(l, NOTE_RELEASE, job, 0);
        end_if_free(l, job);
        return;
    }
    if (job->with_sender && !job->told_sender)
        queue_push(l->config.to_sender,
                   (struct note){.kind = NOTE_GRANT,
                                 .job = job,
                                 .index = job->started,
                                 .value = (uint64_t)(job->lease_from_us + l->lease_us * 9 / 10),
                                 .arg = newly});
    bool gathering = job->state == JOB_SENDING || job->state == JOB_RELEASING;
    if (gathering && !job->poison && job->n_committed == job->n_expected &&
        job_has(job, OUTCOME_DEFERRED) && !job_has(job, OUTCOME_OPEN))
        ask_for_retry(l, job);
}

static void release(struct ledger *l, struct job *job, int delay_s, int64_t until_us)
{
    if (job->state != JOB_SENDING || !job->with_sender) return;
    job_set_state(job, JOB_RELEASING);
    job->copy_delay_s = delay_s;
    if (!job->told_sender) to_sender(l, NOTE_RELEASE, job, (uint64_t)until_us);
}

/* C8, C12: what an earlier worker may have sent, and this one did not send again, keeps that mark:
 * the watermark, which said so until now, is about to be lowered. */
static void keep_maybe(struct job *job)
{
    for (uint32_t k = 0; k < job->n_work; k++) {
        struct outcome *o = &job->outcomes[job->work[k]];
        if (o->status || !o->maybe) continue;
        outcome_set(o, OUTCOME_OPEN, "given back before it was sent again");
        o->at_us = clock_utc_us();
        ledger_arrived(job, job->work[k]);
    }
}

/* C8, O2: what is paused or cancelled goes back; the next claim of a cancelled one skips it. */
static void obey_control(struct ledger *l)
{
    int64_t now = clock_boot_us();
    if (now - l->control_read_us < CONTROL_EVERY_US || !l->db || !l->n_jobs) return;
    l->control_read_us = now;
    for (int i = 0; i < l->n_jobs; i++) {
        struct job *job = l->jobs[i];
        struct db_result *r;
        if (job->state != JOB_SENDING) continue;
        if (ledger_held_too_long(job))
            release(l, job, LEDGER_RELEASE_DELAY_S, now + l->lease_us / 2);
        struct err e =
            db_queryf(l->db, &r, "SELECT control FROM run WHERE id=%" PRIu64, job->message.run);
        if (e.code) return; /* the next commit will find out */
        bool go = db_next(r) && strcmp(db_text(r, 0), "go") == 0;
        db_result_free(r);
        if (!go) release(l, job, LEDGER_WAIT_DELAY_S, now + l->lease_us / 2);
    }
}

/* All of its chunks that are being sent but the first, which is the probe. Those not claimed yet go
 * back when their turn to be claimed comes. */
static int give_back_spares(struct ledger *l, const struct ledger_transport *transport)
{
    int n = 0;
    const struct job *probe = NULL;
    for (int i = 0; i < l->n_jobs; i++) {
        struct job *job = l->jobs[i];
        if (job->state != JOB_SENDING || ledger_transport_of(l, job) != transport) continue;
        if (!probe && ledger_may_be_probe(l, job)) {
            probe = job;
            continue;
        }
        release(l, job, transport->delay_s, clock_boot_us() + l->lease_us / 2);
        n++;
    }
    return n;
}

static void on_transport(struct ledger *l, const struct note *note)
{
    struct ledger_transport *transport = &l->transports[note->index];
    const struct settings_transport *settings = l->config.settings->transports.items;
    bool was_down = transport->state == HEALTH_DOWN;
    transport->state = (enum health_state)note->value;
    transport->delay_s = (int)note->arg;
    bool down = transport->state == HEALTH_DOWN;
    if (down == was_down) return;
    queue_push(l->config.to_broker, *note);
    int n = down ? give_back_spares(l, transport) : 0;
    if (n)
        log_info("ledger",
                 "msg=\"chunks given back, their transport is down\" transport=%s chunks=%d "
                 "delay_s=%d",
                 settings[note->index].name, n, transport->delay_s);
}

static void stop(struct ledger *l)
{
    if (l->stop_until_us) return;
    l->stop_until_us = clock_boot_us() + l->config.settings->worker.drain_ms * 1000;
    for (int i = 0; i < l->n_jobs; i++) {
        struct job *job = l->jobs[i];
        /* What is being given back already may have been promised more time than there is now. */
        if (job->state == JOB_RELEASING && job->with_sender)
            to_sender(l, NOTE_RELEASE, job, (uint64_t)l->stop_until_us);
        release(l, job, LEDGER_RELEASE_DELAY_S, l->stop_until_us);
    }
}

static void on_note(struct ledger *l, const struct note *note)
{
    struct job *job = note->job;
    switch (note->kind) {
    case NOTE_CLAIM:
        if (l->n_jobs == l->cap_jobs)
            l->jobs = mem_resize(l->jobs, (size_t)(l->cap_jobs *= 2) * sizeof(struct job *));
        l->jobs[l->n_jobs++] = job;
        job->received_us = clock_boot_us();
        break;
    case NOTE_OUTCOME:
        ledger_arrived(job, note->index);
        if (!l->gather_from_us) l->gather_from_us = clock_boot_us();
        if (job->n_arrived == job->n_expected && !job->told_sender)
            to_sender(l, NOTE_RELEASE, job, 0);
        break;
    case NOTE_RETURNED:
        job->with_sender = false;
        if (job->state == JOB_RELEASING) keep_maybe(job);
        end_if_free(l, job);
        break;
    case NOTE_RETRY_CONFIRMED:
        job->retry_pending = false;
        if (job->state == JOB_DEFERRING) job_set_state(job, JOB_CLOSING);
        end_if_free(l, job);
        break;
    case NOTE_TRANSPORT:
        on_transport(l, note);
        break;
    case NOTE_STOP:
        stop(l);
        break;
    default:
        abort();
    }
}

bool ledger_reconnect(struct ledger *l)
{
    METRICS_SET(database_connected, false);
    for (int tries = 0;; tries++) {
        db_close(l->db);
        l->db = NULL;
        struct err e = db_open(&l->db, &l->config.db);
        if (!e.code) {
            METRICS_SET(database_connected, true);
            log_info("ledger", "msg=\"database connection is back\"");
            ledger_know_server(l);
            return true;
        }
        if (l->stop_until_us && clock_boot_us() > l->stop_until_us) return false;
        log_warn("ledger", "msg=\"no database\" tries=%d err=\"%s\"", tries + 1, e.text);
        clock_sleep_ms(clock_backoff_ms(tries, 50, 2000));
    }
}

/* The server ends a session that is idle for a lease, so that a dead worker's transaction stalls
 * nobody (C5); a living one says something in between. */
static void keep_alive(struct ledger *l)
{
    int64_t now = clock_boot_us();
    if (!l->db || now - l->kept_alive_us < l->lease_us / 3) return;
    l->kept_alive_us = now;
    struct err e = db_exec_text(l->db, "DO 0", NULL);
    if (!e.code) return;
    log_warn("ledger", "msg=\"database connection lost\" err=\"%s\"", e.text);
    ledger_reconnect(l);
}

/* One of the received; false where the others have to wait. */
static bool take_up(struct ledger *l, struct job *job)
{
    if (l->stop_until_us || ledger_held_too_long(job)) {
        ledger_over(l, job, NOTE_COPY, LEDGER_RELEASE_DELAY_S);
        return true;
    }
    struct err e = ledger_claim(l, job);
    if (!e.code) return true;
    log_warn("ledger", "msg=\"claim failed, will be repeated\" run=%" PRIu64 " chunk=%u err=\"%s\"",
             job->message.run, job->message.chunk, e.text);
    enum db_failure failure = db_failure_of(&e);
    if (e.native == DB_LOCK_WAIT_TIMEOUT) { /* somebody has the row: as with a live lease (C2) */
        ledger_over(l, job, NOTE_COPY, start_lease_s(l->config.settings));
        return true;
    }
    if (failure != DB_FAILURE_RETRY) clock_sleep_ms(clock_backoff_ms(1, 50, 500));
    if (failure == DB_FAILURE_LOST || failure == DB_FAILURE_READ_ONLY) ledger_reconnect(l);
    return false;
}

/* In the order of their arrival. */
static void claim_received(struct ledger *l)
{
    for (int i = 0; i < l->n_jobs;) {
        struct job *job = l->jobs[i];
        if (ledger_wants_claim(l, job) && !take_up(l, job)) return;
        if (i < l->n_jobs && l->jobs[i] == job) i++; /* it may have left the list */
    }
}

static bool any_wants_claim(const struct ledger *l)
{
    for (int i = 0; i < l->n_jobs; i++)
        if (ledger_wants_claim(l, l->jobs[i])) return true;
    return false;
}

static bool any_wants_commit(const struct ledger *l)
{
    for (int i = 0; i < l->n_jobs; i++)
        if (ledger_wants_commit(l, l->jobs[i])) return true;
    return false;
}

/* Given up: the time to stop is over and the database did not take what is left. The messages are
 * not acked; the broker delivers them again, and the next claim recovers. */
static bool given_up(const struct ledger *l)
{
    return l->stop_until_us && (!l->db || clock_boot_us() > l->stop_until_us + 10000000);
}

/* While outcomes gather the thread sleeps: each of them would wake it. */
static void await_work(struct ledger *l)
{
    if (any_wants_commit(l) || any_wants_claim(l)) return;
    if (ledger_gathers(l))
        clock_sleep_ms(GATHER_NAP_MS);
    else
        queue_wait(l->config.inbox, l->n_jobs ? 200 : 1000);
}

static void *ledger_main(void *arg)
{
    struct ledger *l = arg;
    struct note notes[NOTES_AT_ONCE];
    pthread_setname_np(pthread_self(), "ledger");
    ledger_know_server(l);
    while (!l->went_back && !(l->stop_until_us && (l->n_jobs == 0 || given_up(l)))) {
        await_work(l);
        size_t n;
        do {
            n = queue_pop(l->config.inbox, notes, NOTES_AT_ONCE);
            for (size_t i = 0; i < n; i++) on_note(l, &notes[i]);
        } while (n == NOTES_AT_ONCE);
        claim_received(l);
        if (any_wants_commit(l)) ledger_commit(l);
        obey_control(l);
        keep_alive(l);
    }
    queue_push(l->config.to_broker, (struct note){.kind = NOTE_STOP});
    return NULL;
}

struct ledger *ledger_start(const struct ledger_config *config, struct db *db)
{
    struct ledger *l = mem_alloc(sizeof *l);
    l->config = *config;
    l->db = db;
    l->lease_us = config->settings->worker.lease_ms * 1000;
    l->cap_jobs = 16;
    l->jobs = mem_alloc((size_t)l->cap_jobs * sizeof *l->jobs);
    l->transports = mem_alloc(config->settings->transports.count * sizeof *l->transports);
    buf_init(&l->sql, SQL_MAX);
    pthread_create(&l->thread, NULL, ledger_main, l);
    return l;
}

void ledger_join(struct ledger *l)
{
    pthread_join(l->thread, NULL);
    db_close(l->db);
    run_cache_fini(&l->runs);
    buf_fini(&l->sql);
    free(l->jobs);
    free(l->transports);
    free(l);
}
