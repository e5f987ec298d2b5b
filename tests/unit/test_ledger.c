/* The ledger thread's logic, whole, in a made-up world: workers that crash, freeze and are stopped,
 * a database that fails at any statement, a broker that delivers twice, an operator who pauses and
 * cancels. In the end everybody is accounted for, and nobody got a mail twice who must not. */
#include "consumer/ledger.c" /* its loop is driven step by step here */

#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/ledger_sim.h"

static void stop_worker(struct worker *w)
{
    w->stopping = true;
    queue_push(w->inbox, (struct note){.kind = NOTE_STOP});
}

static void trouble(struct worker *w)
{
    static const char *const controls[] = {"go", "go", "go", "paused"};
    if (w_one_in(60)) kill_worker(w);
    if (w->alive && w_one_in(100)) lose_broker(w);
    if (w->alive && !w->stopping && w_one_in(40)) stop_worker(w);
    if (w_one_in(200)) w_now_us += 12000000; /* everybody sleeps through a lease */
    if (w->alive && w_one_in(60)) {          /* this one does, and the broker thinks it dead */
        w->frozen_until_us = w_now_us + 15000000;
        lose_broker(w);
    }
    if (w_one_in(80) && strcmp(world.control, "cancelled") != 0)
        snprintf(world.control, sizeof world.control, "%s", controls[rand() % 4]);
    if (w_one_in(3000)) snprintf(world.control, sizeof world.control, "cancelled");
    if (w_one_in(200)) put_message(rand() % W_CHUNKS, 1, NULL, 0); /* published twice */
}

static bool quiet(void)
{
    for (int i = 0; i < n_messages; i++)
        if (messages[i].body && !messages[i].dead) return false;
    for (int i = 0; i < WORKERS; i++)
        if (workers[i].alive && workers[i].in_hand) return false;
    return true;
}

static void worker_step(struct worker *w)
{
    if (!w->alive) start_worker(w);
    if (w_now_us < w->frozen_until_us) w_now_us += 500000;
    if (w_now_us < w->frozen_until_us) return;
    for (int i = 0; i < 3; i++) {
        w_now_us += rand() % 100000;
        if (w_one_in(2)) broker_step(w);
        if (w_one_in(2)) sender_step(w);
        if (w_one_in(2)) ledger_step(w);
    }
    broker_step(w);
    if (is_through(&w->l)) kill_worker(w);
}

static void begin_world(unsigned seed)
{
    srand(seed);
    memset(&world, 0, sizeof world);
    memset(accepted, 0, sizeof accepted);
    w_now_us = 1000000000;
    n_messages = 0;
    resend = seed % 2;
    snprintf(world.control, sizeof world.control, "go");
    static char name[] = "relay";
    relay = (struct settings_transport){
        .name = name, .connections = 2, .final_reply_timeout_ms = 60000};
    settings = (struct settings){
        .worker = {.lease_ms = 10000, .drain_ms = seed % 4 < 2 ? 100 : 2000, .prefetch = 3},
        .transports = {.items = &relay, .count = 1}};
    buf_init(&w_content, 10000);
    struct content c = content();
    content_encode(&c, &w_content);
    for (int i = 0; i < W_CHUNKS; i++) {
        snprintf(world.chunks[i].state, sizeof world.chunks[i].state, "planned");
        world.chunks[i].attempt = 1;
        put_message(i, 1, NULL, 0);
    }
}

static void end_world(void)
{
    for (int i = 0; i < WORKERS; i++)
        if (workers[i].alive) kill_worker(&workers[i]);
    for (int i = 0; i < n_messages; i++) free(messages[i].body);
    buf_fini(&w_content);
}

