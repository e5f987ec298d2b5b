/* The sender's tasks, with a made-up transport: which mail comes next, when it may be handed over,
 * and that for every mail of every job the ledger hears exactly one thing. */
#include "consumer/sender.c" /* its loop is driven step by step here */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/arena.h"

enum { MAILS = 40, HELD_MAX = 8, FAR = 1 << 30 };

/* The transport: what it holds, and whether by the dice or as the test says. */
static struct held {
    struct mail mail;
    bool handed_over;
    char to[64];
} held[HELD_MAX];
static int n_held, room = HELD_MAX, drops;
static bool at_random;
static struct buf body;

static struct transport *fake_open(struct sender *s, const struct settings_transport *settings)
{
    static struct transport t;
    t = (struct transport){.ops = &TRANSPORT_SMTP, .settings = settings, .sender = s};
    return &t;
}

static struct held take_out(int k)
{
    struct held h = held[k];
    memmove(held + k, held + k + 1, (size_t)(--n_held - k) * sizeof *held);
    return h;
}

static void answer(int k, enum outcome_status status)
{
    struct outcome o = {0};
    struct held h = take_out(k);
    outcome_set(&o, status, "x");
    sender_done(&h.mail, &o);
}

static void put_back(int k, bool lost)
{
    struct held h = take_out(k);
    sender_put_back(&h.mail, lost);
}

static void fake_wake(struct transport *t)
{
    static const enum outcome_status ends[] = {OUTCOME_SENT, OUTCOME_FAILED, OUTCOME_DEFERRED};
    while (n_held < room && sender_take(t, &held[n_held].mail, &body)) {
        held[n_held].handed_over = false;
        snprintf(held[n_held].to, sizeof held[0].to, "%s", sender_to(&held[n_held].mail));
        n_held++;
    }
    for (int k = n_held - 1; at_random && k >= 0; k--) {
        assert_string_equal(held[k].to, sender_to(&held[k].mail)); /* borrowed until told about */
        if (!held[k].handed_over) held[k].handed_over = sender_may_hand_over(&held[k].mail);
        if (held[k].handed_over && rand() % 3 == 0)
            answer(k, ends[rand() % 3]);
        else if (!held[k].handed_over && rand() % 4 == 0)
            put_back(k, rand() % 2);
    }
}

static void fake_tick(struct transport *t, int64_t now_us)
{
    (void)t, (void)now_us;
}

static void fake_drop(struct transport *t, const struct task *task)
{
    (void)t, (void)task;
    drops++;
    for (int k = n_held - 1; k >= 0; k--)
        if (!held[k].handed_over && sender_gave_up(&held[k].mail)) put_back(k, false);
}

static void fake_drop_all(struct transport *t, const struct task *task)
{
    fake_drop(t, task);
    for (int k = n_held - 1; k >= 0; k--)
        if (held[k].mail.task == task) answer(k, OUTCOME_OPEN);
}

static void fake_close(struct transport *t)
{
    (void)t;
    n_held = 0;
}

const struct transport_ops TRANSPORT_SMTP = {fake_open, fake_wake,     fake_tick,
                                             fake_drop, fake_drop_all, fake_close};

static struct sender *s;
static struct db_clock db_clock;
static struct queue *inbox, *to_ledger;
static struct run run;
static struct settings settings;
static struct settings_transport relay;

static int setup(void **state)
{
    (void)state;
    static char name[] = "relay";
    static const struct message_spec spec = {
        .from = "News <news@m.example>", .subject = "for {{name}}", .text = "Hello {{name}}\n"};
    struct err e = message_compile(&spec, &run.mail);
    if (e.code) return -1;
    db_clock_init(&db_clock);
    run.domain = message_id_domain(run.mail);
    run.scheduled_s = clock_utc_us() / 1000000;
    run.refs = FAR; /* so that no job frees it */
    run.content = (struct content){
        .transport = name, .max_attempts = 5, .max_age_s = 86400, .n_delays = 1, .delays_s = {60}};
    relay = (struct settings_transport){.name = name};
    settings = (struct settings){.transports = {.items = &relay, .count = 1}};
    inbox = queue_new(1000);
    to_ledger = queue_new(10000);
    s = mem_alloc(sizeof *s);
    s->config = (struct sender_config){&settings, inbox, to_ledger, &db_clock};
    s->transports = mem_alloc(sizeof *s->transports);
    message_scratch_init(&s->scratch, VALUE_MAX);
    buf_init(&body, 1 << 20);
    n_held = drops = 0;
    room = HELD_MAX;
    at_random = false;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (s->tasks) {
        struct task *next = s->tasks->next;
        free(s->tasks->back);
        free(s->tasks);
        s->tasks = next;
    }
    message_scratch_fini(&s->scratch);
    free(s->transports);
    free(s);
    queue_free(inbox);
    queue_free(to_ledger);
    buf_fini(&body);
    message_free(run.mail);
    return 0;
}

