/* PROTOCOL C8 against a relay that is slow to answer: how long replies are awaited when a chunk is
 * given back, and that the lease is kept meanwhile. */
#include "consumer/ledger.c" /* its loop is driven step by step here */

#include "tests/unit/ledger_sim.h"

enum { SECOND_US = 1000000, FINAL_REPLY_S = 600, HANDED_OVER = FLIGHTS };

static struct worker *const w = &workers[0];
static bool answering; /* whether the relay answers what it was handed */

/* The sender of a relay that takes mails, and answers none of them before it is told to. */
static void slow_sender_step(void)
{
    struct note notes[64];
    size_t n = queue_pop(w->to_sender, notes, 64);
    for (size_t i = 0; i < n; i++) sender_note(w, &notes[i]);
    for (int i = w->n_tasks - 1; i >= 0; i--) {
        struct sim_task *t = &w->tasks[i];
        while (!t->ending && t->n_flights < FLIGHTS && t->next < t->job->n_work)
            t->flights[t->n_flights++] = (struct flight){.index = t->job->work[t->next++]};
        for (int k = t->n_flights - 1; k >= 0; k--) {
            struct flight *f = &t->flights[k];
            if (!f->handed_over && !t->ending) hand_over(t, f);
            if (!f->handed_over && t->ending)
                *f = t->flights[--t->n_flights];
            else if (f->handed_over && answering)
                end_flight(w, t, k, OUTCOME_SENT);
            else if (f->handed_over && t->ending && w_now_us > t->end_by_us)
                end_flight(w, t, k, OUTCOME_OPEN);
        }
        if (!t->ending || t->n_flights) continue;
        queue_push(w->inbox, (struct note){.kind = NOTE_RETURNED, .job = t->job});
        w->tasks[i] = w->tasks[--w->n_tasks];
    }
}

static void step(void)
{
    ledger_step(w);
    slow_sender_step();
    w_now_us += SECOND_US;
}

/* A chunk is in hand, and as many of its mails as there is room for are on their way. */
static void begin(bool resends)
{
    static char name[] = "relay";
    srand(1);
    memset(&world, 0, sizeof world);
    memset(accepted, 0, sizeof accepted);
    w_now_us = 1000000000;
    w_fault = n_messages = 0;
    resend = resends;
    answering = false;
    snprintf(world.control, sizeof world.control, "go");
    relay = (struct settings_transport){
        .name = name, .connections = 2, .final_reply_timeout_ms = FINAL_REPLY_S * 1000};
    settings = (struct settings){.worker = {.lease_ms = 10000, .drain_ms = 5000, .prefetch = 3},
                                 .transports = {.items = &relay, .count = 1}};
    buf_init(&w_content, 10000);
    struct content c = content();
    content_encode(&c, &w_content);
    for (int i = 0; i < W_CHUNKS; i++) {
        snprintf(world.chunks[i].state, sizeof world.chunks[i].state, i ? "done" : "planned");
        world.chunks[i].attempt = 1;
    }
    put_message(0, 1, NULL, 0);
    start_worker(w);
    broker_step(w);
    for (int i = 0; i < 10; i++) step();
    assert_int_equal(w->n_tasks, 1);
    for (int k = 0; k < FLIGHTS; k++) assert_true(w->tasks[0].flights[k].handed_over);
}

static void end(void)
{
    kill_worker(w);
    for (int i = 0; i < n_messages; i++) free(messages[i].body);
    buf_fini(&w_content);
}

static int rows_of(enum outcome_status status)
{
    int n = 0;
    for (int p = 0; p < W_POSITIONS; p++) n += world.chunks[0].rows[p].status == status;
    return n;
}

static bool is_held(void)
{
    return w_lease_lives(&world.chunks[0]);
}

/* Until the chunk is given back; no lease runs out meanwhile. Returns the seconds it took. */
static int64_t until_given_back(int64_t most_s)
{
    int64_t began_us = w_now_us;
    while (world.chunks[0].token) {
        assert_true(is_held());
        if (w_now_us - began_us > most_s * SECOND_US) fail_msg("not within %" PRId64 " s", most_s);
        step();
    }
    return (w_now_us - began_us) / SECOND_US;
}

static void hold_for(int64_t s)
{
    for (int64_t until_us = w_now_us + s * SECOND_US; w_now_us < until_us;) {
        step();
        assert_true(is_held());
        assert_int_equal(w->l.n_jobs, 1);
    }
}