/* The accounts, and what each recipient got. */
static void check_chunk(unsigned seed, int no, int *of)
{
    const struct w_chunk *c = &world.chunks[no];
    int counted[OUTCOME_STATUSES] = {0};
    bool stuck = strcmp(c->state, "stuck") == 0;
    if (!stuck && strcmp(c->state, "done") != 0) fail_msg("seed %u: chunk %s", seed, c->state);
    if (c->token) fail_msg("seed %u: chunk %d is still held", seed, no);
    for (int p = 0; p < W_POSITIONS; p++) {
        enum outcome_status s = c->rows[p].status;
        int got = accepted[no][p];
        counted[s]++;
        of[s]++;
        if (s == OUTCOME_DEFERRED && !stuck) fail_msg("seed %u: %d:%d is lost", seed, no, p);
        if (s == OUTCOME_NONE && !stuck) fail_msg("seed %u: %d:%d has no outcome", seed, no, p);
        bool sound = s == OUTCOME_SENT ? got >= 1
                     : s == OUTCOME_UNKNOWN || (s == OUTCOME_DEFERRED && c->rows[p].maybe)
                         ? true
                         : got == 0;
        if (!sound) fail_msg("seed %u: %d:%d is %d, accepted %d", seed, no, p, s, got);
        if (!resend && got > 1) fail_msg("seed %u: %d:%d got %d copies", seed, no, p, got);
    }
    for (int s = OUTCOME_SENT; s < OUTCOME_STATUSES; s++)
        if (counted[s] != c->counters[s])
            fail_msg("seed %u: chunk %d counts %d of status %d, has %d", seed, no, c->counters[s],
                     s, counted[s]);
}

static int run_worlds(unsigned from, unsigned to, int fault, bool with_trouble, int *of)
{
    int rounds_most = 0;
    w_applied_unseen = w_late = 0;
    lossy = with_trouble;
    for (unsigned seed = from; seed < to; seed++) {
        begin_world(seed);
        for (int round = 0; !quiet(); round++) {
            bool troubled = round < 300;
            w_fault = troubled ? fault : 0;
            for (int i = 0; i < WORKERS; i++) worker_step(&workers[i]);
            if (troubled && with_trouble && workers[round % 2].alive) trouble(&workers[round % 2]);
            if (!troubled && strcmp(world.control, "paused") == 0)
                snprintf(world.control, sizeof world.control, "go");
            if (!troubled) w_now_us += 200000;
            if (round > rounds_most) rounds_most = round;
            if (round > 20000) fail_msg("seed %u: it does not come to an end", seed);
        }
        for (int i = 0; i < W_CHUNKS; i++) check_chunk(seed, i, of);
        end_world();
    }
    return rounds_most;
}

static void without_trouble_everybody_is_answered(void **state)
{
    (void)state;
    int of[OUTCOME_STATUSES] = {0};
    run_worlds(1, 201, 0, false, of);
    assert_int_equal(of[OUTCOME_SENT] + of[OUTCOME_FAILED], 200 * W_CHUNKS * W_POSITIONS);
    assert_true(of[OUTCOME_SENT] > of[OUTCOME_FAILED] && of[OUTCOME_FAILED] > 0);
}

static void a_failing_database_changes_nothing_in_the_accounts(void **state)
{
    (void)state;
    int of[OUTCOME_STATUSES] = {0};
    for (int fault = 5; fault <= 80; fault *= 2) run_worlds(1000, 1100, fault, false, of);
    assert_int_equal(of[OUTCOME_NONE] + of[OUTCOME_DEFERRED] + of[OUTCOME_SKIPPED], 0);
    assert_true(of[OUTCOME_UNKNOWN] < of[OUTCOME_SENT] / 10);
}

static void among_crashes_stops_and_outages_nobody_is_lost_and_hold_sends_no_copy(void **state)
{
    (void)state;
    int of[OUTCOME_STATUSES] = {0};
    const char *worlds = getenv("MAILFLOCK_TEST_WORLDS"); /* for a longer hunt */
    unsigned n = worlds ? (unsigned)strtoul(worlds, NULL, 10) : 500;
    run_worlds(1000000, 1000000 + n, 0, true, of);
    assert_true(w_late > 0); /* C12: unknown became sent */
    run_worlds(2000000, 2000000 + n, 30, true, of);
    for (int s = OUTCOME_SENT; s < OUTCOME_STATUSES; s++)
        if (s != OUTCOME_SUPPRESSED && s != OUTCOME_DEFERRED) assert_true(of[s] > 0);
    assert_true(parkings > 0);
    assert_true(w_applied_unseen > 0); /* commits that were found out about afterwards */
}

/* What is logged meanwhile is an error, as it should be. */
static int hush(void)
{
    int own = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
    return own;
}

static void unhush(int own)
{
    dup2(own, STDERR_FILENO);
    close(own);
}

