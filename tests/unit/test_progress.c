/* What the console says of a run's numbers: state, percent, speed, time left, and their forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/chunk.h"
#include "console/progress.h"
#include "console/report.h"

/* A run of 100 with so many sent and deferred, in 10 chunks that are queued. */
static struct tally run_of(int64_t sent, int64_t deferred, bool publishing)
{
    struct tally run = {.id = 12, .recipients = 100, .publishing = publishing};
    memcpy(run.campaign, "welcome", 8);
    memcpy(run.scheduled_at, "2026-01-02T03:04:05Z", 21);
    run.counts[TALLY_SENT] = sent;
    run.counts[TALLY_DEFERRED] = deferred;
    run.chunks[TALLY_QUEUED] = 10;
    return run;
}

static void a_word_says_where_a_run_stands(void **state)
{
    (void)state;
    static const struct {
        const char *name, *want;
        int64_t sent, deferred;
        bool publishing;
        enum tally_control control;
        int64_t stuck, queued;
        bool over;
    } rows[] = {
        {"nothing sent yet", "publishing", 0, 0, true, TALLY_GO, 0, 10, false},
        {"all that is published is sent", "publishing", 100, 0, true, TALLY_GO, 0, 10, false},
        {"under way", "sending", 50, 10, false, TALLY_GO, 0, 10, false},
        {"deferred ones are not final", "sending", 90, 10, false, TALLY_GO, 0, 10, false},
        {"all final", "complete", 100, 0, false, TALLY_GO, 0, 10, true},
        {"all final in a stuck chunk", "complete", 100, 0, false, TALLY_GO, 1, 0, true},
        {"paused", "paused", 50, 0, false, TALLY_PAUSED, 0, 10, false},
        {"paused after the end", "complete", 100, 0, false, TALLY_PAUSED, 0, 10, true},
        {"cancelled", "cancelled", 50, 0, false, TALLY_CANCELLED, 0, 10, true},
        {"only stuck chunks are left", "stuck", 90, 0, false, TALLY_GO, 1, 0, true},
        {"others go on", "sending", 80, 0, false, TALLY_GO, 1, 1, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tally run = run_of(rows[i].sent, rows[i].deferred, rows[i].publishing);
        run.control = rows[i].control;
        run.chunks[TALLY_STUCK] = rows[i].stuck;
        run.chunks[TALLY_QUEUED] = rows[i].queued;
        if (strcmp(progress_word(&run), rows[i].want) != 0)
            fail_msg("%s: got %s", rows[i].name, progress_word(&run));
        if (progress_over(&run) != rows[i].over) fail_msg("%s: over", rows[i].name);
    }
}

static void a_missed_run_is_over_and_never_complete(void **state)
{
    (void)state;
    struct tally run = {.id = 3, .missed = true};
    struct tally_detail detail = {0};
    struct buf text;
    assert_string_equal(progress_word(&run), "missed");
    assert_true(progress_over(&run));
    assert_false(progress_complete(&run));
    assert_true(progress_percent(&run) == 0.0);
    buf_init(&text, REPORT_MAX);
    report_json_run(&run, &detail, -1, &text);
    assert_non_null(strstr(buf_text(&text), "\"state\":\"missed\",\"publishing\":\"missed\""));
    buf_fini(&text);
}

static void a_cancelled_run_is_not_over_while_workers_have_something_to_skip(void **state)
{
    (void)state;
    struct tally run = run_of(50, 0, false);
    run.control = TALLY_CANCELLED;
    run.leased = 1;
    assert_false(progress_over(&run));
    run.leased = 0;
    run.waiting = 1;
    assert_false(progress_over(&run));
    run.waiting = 0;
    assert_true(progress_over(&run));
}

static void percent_is_100_only_when_all_are_final(void **state)
{
    (void)state;
    struct tally run = run_of(50, 10, false);
    assert_true(progress_percent(&run) > 49.99 && progress_percent(&run) < 50.01);
    run.recipients = 1000000;
    run.counts[TALLY_SENT] = 999990;
    assert_true(progress_percent(&run) < 99.95);
    run.counts[TALLY_SENT] = 1000000 - 10;
    run.counts[TALLY_DEFERRED] = 0;
    run.counts[TALLY_FAILED] = 10;
    assert_true(progress_percent(&run) >= 100.0);
    run = (struct tally){.publishing = true};
    assert_true(progress_percent(&run) <= 0.0);
    run.publishing = false;
    assert_true(progress_percent(&run) >= 100.0);
}

static void speed_is_of_the_last_ten_seconds(void **state)
{
    (void)state;
    struct progress_speed speed = {0};
    assert_true(progress_speed_per_s(&speed) < 0);
    progress_speed_add(&speed, 0, 0);
    assert_true(progress_speed_per_s(&speed) < 0);
    progress_speed_add(&speed, 1000000, 500);
    assert_true(progress_speed_per_s(&speed) > 499 && progress_speed_per_s(&speed) < 501);
    for (int second = 2; second <= 40; second++)
        progress_speed_add(&speed, second * 1000000LL, 500 + (second - 1) * 100LL);
    assert_true(progress_speed_per_s(&speed) > 99 && progress_speed_per_s(&speed) < 101);
}

static void recent_speed_of_a_young_run_is_over_its_age(void **state)
{
    (void)state;
    struct tally_detail d = {.last_10s = 100, .since_us = 2000000};
    assert_true(progress_recent_per_s(&d) < 0);
    d.has_accepted = true;
    d.accepted = 100;
    assert_true(progress_recent_per_s(&d) > 49 && progress_recent_per_s(&d) < 51);
    d.since_us = 3600 * 1000000LL;
    assert_true(progress_recent_per_s(&d) > 9 && progress_recent_per_s(&d) < 11);
}

static void time_left_is_said_only_when_it_can_be_known(void **state)
{
    (void)state;
    struct tally run = run_of(50, 0, false);
    assert_int_equal(progress_eta_s(&run, 10), 5);
    assert_int_equal(progress_eta_s(&run, 0), -1);
    assert_int_equal(progress_eta_s(&run, -1), -1);
    run.publishing = true;
    assert_int_equal(progress_eta_s(&run, 10), -1);
    run.publishing = false;
    run.control = TALLY_PAUSED;
    assert_int_equal(progress_eta_s(&run, 10), -1);
}

static void numbers_and_durations_read_well(void **state)
{
    (void)state;
    static const struct {
        int64_t number;
        const char *want;
    } numbers[] = {{0, "0"},          {999, "999"},  {1000, "1,000"}, {1234567, "1,234,567"},
                   {-1000, "-1,000"}, {-100, "-100"}};
    static const struct {
        int64_t seconds;
        const char *want;
    } durations[] = {{0, "0s"}, {59, "59s"}, {187, "3m 07s"}, {7500, "2h 05m"}};
    struct buf text;
    buf_init(&text, 1000);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        buf_reset(&text);
        progress_number(&text, numbers[i].number);
        assert_string_equal(buf_text(&text), numbers[i].want);
    }
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        buf_reset(&text);
        progress_duration(&text, durations[i].seconds);
        assert_string_equal(buf_text(&text), durations[i].want);
    }
    buf_fini(&text);
}