/* One round of sender_main. */
static void step(int64_t now_us)
{
    on_inbox((struct watch *)(void *)((char *)s + offsetof(struct sender, inbox_watch)), EPOLLIN);
    tick(s, now_us);
    after_events(s);
}

/* A job of n mails at the positions 0, 2, 4 ... to u0, u2, u4 ... All of it is work. */
static struct job *make_job(uint32_t n, uint32_t attempt)
{
    struct buf b;
    struct chunk_message m;
    buf_init(&b, 100000);
    chunk_write_start(&b, 1, 2, attempt);
    for (uint32_t i = 0; i < n; i++) {
        char to[30];
        int len = snprintf(to, sizeof to, "u%u@r.example", 2 * i);
        chunk_write_recipient(&b, 2 * i, to, (size_t)len, to, (size_t)len);
        chunk_write_var_name(&b, "name", 4);
        chunk_write_text(&b, "Ada", 3);
        chunk_write_recipient_end(&b, NULL);
    }
    chunk_write_end(&b, 1);
    struct err e = chunk_decode(b.data, b.len, &m);
    if (e.code) fail_msg("%s", e.text);
    struct job *job = job_new(&m, b.data, b.len);
    buf_fini(&b);
    job->run = &run;
    job_prepare(job);
    for (uint32_t i = 0; i < n; i++) job->work[job->n_work++] = i;
    return job;
}

static void tell(enum note_kind kind, struct job *job, uint32_t started, int64_t until_us)
{
    queue_push(inbox, (struct note){kind, started, job, (uint64_t)until_us, 0});
}

static int64_t soon(void)
{
    return clock_boot_us() + 100000000;
}

/* The next thing that the ledger hears must be this. */
static void expect_note(enum note_kind kind, const struct job *job, uint32_t index)
{
    struct note note;
    assert_int_equal(queue_pop(to_ledger, &note, 1), 1);
    assert_int_equal(note.kind, kind);
    assert_ptr_equal(note.job, job);
    if (kind == NOTE_OUTCOME) assert_int_equal(note.index, index);
}

static void expect_silence(void)
{
    struct note note;
    assert_int_equal(queue_pop(to_ledger, &note, 1), 0);
}

static void end_job(struct job *job)
{
    tell(NOTE_RELEASE, job, 0, 0);
    step(INT64_MAX);
    struct note note = {0};
    while (queue_pop(to_ledger, &note, 1) && note.kind != NOTE_RETURNED) continue;
    assert_int_equal(note.kind, NOTE_RETURNED);
    job_free(job);
}

static void mails_go_in_the_order_of_jobs_and_of_their_work(void **state)
{
    (void)state;
    struct job *first = make_job(3, 1), *second = make_job(2, 1);
    second->work[0] = 1;
    second->n_work = 1; /* index 0 is not its work */
    room = 2;
    tell(NOTE_SEND, first, 0, soon());
    tell(NOTE_SEND, second, 0, soon());
    step(0);
    assert_int_equal(n_held, 2);
    assert_string_equal(held[0].to, "u0@r.example");
    assert_string_equal(held[1].to, "u2@r.example");
    assert_int_equal(sender_available(s->transports[0], 100), 2);
    assert_int_equal(sender_available(s->transports[0], 1), 1);
    room = HELD_MAX;
    step(0);
    assert_int_equal(n_held, 4);
    assert_string_equal(held[2].to, "u4@r.example");
    assert_ptr_equal(held[3].mail.task->job, second);
    assert_string_equal(held[3].to, "u2@r.example");
    assert_string_equal(sender_from(&held[0].mail), "news@m.example");
    assert_int_equal(sender_available(s->transports[0], 100), 0);
    end_job(first);
    end_job(second);
}