static bool has_in_hand(const struct worker *w, int chunk)
{
    for (int i = 0; i < w->l.n_jobs; i++) {
        const struct job *job = w->l.jobs[i];
        if ((int)job->message.chunk == chunk && job->token == world.chunks[chunk].token)
            return job->state >= JOB_SENDING && job->state <= JOB_CLOSING;
    }
    return false;
}

/* Whether a message of the chunk could be claimed in place of the worker's. */
static bool is_alone(int chunk)
{
    int n = 0;
    for (int i = 0; i < n_messages; i++) n += messages[i].body && messages[i].chunk == chunk;
    return n == 1;
}

/* The chunk's row and deliveries are those of before, while the worker has it in hand; what it will
 * not be told is published again, as the producer does with what is overdue. */
static bool lose_commits(const struct world *before, int chunk, bool *earlier_attempt)
{
    struct w_chunk *now = &world.chunks[chunk];
    const struct w_chunk *old = &before->chunks[chunk];
    if (old->seq == now->seq || strcmp(old->state, "queued") != 0) return false;
    if (!has_in_hand(&workers[0], chunk) || !is_alone(chunk)) return false;
    *earlier_attempt = old->attempt < now->attempt;
    *now = *old;
    return true;
}

/* A world of one worker that loses commits of a chunk; returns how many chunks lost some. */
static int run_rewound(unsigned seed, int *earlier, int *of)
{
    struct worker *w = &workers[0];
    struct world before = {0};
    bool again[W_CHUNKS] = {0};
    int losses = 0, copied_at = (int)(seed % 13), lost_at = copied_at + 1 + (int)(seed % 29);
    begin_world(seed);
    for (int round = 0; !quiet(); round++) {
        worker_step(w);
        if (seed % 4 < 2 && w->alive && !w->stopping && w_one_in(15)) stop_worker(w);
        if (round == copied_at) before = world;
        for (int c = 0; c < W_CHUNKS && round == lost_at && w->alive; c++) {
            behind[c] = lose_commits(&before, c, &again[c]);
            losses += behind[c];
            *earlier += again[c];
        }
        for (int c = 0; c < W_CHUNKS && !w->alive; c++) { /* it has noticed */
            behind[c] = false;
            if (again[c]) put_message(c, world.chunks[c].attempt, NULL, 0);
            again[c] = false;
        }
        if (round > 200) w_now_us += 200000;
        if (round > 20000) fail_msg("seed %u: it does not come to an end", seed);
    }
    for (int c = 0; c < W_CHUNKS; c++) check_chunk(seed, c, of);
    end_world();
    return losses;
}

/* PROTOCOL C13: the worker that has a chunk tells the ledger what it has lost, and ends; nobody
 * gets a second copy because of it. */
static void a_worker_ends_that_sees_the_ledger_go_back(void **state)
{
    (void)state;
    int of[OUTCOME_STATUSES] = {0}, losses = 0, earlier = 0;
    lossy = false;
    int own = hush();
    for (unsigned seed = 3000000; seed < 3003000; seed++) {
        w_fault = seed % 3 ? 0 : 60;
        losses += run_rewound(seed, &earlier, of);
    }
    unhush(own);
    assert_true(losses > 500 && earlier > 20);
    assert_true(of[OUTCOME_UNKNOWN] > 0);
}

/* A world with one worker, which is hungry enough for both chunks. */
static struct worker *begin_hungry(void)
{
    begin_world(2);
    relay.connections = 16;
    w_fault = 0;
    start_worker(&workers[0]);
    return &workers[0];
}

static void claim_only(struct worker *w)
{
    struct note notes[16];
    size_t n = queue_pop(w->inbox, notes, 16);
    for (size_t i = 0; i < n; i++) on_note(&w->l, &notes[i]);
    claim_received(&w->l);
}

/* PROTOCOL C4: an outcome above the watermark, of an envelope that was refused, takes nothing off
 * what a crash would leave ambiguous. */
