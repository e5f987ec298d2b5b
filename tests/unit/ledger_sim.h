/* The other threads of a worker, and the broker, made for tests of the ledger's logic: they keep to
 * the contract of consumer/queue.h and see to it that the ledger does. Include after
 * consumer/ledger.c, whose loop is driven step by step here. */
#ifndef MAILFLOCK_LEDGER_SIM_H
#define MAILFLOCK_LEDGER_SIM_H

#include "common/chunk.h"
#include "tests/unit/ledger_world.h"

enum { WORKERS = 2, MESSAGES = 4096, TASKS = 32, FLIGHTS = 3, PREFETCH = 3 };

/* A message in the broker. */
static struct message_copy {
    char *body; /* NULL: acked */
    int chunk;
    unsigned attempt;
    int64_t ready_us;
    int holder; /* worker, -1 = none */
    bool dead, parked;
} messages[MESSAGES];
static int n_messages;

/* What the sender of a worker knows of a job. */
struct sim_task {
    struct job *job;
    uint32_t next, started;
    int64_t hand_over_until_us, end_by_us;
    bool ending, refused;
    int n_flights;
    struct flight {
        uint32_t index;
        bool handed_over;
        enum outcome_status verdict;
    } flights[FLIGHTS];
};

static struct worker {
    bool alive, stopping;
    struct ledger l;
    struct queue *inbox, *to_sender, *to_broker;
    struct sim_task tasks[TASKS];
    int n_tasks, in_hand, n_unconfirmed;
    struct job *unconfirmed[2 * PREFETCH]; /* whose retry messages are on their way */
    unsigned epoch;                        /* of its broker connection */
    int64_t frozen_until_us;
} workers[WORKERS];

static struct db_clock sim_clock; /* as each worker knows the database's */
static struct settings settings;
static struct settings_transport relay;
static bool resend, lossy;
static int parkings; /* messages that were parked */
static int accepted[W_CHUNKS][W_POSITIONS];
static bool behind[W_CHUNKS]; /* the ledger lost commits of it, and knows less than a worker */

static inline struct content content(void)
{
    return (struct content){.campaign = "c",
                            .from = "n@m.example",
                            .reply_to = "",
                            .to_name = "",
                            .subject = "s",
                            .text = "t",
                            .html = "",
                            .list_unsubscribe = "",
                            .has_text = true,
                            .transport = "relay",
                            .lane = "bulk",
                            .text_name = "",
                            .html_name = "",
                            .resend = resend,
                            .max_attempts = 4,
                            .max_age_s = 1000000,
                            .n_delays = 2,
                            .delays_s = {1, 3}};
}

/* A message of the chunk with the positions that are chosen. */
static inline void put_message(int chunk, unsigned attempt, const bool *chosen, int64_t delay_s)
{
    struct buf b;
    buf_init(&b, 100000);
    chunk_write_start(&b, 1, (uint32_t)chunk, attempt);
    for (uint32_t i = 0; i < W_POSITIONS; i++) {
        char id[20], to[30];
        if (chosen && !chosen[i]) continue;
        int id_len = snprintf(id, sizeof id, "%u", (unsigned)chunk * 100 + i);
        int to_len = snprintf(to, sizeof to, "u%u@r.example", i);
        chunk_write_recipient(&b, i, id, (size_t)id_len, to, (size_t)to_len);
        chunk_write_recipient_end(&b, NULL);
    }
    chunk_write_end(&b, 0x100u + (unsigned)chunk);
    assert_true(n_messages < MESSAGES);
    messages[n_messages++] = (struct message_copy){mem_copy_text(buf_text(&b)),
                                                   chunk,
                                                   attempt,
                                                   w_now_us + delay_s * 1000000,
                                                   -1,
                                                   false,
                                                   false};
    buf_fini(&b);
}

/* PROTOCOL C10, at the moment of an ack. */
static inline void ack(struct worker *w, struct job *job)
{
    struct message_copy *m = &messages[job->delivery_tag];
    const struct w_chunk *c = &world.chunks[m->chunk];
    w->in_hand--;
    if (job->epoch == w->epoch && m->holder == (int)(w - workers)) {
        bool safe = strcmp(c->state, "done") == 0 || c->attempt > m->attempt ||
                    (c->digest && c->digest != 0x100u + (unsigned)m->chunk);
        for (int i = 0; i < n_messages && !safe; i++)
            safe = &messages[i] != m && messages[i].body && messages[i].chunk == m->chunk &&
                   (messages[i].attempt == m->attempt || messages[i].attempt == m->attempt + 1);
        if (!safe) fail_msg("acked while nothing stands for chunk %d", m->chunk);
        free(m->body);
        m->body = NULL;
    }
    job_free(job);
}

/* PROTOCOL O2: who moves parked messages back; killed in between it leaves a message twice. */
static inline void move_parked(void)
{
    if (!world.parked || strcmp(world.control, "paused") == 0) return;
    for (int i = 0; i < n_messages; i++) {
        struct message_copy *m = &messages[i];
        if (!m->body || !m->parked || !w_one_in(3)) continue;
        if (w_one_in(4)) {
            assert_true(n_messages < MESSAGES);
            messages[n_messages] = *m;
            messages[n_messages++].body = mem_copy_text(m->body);
        }
        m->parked = false;
    }
}