static void a_mail_may_be_handed_over_below_the_watermark_and_within_the_lease(void **state)
{
    (void)state;
    struct job *job = make_job(3, 1);
    tell(NOTE_SEND, job, 0, soon());
    step(0);
    assert_false(sender_may_hand_over(&held[0].mail)); /* position 0, nothing is committed */
    tell(NOTE_GRANT, job, 1, soon());
    step(0);
    assert_true(sender_may_hand_over(&held[0].mail));
    assert_false(sender_may_hand_over(&held[1].mail)); /* position 2 */
    tell(NOTE_GRANT, job, 3, soon());
    step(0);
    assert_true(sender_may_hand_over(&held[1].mail));
    assert_false(sender_may_hand_over(&held[2].mail));
    tell(NOTE_GRANT, job, FAR, clock_boot_us() - 1);
    step(0);
    assert_false(sender_may_hand_over(&held[0].mail)); /* the lease is over */
    tell(NOTE_GRANT, job, FAR, soon());
    step(0);
    assert_true(sender_may_hand_over(&held[2].mail));
    assert_false(sender_gave_up(&held[2].mail));
    end_job(job);
    job = make_job(2, 1);
    tell(NOTE_SEND, job, 1, soon()); /* what is below a watermark from before may go at once */
    step(0);
    assert_true(sender_may_hand_over(&held[0].mail));
    assert_false(sender_may_hand_over(&held[1].mail));
    end_job(job);
}

static void what_is_put_back_comes_next_and_after_three_losses_is_deferred(void **state)
{
    (void)state;
    struct job *job = make_job(3, 1);
    room = 1;
    tell(NOTE_SEND, job, FAR, soon());
    step(0);
    for (int losses = 0; losses < 2; losses++) {
        put_back(0, true);
        step(0);
        assert_string_equal(held[0].to, "u0@r.example");
        put_back(0, false); /* this is none */
        step(0);
        assert_string_equal(held[0].to, "u0@r.example");
        expect_silence();
    }
    put_back(0, true);
    expect_note(NOTE_OUTCOME, job, 0);
    assert_int_equal(job->outcomes[0].status, OUTCOME_DEFERRED);
    assert_string_equal(job->outcomes[0].detail, "three connections were lost with this mail");
    step(0);
    assert_string_equal(held[0].to, "u2@r.example");
    put_back(0, true); /* the next one's losses are its own */
    step(0);
    answer(0, OUTCOME_SENT);
    expect_note(NOTE_OUTCOME, job, 1);
    assert_int_equal(job->outcomes[1].status, OUTCOME_SENT);
    end_job(job);
}

static void a_mail_that_cannot_be_built_fails_and_meets_no_transport(void **state)
{
    (void)state;
    struct job *job = make_job(5, 1);
    job->message.recipients[0].to = "two@at@r.example";
    job->message.recipients[0].to_len = 16;
    job->message.recipients[1].to = "a@b.c>\r\nRCPT TO:<x@y.z";
    job->message.recipients[1].to_len = (uint32_t)strlen(job->message.recipients[1].to);
    job->message.recipients[2].vars = (struct value){.kind = VALUE_MAP};
    tell(NOTE_SEND, job, FAR, soon());
    step(0);
    assert_int_equal(n_held, 2);
    assert_string_equal(held[0].to, "u6@r.example");
    for (uint32_t i = 0; i < 3; i++) {
        expect_note(NOTE_OUTCOME, job, i);
        assert_int_equal(job->outcomes[i].status, OUTCOME_FAILED);
        assert_true(job->outcomes[i].at_us > 0);
    }
    assert_non_null(strstr(job->outcomes[0].detail, "more than one @"));
    assert_non_null(strstr(job->outcomes[2].detail, "name"));
    expect_silence();
    end_job(job);
}

/* PROTOCOL S2 */
static void a_refused_sender_stops_its_own_jobs_and_no_others(void **state)
{
    (void)state;
    static const struct message_spec spec = {
        .from = "Other <other@m.example>", .subject = "s", .text = "t\n"};
    struct run other = run;
    struct outcome refusal = {.code = 550};
    struct err e = message_compile(&spec, &other.mail);
    if (e.code) fail_msg("%s", e.text);
    struct job *first = make_job(3, 1), *second = make_job(3, 1), *third = make_job(3, 1);
    third->run = &other;
    room = 1;
    tell(NOTE_SEND, first, FAR, soon());
    tell(NOTE_SEND, second, FAR, soon());
    tell(NOTE_SEND, third, FAR, soon());
    step(0);
    sender_refused(&held[0].mail, &refusal);
    put_back(0, false);
    expect_note(NOTE_SENDER_REFUSED, first, 0);
    assert_int_equal(first->refusal.code, 550);
    assert_int_equal(sender_available(s->transports[0], 100), 3);
    room = HELD_MAX;
    step(0);
    assert_int_equal(n_held, 3);
    for (int k = 0; k < 3; k++) assert_ptr_equal(held[k].mail.task->job, third);
    sender_refused(&held[0].mail, &refusal);
    sender_refused(&held[1].mail, &refusal);
    expect_note(NOTE_SENDER_REFUSED, third, 0);
    expect_silence(); /* once */
    while (n_held) put_back(0, false);
    end_job(first);
    end_job(second);
    end_job(third);
    message_free(other.mail);
}