static void outcomes_above_the_watermark_make_no_room(void **state)
{
    (void)state;
    struct worker *w = &workers[0];
    struct job *job;
    begin_world(2);
    w_fault = 0;
    start_worker(w);
    broker_step(w);
    for (int i = 0; i < 5; i++) ledger_step(w);
    job = w->l.jobs[0];
    uint32_t granted = job->n_granted, last = job->n_work - 1;
    assert_true(granted > 0 && granted < last);
    struct sim_task task = {.job = job};
    record(w, &task, last, OUTCOME_FAILED);
    for (int i = 0; i < 50 && job->n_committed == 0; i++) {
        w_now_us += 10000;
        ledger_step(w);
    }
    assert_int_equal(job->n_committed, 1);
    assert_int_equal(job->n_granted, granted);
    record(w, &task, 0, OUTCOME_FAILED);
    for (int i = 0; i < 50 && job->n_committed == 1; i++) {
        w_now_us += 10000;
        ledger_step(w);
    }
    assert_int_equal(job->n_granted, granted + 1);
    kill_worker(w);
    end_world();
}

/* PROTOCOL C11, with workers that die right after their claim; of one chunk, the others are done: a
 * worker claims no other while it has a suspect one (consumer/ledger_hunger.c). */
static void claim_five_times(const char *control)
{
    begin_world(2);
    w_fault = 0;
    for (int i = 1; i < W_CHUNKS; i++)
        snprintf(world.chunks[i].state, sizeof world.chunks[i].state, "done");
    for (int claims = 1; claims <= 5; claims++) {
        struct worker *w = &workers[0];
        if (claims == 5) snprintf(world.control, sizeof world.control, "%s", control);
        start_worker(w);
        broker_step(w);
        claim_only(w);
        for (int i = 0; i < 5 && claims == 5; i++) {
            ledger_step(w);
            broker_step(w);
        }
        if (claims < 5) assert_string_equal(world.chunks[0].state, "queued");
        kill_worker(w);
        w_now_us += 11000000;
    }
    assert_true(quiet());
    assert_int_equal(world.chunks[0].token, 0);
}

static int dead_letters(void)
{
    int n = 0;
    for (int i = 0; i < n_messages; i++) n += messages[i].dead;
    return n;
}

static void the_fifth_claim_that_comes_to_nothing_makes_a_chunk_stuck(void **state)
{
    (void)state;
    int own = hush();
    claim_five_times("go");
    unhush(own);
    assert_string_equal(world.chunks[0].state, "stuck");
    assert_int_equal(dead_letters(), 1);
    for (int p = 0; p < W_POSITIONS; p++) assert_int_equal(world.chunks[0].rows[p].status, 0);
    end_world();
}

/* Nothing of it is handed over any more: there is no poison to fear, and everybody to be told. */
static void the_fifth_claim_of_a_cancelled_chunk_skips_it(void **state)
{
    (void)state;
    claim_five_times("cancelled");
    assert_string_equal(world.chunks[0].state, "done");
    assert_int_equal(dead_letters(), 0);
    for (int p = 0; p < W_POSITIONS; p++)
        assert_int_equal(world.chunks[0].rows[p].status, OUTCOME_SKIPPED);
    end_world();
}

/* A sender whose relay answers nothing: it takes what it is told, and gives back when it is to. */
static void silent_sender_step(struct worker *w)
{
    struct note notes[64];
    size_t n = queue_pop(w->to_sender, notes, 64);
    for (size_t i = 0; i < n; i++) sender_note(w, &notes[i]);
    for (int i = w->n_tasks - 1; i >= 0; i--) {
        if (!w->tasks[i].ending) continue;
        queue_push(w->inbox, (struct note){.kind = NOTE_RETURNED, .job = w->tasks[i].job});
        w->tasks[i] = w->tasks[--w->n_tasks];
    }
}

static void assert_untouched(const struct w_chunk *c)
{
    assert_string_equal(c->state, c == &world.chunks[0] ? "queued" : "planned");
    assert_int_equal(c->token, 0);
    assert_int_equal(c->attempt, 1);
    assert_int_equal(c->claims, 0);
    assert_int_equal(c->started, 0);
    for (int p = 0; p < W_POSITIONS; p++) assert_int_equal(c->rows[p].status, OUTCOME_NONE);
}

/* PROTOCOL C8: RabbitMQ would close the channel of who holds a message for 30 minutes. One chunk is
 * being sent, the other was never claimed; neither has used up a claim or an attempt. */
