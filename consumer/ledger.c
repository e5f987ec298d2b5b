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
#include "consumer/pulse.h"

enum {
    NOTES_AT_ONCE = 256,
    SQL_MAX = 16 * 1024 * 1024,
    GATHER_NAP_MS = 1,
    STOP_GRACE_US = 10000000, /* beyond the drain time: what has come is committed */
};

static void to_sender(struct ledger *l, enum note_kind kind, struct job *job, uint64_t until_us)
{
    job->told_sender = true;
    queue_push(l->config.to_sender, (struct note){.kind = kind, .job = job, .value = until_us});
}

int64_t ledger_now_us(const struct ledger *l)
{
    return db_clock_now_us(l->config.clock);
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
    } else if (job->state == JOB_ENDED && job->txn.end == LEDGER_RELEASE && job->park)
        ledger_park(l, job);
    else if (job->state == JOB_ENDED && job->txn.end == LEDGER_RELEASE)
        ledger_over(l, job, NOTE_COPY, job->copy_delay_s);
    else if (job->state == JOB_ENDED)
        ledger_over(l, job, NOTE_ACK, 0);
}

/* C8: the moment after which replies are awaited no longer. wanted_us is cut by the end of a stop
 * and by the broker's limit for a message in hand. All are CLOCK_BOOTTIME. */
static int64_t bounded_us(const struct ledger *l, const struct job *job, int64_t wanted_us)
{
    int64_t latest_us = job->received_us + LEDGER_REPLIES_S * 1000000LL;
    if (l->stop_until_us && l->stop_until_us < latest_us) latest_us = l->stop_until_us;
    return wanted_us < latest_us ? wanted_us : latest_us;
}

/* When the transport itself has given up every reply for which it waits now. */
static int64_t last_reply_us(const struct ledger *l, const struct job *job)
{
    const struct settings_transport *transport =
        settings_find_transport(l->config.settings, job->run->content.transport);
    int64_t wait_us = transport->final_reply_timeout_ms * 1000 + LEDGER_REPLY_MARGIN_S * 1000000LL;
    return bounded_us(l, job, clock_boot_us() + wait_us);
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
    if (job->with_sender && !job->told_sender)
        to_sender(l, NOTE_ABANDON, job, (uint64_t)last_reply_us(l, job)); /* C12 */
    end_if_free(l, job);
}