static void awaits_replies(const char *control, bool resends)
{
    begin(resends);
    snprintf(world.control, sizeof world.control, "%s", control);
    hold_for(FINAL_REPLY_S - 10);
    assert_int_equal(w->l.jobs[0]->state, JOB_RELEASING);
    answering = true;
    until_given_back(30);
    assert_int_equal(rows_of(OUTCOME_SENT), HANDED_OVER);
    assert_int_equal(rows_of(OUTCOME_NONE), W_POSITIONS - HANDED_OVER);
    assert_int_equal(world.chunks[0].started, HANDED_OVER);
    end();
}

static void pause_and_cancel_await_replies_as_long_as_the_transport_does(void **state)
{
    (void)state;
    for (int resends = 0; resends < 2; resends++) {
        awaits_replies("paused", resends);
        awaits_replies("cancelled", resends);
    }
}

static void what_is_never_answered_is_given_up_after_the_transport_has_given_it_up(void **state)
{
    (void)state;
    for (int resends = 0; resends < 2; resends++) {
        begin(resends);
        snprintf(world.control, sizeof world.control, "paused");
        hold_for(FINAL_REPLY_S);
        until_given_back(LEDGER_REPLY_MARGIN_S + 30);
        assert_int_equal(rows_of(resends ? OUTCOME_DEFERRED : OUTCOME_UNKNOWN), HANDED_OVER);
        end();
    }
}

/* RabbitMQ's limit: 1800 s after the delivery. */
static void a_chunk_of_twenty_minutes_awaits_replies_until_the_brokers_limit_is_near(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        begin(false);
        int64_t received_us = w->l.jobs[0]->received_us;
        hold_for(1190);
        assert_int_equal(w->l.jobs[0]->state, JOB_SENDING);
        hold_for(400);
        assert_int_equal(w->l.jobs[0]->state, JOB_RELEASING);
        answering = !late;
        until_given_back(60);
        assert_true(w_now_us - received_us < 1740LL * SECOND_US);
        assert_int_equal(rows_of(late ? OUTCOME_UNKNOWN : OUTCOME_SENT), HANDED_OVER);
        end();
    }
}

static void no_release_awaits_replies_past_the_brokers_limit(void **state)
{
    (void)state;
    begin(false);
    relay.final_reply_timeout_ms = 3600 * 1000;
    int64_t received_us = w->l.jobs[0]->received_us;
    hold_for(600);
    snprintf(world.control, sizeof world.control, "paused");
    hold_for(900);
    until_given_back(300);
    assert_true(w_now_us - received_us < 1740LL * SECOND_US);
    end();
}

/* A chunk with mails on the way, whose run has been paused for a minute. */
static void begin_paused(void)
{
    begin(false);
    snprintf(world.control, sizeof world.control, "paused");
    hold_for(60);
}

static void a_stop_shortens_what_a_pause_has_promised(void **state)
{
    (void)state;
    begin_paused();
    queue_push(w->inbox, (struct note){.kind = NOTE_STOP});
    until_given_back(5 + 10);
    assert_int_equal(rows_of(OUTCOME_UNKNOWN), HANDED_OVER);
    end();
}

/* One of 20 minutes with two mails on the way. The other has a share of the window meanwhile. */
static void a_chunk_that_awaits_replies_leaves_room_to_others(void **state)
{
    (void)state;
    begin(false);
    hold_for(1100);
    struct w_chunk *other = &world.chunks[1];
    snprintf(other->state, sizeof other->state, "planned");
    put_message(1, 1, NULL, 0);
    broker_step(w);
    for (int i = 0; i < 50; i++) step();
    assert_int_equal(other->token, 0); /* not needed yet */
    for (int i = 0; i < 100; i++) step();
    assert_int_equal(w->l.jobs[0]->state, JOB_RELEASING);
    assert_true(other->token && other->started > 0);
    assert_true(w->l.jobs[0]->n_granted + w->l.jobs[1]->n_granted <= WINDOW_MAX);
    end();
}