static void chunks_go_back_after_twenty_minutes_in_hand(void **state)
{
    (void)state;
    int of[OUTCOME_STATUSES] = {0};
    struct worker *w = &workers[0];
    begin_world(2);
    w_fault = 0;
    lossy = false;
    start_worker(w);
    broker_step(w);
    int64_t began_us = w_now_us;
    while (w_now_us - began_us < 1190 * 1000000LL) {
        ledger_step(w);
        silent_sender_step(w);
        w_now_us += 1000000;
    }
    assert_true(has_in_hand(w, 0));
    assert_int_equal(world.chunks[0].claims, 1);
    assert_int_equal(w->l.n_jobs, W_CHUNKS);
    assert_int_equal(n_messages, W_CHUNKS);
    while (w_now_us - began_us < 1210 * 1000000LL) {
        ledger_step(w);
        silent_sender_step(w);
        w_now_us += 1000000;
    }
    assert_int_equal(w->l.n_jobs, 0);
    broker_step(w); /* the copies, and only then the acks */
    assert_int_equal(n_messages, 2 * W_CHUNKS);
    for (int i = 0; i < W_CHUNKS; i++) {
        assert_null(messages[i].body);
        assert_untouched(&world.chunks[i]);
    }
    for (int round = 0; !quiet(); round++) {
        worker_step(w);
        if (round > 20000) fail_msg("it does not come to an end");
    }
    for (int i = 0; i < W_CHUNKS; i++) check_chunk(2, i, of);
    assert_int_equal(of[OUTCOME_SENT] + of[OUTCOME_FAILED], W_CHUNKS * W_POSITIONS);
    end_world();
}

/* PROTOCOL C11 (consumer/ledger_hunger.c): should it end this worker too, it takes no other with
 * it. */
static void no_other_chunk_is_claimed_next_to_a_suspect_one(void **state)
{
    (void)state;
    struct worker *w = begin_hungry();
    broker_step(w);
    claim_only(w);
    assert_true(has_in_hand(w, 0) && has_in_hand(w, 1));
    kill_worker(w); /* both claims came to nothing */
    w_now_us += 11000000;
    start_worker(w);
    broker_step(w);
    for (int i = 0; i < 20; i++) ledger_step(w);
    assert_true(has_in_hand(w, 0));
    assert_false(has_in_hand(w, 1));
    assert_int_equal(world.chunks[0].claims, 2);
    assert_int_equal(world.chunks[1].claims, 1);
    struct sim_task task = {.job = w->l.jobs[0]};
    record(w, &task, 0, OUTCOME_FAILED); /* progress: it is innocent */
    for (int i = 0; i < 50 && !has_in_hand(w, 1); i++) {
        w_now_us += 10000;
        ledger_step(w);
    }
    assert_true(has_in_hand(w, 1));
    assert_int_equal(world.chunks[0].claims, 1);
    kill_worker(w);
    end_world();
}

/* As the sender tells it: of the only transport. */
static void transport_becomes(struct worker *w, enum health_state state, int delay_s)
{
    queue_push(
        w->inbox,
        (struct note){.kind = NOTE_TRANSPORT, .value = (uint64_t)state, .arg = (uint64_t)delay_s});
}

static void silent_steps(struct worker *w, int n)
{
    for (int i = 0; i < n; i++) {
        ledger_step(w);
        silent_sender_step(w);
        w_now_us += 10000;
    }
}

/* One worker has both chunks: claimed, as many as its relay has room for. */
static struct worker *both_in_hand(int connections)
{
    struct worker *w = &workers[0];
    begin_world(2);
    relay.connections = connections;
    w_fault = 0;
    start_worker(w);
    broker_step(w);
    silent_steps(w, 20);
    assert_int_equal(w->l.n_jobs, W_CHUNKS);
    return w;
}

/* The second chunk's message is the one that waits now, and nothing has been used up. */
static void assert_given_back(struct worker *w, int delay_s)
{
    assert_int_equal(w->l.n_jobs, 1);
    assert_true(has_in_hand(w, 0));
    w->stopping = true; /* no new deliveries */
    broker_step(w);
    assert_int_equal(n_messages, W_CHUNKS + 1);
    assert_int_equal(messages[W_CHUNKS].chunk, 1);
    assert_in_range(messages[W_CHUNKS].ready_us - w_now_us, delay_s * 1000000LL - 1000000LL,
                    delay_s * 1000000LL);
    assert_int_equal(world.chunks[1].token, 0);
    assert_int_equal(world.chunks[1].claims, 0);
    assert_int_equal(world.chunks[1].attempt, 1);
    kill_worker(w);
    end_world();
}