static inline void broker_step(struct worker *w)
{
    struct note note;
    while (queue_pop(w->to_broker, &note, 1)) {
        struct job *job = note.job;
        bool chosen[W_POSITIONS] = {false};
        if (note.kind == NOTE_STOP || note.kind == NOTE_TRANSPORT) continue;
        bool retry = note.kind == NOTE_RETRY;
        for (uint32_t i = 0; i < job->message.n; i++)
            chosen[job->message.recipients[i].position] =
                !retry || job->outcomes[i].status == OUTCOME_DEFERRED;
        if (note.kind != NOTE_ACK)
            put_message((int)job->message.chunk, job->message.attempt + retry, chosen,
                        (int64_t)note.value);
        if (note.kind == NOTE_DEAD) messages[n_messages - 1].dead = true;
        if (note.kind == NOTE_PARK) {
            assert_true(world.parked); /* or nobody would look there */
            messages[n_messages - 1].parked = true;
            parkings++;
        }
        if (retry)
            w->unconfirmed[w->n_unconfirmed++] = job;
        else
            ack(w, job);
    }
    if (w->n_unconfirmed && w_one_in(3))
        queue_push(w->inbox, (struct note){.kind = NOTE_RETRY_CONFIRMED,
                                           .job = w->unconfirmed[--w->n_unconfirmed]});
    move_parked();
    for (int i = 0; i < n_messages && w->in_hand < PREFETCH && !w->stopping; i++) {
        struct message_copy *m = &messages[i];
        struct chunk_message decoded;
        if (!m->body || m->dead || m->parked || m->holder >= 0 || m->ready_us > w_now_us) continue;
        struct err e = chunk_decode(m->body, strlen(m->body), &decoded);
        assert_int_equal(e.code, ERR_NONE);
        struct job *job = job_new(&decoded, m->body, strlen(m->body));
        job->delivery_tag = (uint64_t)i;
        job->epoch = w->epoch;
        m->holder = (int)(w - workers);
        w->in_hand++;
        queue_push(w->inbox, (struct note){.kind = NOTE_CLAIM, .job = job});
    }
}

/* As sender.c does. */
static inline void record(struct worker *w, struct sim_task *t, uint32_t index,
                          enum outcome_status status)
{
    const struct content *c = &t->job->run->content;
    struct outcome *o = &t->job->outcomes[index];
    bool maybe = o->maybe;
    outcome_set(o, status, "x");
    o->maybe = maybe;
    const struct outcome_rules rules = {.attempt = t->job->message.attempt,
                                        .max_attempts = c->max_attempts,
                                        .max_age_s = c->max_age_s,
                                        .resend = c->resend};
    outcome_settle(o, &rules);
    queue_push(w->inbox, (struct note){.kind = NOTE_OUTCOME, .job = t->job, .index = index});
}

static inline void sender_note(struct worker *w, const struct note *note)
{
    struct sim_task *t = w->tasks;
    while (t < w->tasks + w->n_tasks && t->job != note->job) t++;
    bool known = t < w->tasks + w->n_tasks;
    if (note->kind == NOTE_SEND) {
        assert_true(!known && w->n_tasks < TASKS);
        w->tasks[w->n_tasks++] = (struct sim_task){
            .job = note->job, .started = note->index, .hand_over_until_us = (int64_t)note->value};
    } else if (note->kind == NOTE_GRANT) {
        assert_true(known);
        t->started = note->index;
        t->hand_over_until_us = (int64_t)note->value;
    } else if (known) {
        if (!t->ending || (int64_t)note->value < t->end_by_us) t->end_by_us = (int64_t)note->value;
        t->ending = true;
    }
}

static inline void hand_over(struct sim_task *t, struct flight *f)
{
    static const enum outcome_status verdicts[] = {OUTCOME_SENT, OUTCOME_SENT, OUTCOME_SENT,
                                                   OUTCOME_FAILED, OUTCOME_DEFERRED};
    const struct chunk_message *m = &t->job->message;
    uint32_t position = m->recipients[f->index].position;
    const struct w_chunk *c = &world.chunks[m->chunk];
    if (t->ending || position >= t->started || w_now_us >= t->hand_over_until_us) return;
    enum outcome_status status = c->rows[position].status;
    if (!behind[m->chunk] && c->token != t->job->token)
        fail_msg("handed over by a worker that lost the chunk");
    if (!behind[m->chunk] && c->started <= position)
        fail_msg("%u handed over, the watermark is %u", position, c->started);
    /* PROTOCOL C13: until the worker ends, what it has just called unknown may still leave. */
    bool raised = behind[m->chunk] && status == OUTCOME_UNKNOWN;
    if (status && status != OUTCOME_DEFERRED && !raised)
        fail_msg("handed over, though it is %d", status);
    f->handed_over = true;
    f->verdict = verdicts[rand() % 5];
    accepted[m->chunk][position] += f->verdict == OUTCOME_SENT;
}