static void a_released_job_awaits_its_replies_and_takes_nothing_more(void **state)
{
    (void)state;
    struct job *job = make_job(5, 1);
    room = 3;
    tell(NOTE_SEND, job, FAR, soon());
    step(0);
    held[0].handed_over = held[1].handed_over = true;
    tell(NOTE_RELEASE, job, 0, 1000000);
    room = HELD_MAX;
    step(1000000); /* until then, and that moment too */
    assert_int_equal(drops, 1);
    assert_int_equal(n_held, 2); /* the third was put back, and is not taken again */
    expect_silence();
    answer(0, OUTCOME_SENT);
    step(1000000);
    expect_note(NOTE_OUTCOME, job, 0);
    expect_silence();
    step(1000001);
    expect_note(NOTE_OUTCOME, job, 1);
    assert_int_equal(job->outcomes[1].status, OUTCOME_UNKNOWN); /* C8, hold */
    assert_true(job->outcomes[1].maybe);
    expect_note(NOTE_RETURNED, job, 0);
    expect_silence();
    assert_null(s->tasks);
    job_free(job);
}

static void under_resend_what_was_not_answered_is_left_open(void **state)
{
    (void)state;
    struct job *job = make_job(1, 1);
    run.content.resend = true;
    tell(NOTE_SEND, job, FAR, soon());
    step(0);
    held[0].handed_over = true;
    tell(NOTE_ABANDON, job, 0, 0);
    step(1);
    expect_note(NOTE_OUTCOME, job, 0);
    assert_int_equal(job->outcomes[0].status, OUTCOME_OPEN);
    assert_true(job->outcomes[0].maybe);
    expect_note(NOTE_RETURNED, job, 0);
    job_free(job);
}

static void a_second_release_can_only_hurry_and_may_come_too_late(void **state)
{
    (void)state;
    struct job *job = make_job(1, 1);
    tell(NOTE_SEND, job, FAR, soon());
    step(0);
    held[0].handed_over = true;
    tell(NOTE_RELEASE, job, 0, 5000000);
    tell(NOTE_RELEASE, job, 0, 2000000);
    tell(NOTE_RELEASE, job, 0, 9000000);
    step(2000000);
    expect_silence();
    step(2000001);
    expect_note(NOTE_OUTCOME, job, 0);
    expect_note(NOTE_RETURNED, job, 0);
    tell(NOTE_RELEASE, job, 0, 0); /* sent before the ledger heard */
    step(0);
    expect_silence();
    job_free(job);
}

static void attempts_age_and_doubt_decide_about_a_deferral(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t attempt;
        int64_t age_s; /* of the run */
        enum outcome_status want;
        bool maybe;
    } rows[] = {
        {"young", 1, 0, OUTCOME_DEFERRED, false},
        {"one attempt left", 4, 0, OUTCOME_DEFERRED, false},
        {"the last attempt", 5, 0, OUTCOME_FAILED, false},
        {"the next attempt would be in time", 1, 86400 - 70, OUTCOME_DEFERRED, false},
        {"the next attempt would be too late", 1, 86400 - 50, OUTCOME_FAILED, false},
        {"the last attempt, and maybe sent before", 5, 0, OUTCOME_UNKNOWN, true},
        {"scheduled in the future", 1, -1000, OUTCOME_DEFERRED, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct job *job = make_job(1, rows[i].attempt);
        job->outcomes[0].maybe = rows[i].maybe;
        run.scheduled_s = clock_utc_us() / 1000000 - rows[i].age_s;
        tell(NOTE_SEND, job, FAR, soon());
        step(0);
        answer(0, OUTCOME_DEFERRED);
        if (job->outcomes[0].status != rows[i].want) fail_msg("%s", rows[i].name);
        end_job(job);
    }
}

/* Jobs come, are granted more and more, and end in one way or another, while the transport does as
 * the dice fall. */