static void a_transport_that_is_down_keeps_one_chunk_for_a_probe(void **state)
{
    (void)state;
    struct worker *w = both_in_hand(16);
    assert_true(has_in_hand(w, 0) && has_in_hand(w, 1));
    transport_becomes(w, HEALTH_FAILING, 1);
    silent_steps(w, 20);
    assert_int_equal(w->l.n_jobs, W_CHUNKS);
    transport_becomes(w, HEALTH_DOWN, 15);
    silent_steps(w, 20);
    assert_given_back(w, 15);
}

static void chunks_of_a_transport_that_is_down_go_back_unclaimed(void **state)
{
    (void)state;
    struct worker *w = both_in_hand(1);
    assert_true(has_in_hand(w, 0));
    assert_false(has_in_hand(w, 1)); /* there is no room for it yet */
    transport_becomes(w, HEALTH_DOWN, 60);
    silent_steps(w, 20);
    assert_given_back(w, 60);
}

static void of_what_comes_for_a_transport_that_is_down_one_is_claimed(void **state)
{
    (void)state;
    struct worker *w = begin_hungry();
    transport_becomes(w, HEALTH_DOWN, 1);
    ledger_step(w);
    broker_step(w);
    silent_steps(w, 20);
    assert_given_back(w, 1);
}

/* When it is back, what waits in the queue is taken up as ever. */
static void a_transport_that_is_back_takes_all_there_is(void **state)
{
    (void)state;
    struct worker *w = both_in_hand(16);
    transport_becomes(w, HEALTH_DOWN, 1);
    silent_steps(w, 20);
    assert_int_equal(w->l.n_jobs, 1);
    transport_becomes(w, HEALTH_UP, 1);
    broker_step(w);
    w_now_us += 2000000;
    broker_step(w);
    silent_steps(w, 20);
    assert_true(has_in_hand(w, 0) && has_in_hand(w, 1));
    kill_worker(w);
    end_world();
}

/* PROTOCOL C11: it came to nothing because its relay is away, and that ends nobody. */
static void a_suspect_chunk_of_a_failing_transport_holds_up_no_other(void **state)
{
    (void)state;
    struct worker *w = begin_hungry();
    broker_step(w);
    claim_only(w);
    kill_worker(w); /* both claims came to nothing */
    w_now_us += 11000000;
    start_worker(w);
    broker_step(w);
    silent_steps(w, 20);
    assert_true(has_in_hand(w, 0));
    assert_false(has_in_hand(w, 1));
    transport_becomes(w, HEALTH_FAILING, 1);
    silent_steps(w, 20);
    assert_true(has_in_hand(w, 1));
    kill_worker(w);
    end_world();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_trouble_everybody_is_answered),
        cmocka_unit_test(a_failing_database_changes_nothing_in_the_accounts),
        cmocka_unit_test(among_crashes_stops_and_outages_nobody_is_lost_and_hold_sends_no_copy),
        cmocka_unit_test(a_worker_ends_that_sees_the_ledger_go_back),
        cmocka_unit_test(outcomes_above_the_watermark_make_no_room),
        cmocka_unit_test(the_fifth_claim_that_comes_to_nothing_makes_a_chunk_stuck),
        cmocka_unit_test(the_fifth_claim_of_a_cancelled_chunk_skips_it),
        cmocka_unit_test(chunks_go_back_after_twenty_minutes_in_hand),
        cmocka_unit_test(no_other_chunk_is_claimed_next_to_a_suspect_one),
        cmocka_unit_test(a_transport_that_is_down_keeps_one_chunk_for_a_probe),
        cmocka_unit_test(chunks_of_a_transport_that_is_down_go_back_unclaimed),
        cmocka_unit_test(of_what_comes_for_a_transport_that_is_down_one_is_claimed),
        cmocka_unit_test(a_transport_that_is_back_takes_all_there_is),
        cmocka_unit_test(a_suspect_chunk_of_a_failing_transport_holds_up_no_other),
    };
    log_setup(LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