static inline void end_flight(struct worker *w, struct sim_task *t, int k,
                              enum outcome_status status)
{
    struct flight f = t->flights[k];
    t->flights[k] = t->flights[--t->n_flights];
    record(w, t, f.index, status);
}

/* The relay refuses the sender, which all of its jobs have in common. */
static inline void refuse_sender(struct worker *w, struct sim_task *t)
{
    for (int i = 0; i < w->n_tasks; i++) w->tasks[i].refused = true;
    queue_push(w->inbox, (struct note){.kind = NOTE_SENDER_REFUSED, .job = t->job});
}

static inline void task_step(struct worker *w, struct sim_task *t)
{
    if (!t->ending && !t->refused && w_one_in(400)) refuse_sender(w, t);
    if (!t->ending && !t->refused && t->n_flights < FLIGHTS && t->next < t->job->n_work) {
        uint32_t index = t->job->work[t->next++];
        t->flights[t->n_flights++] = (struct flight){.index = index};
        if (w_one_in(25)) end_flight(w, t, t->n_flights - 1, OUTCOME_FAILED); /* cannot be built */
    }
    for (int k = t->n_flights - 1; k >= 0; k--) {
        struct flight *f = &t->flights[k];
        if (f->handed_over && t->ending && w_now_us > t->end_by_us)
            end_flight(w, t, k, OUTCOME_OPEN);
        else if (f->handed_over && w_one_in(4))
            end_flight(w, t, k, lossy && w_one_in(20) ? OUTCOME_UNKNOWN : f->verdict);
        else if (!f->handed_over && t->ending)
            *f = t->flights[--t->n_flights]; /* put back: nothing came of it */
        else if (!f->handed_over && w_one_in(40))
            end_flight(w, t, k, w_one_in(2) ? OUTCOME_FAILED : OUTCOME_DEFERRED); /* at RCPT */
        else if (!f->handed_over)
            hand_over(t, f);
    }
}

static inline void sender_step(struct worker *w)
{
    struct note notes[64];
    size_t n = queue_pop(w->to_sender, notes, 1 + (size_t)rand() % 64);
    for (size_t i = 0; i < n; i++) sender_note(w, &notes[i]);
    for (int i = w->n_tasks - 1; i >= 0; i--) {
        struct sim_task *t = &w->tasks[i];
        task_step(w, t);
        if (!t->ending || t->n_flights) continue;
        queue_push(w->inbox, (struct note){.kind = NOTE_RETURNED, .job = t->job});
        w->tasks[i] = w->tasks[--w->n_tasks];
    }
}

/* One round of ledger_main. */
static inline void ledger_step(struct worker *w)
{
    struct ledger *l = &w->l;
    struct note notes[16];
    if (is_through(l)) return;
    size_t n = queue_pop(w->inbox, notes, 1 + (size_t)rand() % 16);
    for (size_t i = 0; i < n; i++) on_note(l, &notes[i]);
    claim_received(l);
    if (l->db && any_wants_commit(l)) ledger_commit(l);
    ledger_obey(l);
    ledger_keep_alive(l);
}

static inline void start_worker(struct worker *w)
{
    *w = (struct worker){.alive = true, .epoch = w->epoch + 1};
    w->inbox = queue_new(1000);
    w->to_sender = queue_new(1000);
    w->to_broker = queue_new(1000);
    w->l = (struct ledger){
        .config = {&settings, {0}, "w", w->inbox, w->to_sender, w->to_broker, &sim_clock},
        .lease_us = settings.worker.lease_ms * 1000,
        .cap_jobs = 1,
        .jobs = mem_alloc(sizeof *w->l.jobs),
        .transports = mem_alloc(sizeof *w->l.transports),
    };
    buf_init(&w->l.sql, 1 << 20);
    while (db_open(&w->l.db, &w->l.config.db).code) continue;
    ledger_session_start(&w->l);
}

/* Its connection to the broker is gone: all it holds is delivered again. */
static inline void lose_broker(struct worker *w)
{
    w->epoch++;
    for (int i = 0; i < n_messages; i++)
        if (messages[i].holder == (int)(w - workers)) messages[i].holder = -1;
}

/* Gone at once, with all it knows. */
static inline void kill_worker(struct worker *w)
{
    struct note note;
    lose_broker(w);
    for (int i = 0; i < w->l.n_jobs; i++) job_free(w->l.jobs[i]);
    while (queue_pop(w->inbox, &note, 1))
        if (note.kind == NOTE_CLAIM) job_free(note.job);
    while (queue_pop(w->to_broker, &note, 1))
        if (note.job && note.job->state == JOB_OVER) job_free(note.job);
    db_close(w->l.db);
    run_cache_fini(&w->l.runs);
    buf_fini(&w->l.sql);
    set_aside_fini(&w->l.set_aside);
    free(w->l.jobs);
    free(w->l.transports);
    queue_free(w->inbox);
    queue_free(w->to_sender);
    queue_free(w->to_broker);
    w->alive = false;
}

#endif