static void the_bar_fits_its_terminal(void **state)
{
    (void)state;
    struct tally run = run_of(50, 10, false);
    struct buf text;
    buf_init(&text, 1000);
    report_bar(&run, 10, 200, &text);
    assert_string_equal(buf_text(&text), "welcome #12 [###############---------------]  50.0%  "
                                         "50/100  10/s  left 5s  10 deferred  sending");
    buf_reset(&text);
    report_bar(&run, 10, 40, &text);
    assert_int_equal(text.len, 39);
    buf_fini(&text);
}

static void the_line_holds_every_counter(void **state)
{
    (void)state;
    struct tally run = run_of(50, 10, false);
    struct buf text;
    buf_init(&text, 1000);
    report_line(&run, 10, &text);
    assert_string_equal(buf_text(&text),
                        "run=12 state=sending recipients=100 sent=50 failed=0 deferred=10 "
                        "suppressed=0 skipped=0 unknown=0 pending=40 percent=50.0 rate=10 "
                        "eta_s=5\n");
    buf_fini(&text);
}

static void json_is_json_whatever_the_owner_is_called(void **state)
{
    (void)state;
    struct tally run = run_of(50, 10, false);
    struct tally_detail detail = {.n_holders = 2, .has_oldest = true};
    struct buf text;
    buf_init(&text, REPORT_MAX);
    memcpy(detail.holders[0].owner, "a \"b\" \\ \n", 10);
    memcpy(detail.holders[1].owner, "\xff\xfe", 3);
    report_json_run(&run, &detail, -1, &text);
    assert_true(chunk_json_valid(text.data, text.len));
    assert_non_null(strstr(buf_text(&text), "\"owner\":null"));
    assert_non_null(strstr(buf_text(&text), "\"rate\":null"));
    assert_non_null(strstr(buf_text(&text), "\"pending\":40,"));
    buf_reset(&text);
    report_json_list(&run, 1, &text);
    assert_true(chunk_json_valid(text.data, text.len));
    buf_fini(&text);
}

static void detail_names_holders_and_the_oldest_open_chunk(void **state)
{
    (void)state;
    struct tally run = run_of(50, 10, false);
    struct tally_detail detail = {.n_holders = 1, .has_oldest = true};
    struct buf text;
    buf_init(&text, REPORT_MAX);
    memcpy(detail.holders[0].owner, "w1\x1b[2J", 7);
    detail.holders[0].chunks = 2;
    detail.holders[0].lease_left_us = -1500000;
    detail.oldest.chunk = 3;
    memcpy(detail.oldest.state, "queued", 7);
    report_detail(&run, &detail, &text);
    assert_non_null(
        strstr(buf_text(&text), "holder        w1?[2J: 2 chunks, lease passed 1.5 s ago"));
    assert_non_null(strstr(buf_text(&text), "chunk 3, queued"));
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_says_where_a_run_stands),
        cmocka_unit_test(a_missed_run_is_over_and_never_complete),
        cmocka_unit_test(a_cancelled_run_is_not_over_while_workers_have_something_to_skip),
        cmocka_unit_test(percent_is_100_only_when_all_are_final),
        cmocka_unit_test(speed_is_of_the_last_ten_seconds),
        cmocka_unit_test(recent_speed_of_a_young_run_is_over_its_age),
        cmocka_unit_test(time_left_is_said_only_when_it_can_be_known),
        cmocka_unit_test(numbers_and_durations_read_well),
        cmocka_unit_test(the_bar_fits_its_terminal),
        cmocka_unit_test(the_line_holds_every_counter),
        cmocka_unit_test(json_is_json_whatever_the_owner_is_called),
        cmocka_unit_test(detail_names_holders_and_the_oldest_open_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
