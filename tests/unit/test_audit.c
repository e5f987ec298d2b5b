/* The rules of the audit: a good chunk breaks none, and each kind of damage breaks its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "console/audit.h"

struct sample {
    struct audit_chunk chunk;
    struct audit_rows rows;
};

/* Half sent, half still to do, in a worker's hands. */
static struct sample live_sample(void)
{
    struct sample s = {
        .chunk = {.run = 1,
                  .chunk_no = 7,
                  .state = TALLY_QUEUED,
                  .has_token = true,
                  .has_lease = true,
                  .has_digest = true,
                  .recipients = 10,
                  .attempt = 1,
                  .seq = 3,
                  .started = 8,
                  .counts = {5}},
        .rows = {.counts = {5}, .total = 5, .max_position = 6, .max_attempt = 1},
    };
    return s;
}

static void sell_out(struct sample *s) /* done: all sent */
{
    s->chunk.state = TALLY_DONE;
    s->chunk.has_token = s->chunk.has_lease = false;
    s->chunk.counts[TALLY_SENT] = s->rows.counts[TALLY_SENT] = s->rows.total = 10;
    s->rows.max_position = 9;
}

static void good_chunks_break_no_rule(void **state)
{
    (void)state;
    struct audit a = {0};
    struct sample s = live_sample();
    audit_check_chunk(&a, &s.chunk, &s.rows);
    sell_out(&s);
    audit_check_chunk(&a, &s.chunk, &s.rows);
    static const struct audit_rows none;
    struct audit_chunk planned = {.state = TALLY_PLANNED, .publishing = true, .recipients = 10};
    audit_check_chunk(&a, &planned, &none);
    assert_int_equal(a.breaches, 0);
    assert_int_equal(a.chunks, 3);
    assert_int_equal(a.recipients, 30);
    assert_int_equal(a.deliveries, 15);
}

static void damage_pending(struct sample *s)
{
    s->chunk.recipients = 4;
    s->chunk.started = 4;
    s->rows.max_position = 3;
}
static void damage_counter(struct sample *s)
{
    s->rows.counts[TALLY_SENT] = 4;
}
static void damage_unknown(struct sample *s)
{
    s->rows.counts[TALLY_UNKNOWN] = 1;
}
static void damage_position(struct sample *s)
{
    s->rows.max_position = 10;
}
static void damage_attempt(struct sample *s)
{
    s->rows.max_attempt = 2;
}
static void damage_done(struct sample *s)
{
    s->chunk.state = TALLY_DONE;
    s->chunk.has_token = s->chunk.has_lease = false;
}
static void damage_maybe(struct sample *s)
{
    s->rows.maybe_ended = 1;
}
static void damage_lease(struct sample *s)
{
    s->chunk.has_lease = false;
}
static void damage_token(struct sample *s)
{
    sell_out(s);
    s->chunk.has_token = s->chunk.has_lease = true;
}
static void damage_started(struct sample *s)
{
    s->chunk.started = 11;
}
static void damage_seq(struct sample *s)
{
    s->chunk.seq = 0;
}
static void damage_digest(struct sample *s)
{
    s->chunk.has_digest = false;
}
static void damage_planned(struct sample *s)
{
    s->chunk.state = TALLY_PLANNED;
}

static void each_damage_breaks_its_own_rule(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *expected, *found;
        void (*damage)(struct sample *s);
    } rows[] = {
        {"pending", ">=0", "-1", damage_pending},
        {"count-sent", "4", "5", damage_counter},
        {"count-unknown", "1", "0", damage_unknown},
        {"position", "<10", "10", damage_position},
        {"attempt", "<=1", "2", damage_attempt},
        {"done-open", "0", "5", damage_done},
        {"maybe", "0", "1", damage_maybe},
        {"lease", "token-and-lease-or-neither", "token-only", damage_lease},
        {"over-token", "no-token", "done-with-token", damage_token},
        {"started", "<=10", "11", damage_started},
        {"commit", "seq>0", "seq=0", damage_seq},
        {"commit", "digest", "no-digest", damage_digest},
        {"planned", "published", "planned", damage_planned},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct audit a = {0};
        struct sample s = live_sample();
        rows[i].damage(&s);
        audit_check_chunk(&a, &s.chunk, &s.rows);
        if (a.breaches != 1)
            fail_msg("%s: %d breaches, the first %s", rows[i].rule, (int)a.breaches,
                     a.breaches ? a.shown[0].rule : "-");
        assert_string_equal(a.shown[0].rule, rows[i].rule);
        assert_string_equal(a.shown[0].expected, rows[i].expected);
        assert_string_equal(a.shown[0].found, rows[i].found);
        assert_int_equal(a.shown[0].chunk_no, 7);
    }
}

static void runs_have_rules_of_their_own(void **state)
{
    (void)state;
    struct audit a = {0};
    audit_check_dense(&a, 1, 3, 3);
    audit_check_run(&a, 1, false, true, 0);
    audit_check_run(&a, 1, true, false, 5);
    assert_int_equal(a.breaches, 0);
    audit_check_dense(&a, 1, 3, 4);
    audit_check_run(&a, 1, false, true, 5);
    audit_check_run(&a, 1, true, true, 0);
    audit_orphans(&a, 1, 9, "no-chunk", 2);
    assert_int_equal(a.breaches, 4);
}

static void the_report_is_bounded_and_ends_with_the_sum(void **state)
{
    (void)state;
    struct audit a = {.runs = 1};
    struct buf text;
    buf_init(&text, 64 * 1024);
    audit_report(&a, &text);
    assert_string_equal(
        buf_text(&text),
        "audit: runs=1 chunks=0 recipients=0 deliveries=0 breaches=0 balanced=yes\n");
    for (int i = 0; i < AUDIT_SHOWN + 3; i++) {
        struct sample s = live_sample();
        damage_seq(&s);
        audit_check_chunk(&a, &s.chunk, &s.rows);
    }
    buf_reset(&text);
    audit_report(&a, &text);
    assert_non_null(
        strstr(buf_text(&text), "breach: run=1 chunk=7 rule=commit expected=seq>0 found=seq=0\n"));
    assert_non_null(strstr(buf_text(&text), "\n... and 3 more\naudit: runs=1 chunks=53 "
                                            "recipients=530 deliveries=265 breaches=53 "
                                            "balanced=no\n"));
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_chunks_break_no_rule),
        cmocka_unit_test(each_damage_breaks_its_own_rule),
        cmocka_unit_test(runs_have_rules_of_their_own),
        cmocka_unit_test(the_report_is_bounded_and_ends_with_the_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