/* The server that wants the longest wait decides for the chunk. */
static int retry_delay_s(const struct ledger *l, const struct job *job)
{
    const struct content *content = &job->run->content;
    int64_t left_s = job->run->scheduled_s + content->max_age_s - ledger_now_us(l) / 1000000;
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
    job->retry_delay_s = retry_delay_s(l, job);
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

void ledger_give_back(struct ledger *l, struct job *job, int delay_s)
{
    release(l, job, delay_s, last_reply_us(l, job));
}

/* C8, C12: what an earlier worker may have sent, and this one did not send again, keeps that mark:
 * the watermark, which said so until now, is about to be lowered. */
static void keep_maybe(const struct ledger *l, struct job *job)
{
    for (uint32_t k = 0; k < job->n_work; k++) {
        struct outcome *o = &job->outcomes[job->work[k]];
        if (o->status || !o->maybe) continue;
        outcome_set(o, OUTCOME_OPEN, "given back before it was sent again");
        o->at_us = ledger_now_us(l);
        ledger_arrived(job, job->work[k]);
    }
}

static const char *sender_of(const struct job *job)
{
    return message_from(job->run->mail);
}

static bool same_sender(const struct job *a, const struct job *b)
{
    return strcmp(a->run->content.transport, b->run->content.transport) == 0 &&
           strcmp(sender_of(a), sender_of(b)) == 0;
}

/* PROTOCOL S2: the relay refuses the sender. Its chunks wait in a delay queue, and others go on. */
static void set_sender_aside(struct ledger *l, const struct job *refused)
{
    char reply[200];
    const struct outcome *r = &refused->refusal;
    const char *transport = refused->run->content.transport;
    int64_t now = clock_boot_us();
    int wait_s = set_aside_refused(&l->set_aside, transport, sender_of(refused), now);
    METRICS_SET(senders_set_aside, set_aside_count(&l->set_aside, now));
    if (!wait_s)
        wait_s = set_aside_wait(&l->set_aside, transport, sender_of(refused), now);
    else
        log_warn("ledger",
                 "msg=\"sender refused: its runs are set aside\" run=%" PRIu64
                 " transport=%s wait_s=%d code=%u enhanced=%s reply=\"%s\"",
                 refused->message.run, transport, wait_s, r->code, r->enhanced,
                 log_text_masked(reply, sizeof reply, r->detail, strlen(r->detail)));
    for (int i = 0; i < l->n_jobs; i++)
        if (l->jobs[i]->state == JOB_SENDING && same_sender(l->jobs[i], refused))
            ledger_give_back(l, l->jobs[i], wait_s);
}

static void watch_failing(const struct job *job, uint32_t index)
{
    struct failing *f = &job->run->failing;
    int64_t now = clock_boot_us();
    char reply[200];
    if (!failing_count(f, &job->outcomes[index], now)) return;
    log_warn("ledger",
             "msg=\"many recipients fail\" run=%" PRIu64
             " failed=%u outcomes=%u code=%u enhanced=%s reply=\"%s\"",
             job->message.run, f->failed, f->outcomes, f->last.code, f->last.enhanced,
             log_text_masked(reply, sizeof reply, f->last.detail, strlen(f->last.detail)));
    failing_said(f, now);
}

/* The relay has answered for a mail of a sender that was set aside: it is accepted again. */
static void forget_set_aside(struct ledger *l, const struct job *job, uint32_t index)
{
    if (!l->set_aside.n || !job->outcomes[index].code) return;
    if (!set_aside_answered(&l->set_aside, job->run->content.transport, sender_of(job),
                            clock_boot_us()))
        return;
    METRICS_SET(senders_set_aside, set_aside_count(&l->set_aside, clock_boot_us()));
    log_info("ledger", "msg=\"sender accepted again\" run=%" PRIu64 " transport=%s",
             job->message.run, job->run->content.transport);
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
        ledger_give_back(l, job, transport->delay_s);
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
        int64_t until_us = bounded_us(l, job, l->stop_until_us);
        /* It may have been promised more time than there is now. */
        if (job->with_sender && (job->state == JOB_RELEASING || job->state == JOB_ABANDONED))
            to_sender(l, NOTE_RELEASE, job, (uint64_t)until_us);
        release(l, job, LEDGER_RELEASE_DELAY_S, until_us);
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
        break;
    case NOTE_OUTCOME:
        ledger_arrived(job, note->index);
        forget_set_aside(l, job, note->index);
        watch_failing(job, note->index);
        if (!l->gather_from_us) l->gather_from_us = clock_boot_us();
        if (job->n_arrived == job->n_expected && !job->told_sender)
            to_sender(l, NOTE_RELEASE, job, 0);
        break;
    case NOTE_SENDER_REFUSED:
        set_sender_aside(l, job);
        break;
    case NOTE_RETURNED:
        job->with_sender = false;
        if (job->state == JOB_RELEASING) keep_maybe(l, job);
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

bool ledger_is_out_of_time(const struct ledger *l)
{
    return l->stop_until_us && clock_boot_us() > l->stop_until_us + STOP_GRACE_US;
}

/* At the end of a stop the database may not have taken what is left. The messages are not acked;
 * the broker delivers them again, and the next claim recovers. */
static bool is_through(const struct ledger *l)
{
    if (l->went_back || l->locked_out) return true;
    return l->stop_until_us && (l->n_jobs == 0 || !l->db || ledger_is_out_of_time(l));
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
    ledger_session_start(l);
    while (!is_through(l)) {
        pulse_beat(PULSE_LEDGER); /* as each statement does (worker.c: configure) */
        await_work(l);
        size_t n;
        do {
            n = queue_pop(l->config.inbox, notes, NOTES_AT_ONCE);
            for (size_t i = 0; i < n; i++) on_note(l, &notes[i]);
        } while (n == NOTES_AT_ONCE);
        claim_received(l);
        if (l->db && any_wants_commit(l)) ledger_commit(l);
        ledger_obey(l);
        ledger_keep_alive(l);
        run_cache_trim(&l->runs);
    }
    pulse_end(PULSE_LEDGER);
    queue_push(l->config.to_broker,
               (struct note){.kind = NOTE_STOP, .value = l->went_back || l->locked_out});
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
    login_fini(&l->login);
    run_cache_fini(&l->runs);
    set_aside_fini(&l->set_aside);
    buf_fini(&l->sql);
    free(l->jobs);
    free(l->transports);
    free(l);
}