/* In which state the run is when the replies are there decides where the message waits. */
static void changes_twice(const char *first, const char *second, int64_t delay_s)
{
    begin(false);
    snprintf(world.control, sizeof world.control, "%s", first);
    hold_for(60);
    snprintf(world.control, sizeof world.control, "%s", second);
    hold_for(60);
    answering = true;
    until_given_back(30);
    step();
    broker_step(w);
    assert_int_equal(n_messages, 2);
    assert_null(messages[0].body);
    assert_true(messages[1].ready_us <= w_now_us + delay_s * SECOND_US);
    for (int i = 0; i < 60 && strcmp(world.chunks[0].state, "done") != 0; i++) {
        broker_step(w);
        step();
    }
    assert_int_equal(rows_of(OUTCOME_UNKNOWN), 0);
}

static void what_is_given_back_while_its_run_is_paused_is_parked(void **state)
{
    (void)state;
    begin_paused();
    answering = true;
    until_given_back(30);
    step();
    broker_step(w);
    assert_int_equal(n_messages, 2);
    assert_null(messages[0].body);
    assert_true(messages[1].parked && world.parked);
    end();
}

/* The last look is a moment old: the run goes on by now. */
static void resumed_between_the_last_look_and_the_release_it_is_not_parked(void **state)
{
    (void)state;
    begin_paused();
    assert_true(w->l.jobs[0]->park);
    snprintf(world.control, sizeof world.control, "go");
    w->l.control_read_us = w_now_us + 1000 * SECOND_US; /* it does not look again */
    answering = true;
    until_given_back(30);
    step();
    broker_step(w);
    assert_int_equal(n_messages, 2);
    assert_false(messages[1].parked);
    assert_true(messages[1].ready_us <= w_now_us + SECOND_US);
    end();
}

static void paused_and_resumed_while_replies_are_awaited_goes_on_at_once(void **state)
{
    (void)state;
    changes_twice("paused", "go", 1);
    assert_string_equal(world.chunks[0].state, "done");
    assert_int_equal(rows_of(OUTCOME_SENT), W_POSITIONS);
    end();
}

static void paused_and_cancelled_while_replies_are_awaited_is_skipped(void **state)
{
    (void)state;
    changes_twice("paused", "cancelled", 1);
    assert_string_equal(world.chunks[0].state, "done");
    assert_int_equal(rows_of(OUTCOME_SENT), HANDED_OVER);
    assert_int_equal(rows_of(OUTCOME_SKIPPED), W_POSITIONS - HANDED_OVER);
    end();
}

/* PROTOCOL C12: what another worker had to call unknown becomes sent when the reply comes. */
static void a_worker_that_lost_its_lease_awaits_replies(void **state)
{
    (void)state;
    begin(false);
    struct w_chunk *c = &world.chunks[0];
    c->token = 4711;
    c->seq++;
    c->lease_until_us = w_now_us + 3600LL * SECOND_US;
    for (int p = 0; p < HANDED_OVER; p++) {
        c->rows[p] = (struct w_row){OUTCOME_UNKNOWN, 1, true};
        c->counters[OUTCOME_UNKNOWN]++;
    }
    for (int i = 0; i < 300; i++) step();
    assert_int_equal(w->l.jobs[0]->state, JOB_ABANDONED);
    answering = true;
    for (int i = 0; i < 10; i++) step();
    assert_int_equal(w->l.n_jobs, 0);
    assert_int_equal(rows_of(OUTCOME_SENT), HANDED_OVER);
    assert_int_equal(c->counters[OUTCOME_SENT], HANDED_OVER);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pause_and_cancel_await_replies_as_long_as_the_transport_does),
        cmocka_unit_test(what_is_never_answered_is_given_up_after_the_transport_has_given_it_up),
        cmocka_unit_test(a_chunk_of_twenty_minutes_awaits_replies_until_the_brokers_limit_is_near),
        cmocka_unit_test(no_release_awaits_replies_past_the_brokers_limit),
        cmocka_unit_test(a_stop_shortens_what_a_pause_has_promised),
        cmocka_unit_test(a_chunk_that_awaits_replies_leaves_room_to_others),
        cmocka_unit_test(what_is_given_back_while_its_run_is_paused_is_parked),
        cmocka_unit_test(resumed_between_the_last_look_and_the_release_it_is_not_parked),
        cmocka_unit_test(paused_and_resumed_while_replies_are_awaited_goes_on_at_once),
        cmocka_unit_test(paused_and_cancelled_while_replies_are_awaited_is_skipped),
        cmocka_unit_test(a_worker_that_lost_its_lease_awaits_replies),
    };
    log_setup(LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
