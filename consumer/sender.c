/* The sender's loop and its tasks: which mail is next, and what has become of each. A task is the
 * sender's side of a job, from NOTE_SEND to NOTE_RETURNED. Mails are built when a transport takes
 * them, so a recipient whose mail cannot be built never reaches a connection. */
#include "consumer/sender.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/address.h"
#include "common/clock.h"
#include "common/log.h"
#include "consumer/job.h"
#include "consumer/metrics.h"
#include "consumer/pulse.h"
#include "consumer/run.h"
#include "consumer/transport.h"

enum {
    NOTES_AT_ONCE = 256,
    EVENTS_AT_ONCE = 64,
    TICK_US = 100000,
    VALUE_MAX = 4 * 1024 * 1024,
    LOSSES_MAX = 3, /* PROTOCOL S3 */
};

struct task {
    struct task *next;
    struct job *job;
    struct transport *transport;
    uint32_t next_work;         /* in job->work */
    uint32_t n_back, *back;     /* indices put back: a stack, taken up before new work */
    uint32_t held;              /* taken by the transport and not told about */
    uint32_t started;           /* the committed watermark */
    int64_t hand_over_until_us; /* CLOCK_BOOTTIME: our own idea of the lease's end */
    bool ending;                /* nothing more is handed over */
    bool refused;               /* the server refuses its sender: the ledger is about to end it */
    int64_t end_by_us;          /* CLOCK_BOOTTIME: replies are awaited until then */
};

struct sender {
    struct sender_config config;
    pthread_t thread;
    int epoll_fd;
    struct watch inbox_watch;
    struct transport **transports; /* as many as settings has; opened when first needed */
    struct task *tasks;            /* in the order of their arrival */
    struct message_scratch scratch;
    bool stopping;
};

void sender_watch(struct sender *s, int fd, uint32_t events, struct watch *watch)
{
    struct epoll_event e = {.events = events, .data.ptr = watch};
    if (!events)
        epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, fd, &e);
    else if (epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, fd, &e) < 0)
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

const char *sender_from(const struct mail *mail)
{
    return message_from(mail->task->job->run->mail);
}

const char *sender_files(const struct mail *mail, size_t *len)
{
    return message_files(mail->task->job->run->mail, len);
}

const char *sender_to(const struct mail *mail)
{
    return mail->task->job->message.recipients[mail->index].to;
}

/* The outcome is final for this attempt: settle it, write it, tell the ledger. */
static void record(struct task *task, uint32_t index, const struct outcome *outcome)
{
    struct job *job = task->job;
    const struct content *c = &job->run->content;
    struct outcome *o = &job->outcomes[index];
    bool maybe = o->maybe;
    *o = *outcome;
    o->maybe = maybe;
    o->at_us = db_clock_now_us(task->transport->sender->config.clock);
    struct outcome_rules rules = {
        .attempt = job->message.attempt,
        .max_attempts = c->max_attempts,
        .age_s =
            o->at_us / 1000000 - job->run->scheduled_s + content_delay_s(c, job->message.attempt),
        .max_age_s = c->max_age_s,
        .resend = c->resend,
    };
    outcome_settle(o, &rules);
    queue_push(task->transport->sender->config.to_ledger,
               (struct note){.kind = NOTE_OUTCOME, .job = job, .index = index});
}

static void fail(struct task *task, uint32_t index, const char *reason)
{
    struct outcome o = {0};
    outcome_set(&o, OUTCOME_FAILED, reason);
    record(task, index, &o);
}

static bool build(struct task *task, uint32_t index, struct buf *body)
{
    const struct chunk_recipient *to = &task->job->message.recipients[index];
    char mail_id[JOB_MAIL_ID_SIZE], reason[MESSAGE_REASON_SIZE];
    const char *bad_address = address_check(to->to, to->to_len);
    struct message_recipient r = {
        .to = to->to,
        .to_len = to->to_len,
        .vars = &to->vars,
        .message_id = job_mail_id(mail_id, task->job, index),
        .date_s = db_clock_now_us(task->transport->sender->config.clock) / 1000000,
    };
    buf_reset(body);
    if (!bad_address && message_build(task->job->run->mail, &r, &task->transport->sender->scratch,
                                      body, reason, sizeof reason))
        return true;
    fail(task, index, bad_address ? bad_address : reason);
    return false;
}

static bool next_index(struct task *task, uint32_t *index)
{
    if (task->ending || task->refused) return false;
    if (task->n_back)
        *index = task->back[--task->n_back];
    else if (task->next_work < task->job->n_work)
        *index = task->job->work[task->next_work++];
    else
        return false;
    return true;
}

static bool needs_utf8(const struct task *task, uint32_t index)
{
    const struct chunk_recipient *to = &task->job->message.recipients[index];
    return message_is_utf8(task->job->run->mail) || address_is_utf8(to->to, to->to_len);
}