static void whatever_happens_each_mail_is_told_once_or_given_back(void **state)
{
    (void)state;
    at_random = true;
    for (unsigned seed = 1; seed <= 300; seed++) {
        srand(seed);
        struct job *jobs[4];
        int told[4][MAILS] = {{0}}, returned[4] = {0}, left = 4;
        uint32_t n = 1 + (uint32_t)rand() % MAILS;
        run.content.resend = rand() % 2;
        for (int j = 0; j < 4; j++) {
            jobs[j] = make_job(n, 1);
            tell(NOTE_SEND, jobs[j], 0, soon());
        }
        bool asked[4] = {false};
        for (int round = 0; left; round++) {
            int j = rand() % 4;
            struct note note;
            if (!asked[j]) {
                tell(NOTE_GRANT, jobs[j], (uint32_t)round / 2, soon());
                asked[j] = rand() % 100 == 0 || round > 2000;
                if (asked[j])
                    tell(rand() % 2 ? NOTE_RELEASE : NOTE_ABANDON, jobs[j], 0, round + rand() % 50);
            }
            step(round);
            while (queue_pop(to_ledger, &note, 1)) {
                int of = 0;
                while (jobs[of] != note.job) of++;
                assert_int_equal(returned[of], 0); /* nothing comes after it */
                if (note.kind == NOTE_OUTCOME)
                    assert_int_equal(++told[of][note.index], 1);
                else
                    returned[of]++, left--;
            }
            if (round > 5000) fail_msg("seed %u: no end", seed);
        }
        assert_int_equal(n_held, 0);
        for (int j = 0; j < 4; j++) {
            for (uint32_t i = 0; i < n; i++)
                assert_int_equal(jobs[j]->outcomes[i].status != OUTCOME_NONE, told[j][i]);
            job_free(jobs[j]);
        }
    }
}

static void expect_transport(enum health_state state)
{
    struct note note;
    assert_int_equal(queue_pop(to_ledger, &note, 1), 1);
    assert_int_equal(note.kind, NOTE_TRANSPORT);
    assert_int_equal(note.index, 0);
    assert_int_equal(note.value, state);
}

static void it_tells_when_a_transport_fails_goes_down_and_is_back(void **state)
{
    (void)state;
    struct job *job = make_job(3, 1);
    tell(NOTE_SEND, job, 0, soon());
    step(0);
    struct transport *t = s->transports[0];
    sender_transport_failed(t, "cannot connect", "refused", 7);
    expect_transport(HEALTH_FAILING);
    sender_transport_failed(t, "cannot connect", "refused", 7);
    sender_transport_failed(t, "cannot connect", "refused", 7);
    expect_silence();
    t->health.first_failure_us -= HEALTH_DOWN_US;
    sender_transport_failed(t, "cannot connect", "refused", 7);
    expect_transport(HEALTH_DOWN);
    sender_transport_failed(t, "cannot connect", "refused", 7);
    expect_silence();

    struct held h = take_out(0); /* nobody answered it */
    struct outcome o = {0};
    outcome_set(&o, OUTCOME_UNKNOWN, "connection lost");
    sender_done(&h.mail, &o);
    expect_note(NOTE_OUTCOME, job, 0);
    expect_silence();
    h = take_out(0); /* refused is answered, too */
    outcome_set(&o, OUTCOME_FAILED, "no such mailbox");
    o.code = 550;
    sender_done(&h.mail, &o);
    expect_transport(HEALTH_UP);
    expect_note(NOTE_OUTCOME, job, 1);
    expect_silence();
    end_job(job);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(mails_go_in_the_order_of_jobs_and_of_their_work),
        TEST(a_mail_may_be_handed_over_below_the_watermark_and_within_the_lease),
        TEST(what_is_put_back_comes_next_and_after_three_losses_is_deferred),
        TEST(a_mail_that_cannot_be_built_fails_and_meets_no_transport),
        TEST(a_refused_sender_stops_its_own_jobs_and_no_others),
        TEST(a_released_job_awaits_its_replies_and_takes_nothing_more),
        TEST(under_resend_what_was_not_answered_is_left_open),
        TEST(a_second_release_can_only_hurry_and_may_come_too_late),
        TEST(attempts_age_and_doubt_decide_about_a_deferral),
        TEST(whatever_happens_each_mail_is_told_once_or_given_back),
        TEST(it_tells_when_a_transport_fails_goes_down_and_is_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