bool sender_take(struct transport *t, struct mail *mail, struct buf *body)
{
    for (struct task *task = t->sender->tasks; task; task = task->next) {
        uint32_t index;
        if (task->transport != t) continue;
        while (next_index(task, &index)) {
            if (!build(task, index, body)) continue;
            *mail = (struct mail){task, index, needs_utf8(task, index), clock_boot_us()};
            task->held++;
            return true;
        }
    }
    return false;
}

uint32_t sender_available(const struct transport *t, uint32_t limit)
{
    uint32_t n = 0;
    for (const struct task *task = t->sender->tasks; task && n < limit; task = task->next)
        if (task->transport == t && !task->ending && !task->refused)
            n += task->n_back + task->job->n_work - task->next_work;
    return n < limit ? n : limit;
}

bool sender_may_hand_over(const struct mail *mail)
{
    const struct task *task = mail->task;
    return !task->ending && task->job->message.recipients[mail->index].position < task->started &&
           clock_boot_us() < task->hand_over_until_us;
}

bool sender_gave_up(const struct mail *mail)
{
    return mail->task->ending;
}

static void tell_health(const struct transport *t)
{
    const struct sender *s = t->sender;
    uint32_t i =
        (uint32_t)(t->settings - (struct settings_transport *)s->config.settings->transports.items);
    metrics_transport_up(i, t->health.state != HEALTH_DOWN);
    queue_push(s->config.to_ledger, (struct note){.kind = NOTE_TRANSPORT,
                                                  .index = i,
                                                  .value = (uint64_t)t->health.state,
                                                  .arg = (uint64_t)health_delay_s(&t->health)});
}

void sender_transport_failed(struct transport *t, const char *what, const char *why, size_t len)
{
    char text[200];
    if (!health_failed(&t->health, clock_boot_us())) return;
    if (t->health.state == HEALTH_DOWN)
        log_warn("sender", "msg=\"transport is down\" transport=%s failures=%d why=\"%s: %s\"",
                 t->settings->name, t->health.failures, what,
                 log_text_masked(text, sizeof text, why, len));
    tell_health(t);
}

/* Any reply that settles a mail shows that somebody is there. */
static void transport_answered(struct transport *t)
{
    int64_t now_us = clock_boot_us(), since_us = t->health.first_failure_us;
    bool was_down = t->health.state == HEALTH_DOWN;
    if (!health_answered(&t->health, now_us)) return;
    if (was_down)
        log_info("sender", "msg=\"transport is back\" transport=%s after_s=%lld", t->settings->name,
                 (long long)(now_us - since_us) / 1000000);
    tell_health(t);
}

void sender_done(const struct mail *mail, const struct outcome *outcome)
{
    mail->task->held--;
    if (outcome->code) transport_answered(mail->task->transport);
    METRICS_OBSERVE(dialogue, clock_boot_us() - mail->taken_us);
    record(mail->task, mail->index, outcome);
}

void sender_put_back(const struct mail *mail, bool lost)
{
    struct task *task = mail->task;
    task->held--;
    if (lost && ++task->job->losses[mail->index] >= LOSSES_MAX) {
        struct outcome o = {0};
        outcome_set(&o, OUTCOME_DEFERRED, "three connections were lost with this mail");
        record(task, mail->index, &o);
    } else {
        task->back[task->n_back++] = mail->index;
        task->transport->wake_due = true;
    }
}

static bool same_sender(const struct task *a, const struct task *b)
{
    return a->transport == b->transport &&
           strcmp(message_from(a->job->run->mail), message_from(b->job->run->mail)) == 0;
}

void sender_refused(const struct mail *mail, const struct outcome *refusal)
{
    struct sender *s = mail->task->transport->sender;
    if (mail->task->refused || mail->task->ending) return;
    for (struct task *task = s->tasks; task; task = task->next)
        if (same_sender(task, mail->task)) task->refused = true;
    mail->task->job->refusal = *refusal;
    queue_push(s->config.to_ledger,
               (struct note){.kind = NOTE_SENDER_REFUSED, .job = mail->task->job});
}

const struct settings *sender_settings(const struct sender *s)
{
    return s->config.settings;
}

static struct transport *transport_of(struct sender *s, const char *name)
{
    const struct settings_transport *all = s->config.settings->transports.items;
    const struct settings_transport *settings = settings_find_transport(s->config.settings, name);
    struct transport **slot = &s->transports[settings - all];
    if (!*slot) *slot = TRANSPORT_SMTP.open(s, settings);
    return *slot;
}

static void add_task(struct sender *s, const struct note *note)
{
    struct job *job = note->job;
    struct task *task = mem_alloc(sizeof *task), **end = &s->tasks;
    task->job = job;
    task->transport = transport_of(s, job->run->content.transport);
    task->back = mem_alloc(job->n_work * sizeof *task->back);
    task->started = note->index;
    task->hand_over_until_us = (int64_t)note->value;
    while (*end) end = &(*end)->next;
    *end = task;
    task->transport->wake_due = true;
}

static struct task *find_task(struct sender *s, const struct job *job)
{
    struct task *task = s->tasks;
    while (task && task->job != job) task = task->next;
    return task; /* NULL: it was returned, and the ledger had not heard yet */
}

/* Gives the job back once the transport holds none of its mails. */
static void return_if_free(struct sender *s, struct task *task)
{
    if (!task->ending || task->held) return;
    struct task **at = &s->tasks;
    while (*at != task) at = &(*at)->next;
    *at = task->next;
    queue_push(s->config.to_ledger, (struct note){.kind = NOTE_RETURNED, .job = task->job});
    free(task->back);
    free(task);
}

static void end_task(struct task *task, int64_t by_us)
{
    if (!task->ending || by_us < task->end_by_us) task->end_by_us = by_us;
    task->ending = task->transport->wake_due = true;
    task->transport->ops->drop(task->transport, task);
}

static void on_note(struct sender *s, const struct note *note)
{
    struct task *task =
        note->kind == NOTE_SEND || note->kind == NOTE_STOP ? NULL : find_task(s, note->job);
    switch (note->kind) {
    case NOTE_SEND:
        add_task(s, note);
        break;
    case NOTE_GRANT:
        task->started = note->index;
        task->hand_over_until_us = (int64_t)note->value;
        task->transport->wake_due = true;
        break;
    case NOTE_ABANDON:
    case NOTE_RELEASE:
        if (task) end_task(task, (int64_t)note->value);
        break;
    case NOTE_STOP:
        s->stopping = true;
        break;
    default:
        abort();
    }
}

static void on_inbox(struct watch *watch, uint32_t events)
{
    (void)events;
    struct sender *s =
        (struct sender *)(void *)((char *)watch - offsetof(struct sender, inbox_watch));
    struct note notes[NOTES_AT_ONCE];
    size_t n = queue_pop(s->config.inbox, notes, NOTES_AT_ONCE);
    for (size_t i = 0; i < n; i++) on_note(s, &notes[i]);
}

static void tick(struct sender *s, int64_t now_us)
{
    for (size_t i = 0; i < s->config.settings->transports.count; i++) {
        if (!s->transports[i]) continue;
        s->transports[i]->ops->tick(s->transports[i], now_us);
        s->transports[i]->wake_due = true; /* a wait may be over */
    }
    for (struct task *task = s->tasks; task; task = task->next)
        if (task->ending && task->held && now_us > task->end_by_us)
            task->transport->ops->drop_all(task->transport, task);
}

static void after_events(struct sender *s)
{
    for (size_t i = 0; i < s->config.settings->transports.count; i++) {
        struct transport *t = s->transports[i];
        if (!t || !t->wake_due) continue;
        t->wake_due = false;
        t->ops->wake(t);
    }
    for (struct task *task = s->tasks, *next; task; task = next) {
        next = task->next;
        return_if_free(s, task);
    }
}

static void *sender_main(void *arg)
{
    struct sender *s = arg;
    struct epoll_event events[EVENTS_AT_ONCE];
    int64_t next_tick_us = 0;
    pthread_setname_np(pthread_self(), "sender");
    while (!s->stopping) {
        int n = epoll_wait(s->epoll_fd, events, EVENTS_AT_ONCE, TICK_US / 1000);
        for (int i = 0; i < n; i++) {
            struct watch *watch = events[i].data.ptr;
            watch->on_event(watch, events[i].events);
        }
        pulse_beat(PULSE_SENDER);
        int64_t now_us = clock_boot_us();
        if (now_us >= next_tick_us) {
            tick(s, now_us);
            next_tick_us = now_us + TICK_US;
        }
        after_events(s);
    }
    pulse_end(PULSE_SENDER);
    return NULL;
}

struct sender *sender_start(const struct sender_config *config)
{
    struct sender *s = mem_alloc(sizeof *s);
    s->config = *config;
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->transports = mem_alloc(config->settings->transports.count * sizeof(struct transport *));
    s->inbox_watch.on_event = on_inbox;
    message_scratch_init(&s->scratch, VALUE_MAX);
    sender_watch(s, queue_fd(config->inbox), EPOLLIN, &s->inbox_watch);
    pthread_create(&s->thread, NULL, sender_main, s);
    return s;
}

void sender_join(struct sender *s)
{
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->config.settings->transports.count; i++)
        if (s->transports[i]) s->transports[i]->ops->close(s->transports[i]);
    while (s->tasks) {
        struct task *next = s->tasks->next;
        free(s->tasks->back);
        free(s->tasks);
        s->tasks = next;
    }
    message_scratch_fini(&s->scratch);
    close(s->epoll_fd);
    free(s->transports);
    free(s);
}
