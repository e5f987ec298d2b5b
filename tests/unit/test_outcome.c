/* The policy: what each reply at each stage means, and what is recorded of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/encode.h"
#include "consumer/outcome.h"

/* One letter for a verdict, and for VERDICT_RECIPIENT the status: failed, deferred, unknown; a
 * capital F suppresses the address too. ok, connection, sender, transport. */
static char judge(enum outcome_stage stage, int code, const char *enhanced, struct outcome *o)
{
    struct reply r = {.code = code, .text = "some text", .text_len = 9};
    snprintf(r.enhanced, sizeof r.enhanced, "%s", enhanced);
    memset(o, 0, sizeof *o);
    o->suppress = true; /* must not be left as it was */
    switch (outcome_judge(stage, &r, o)) {
    case VERDICT_OK:
        return 'o';
    case VERDICT_CONNECTION:
        return 'c';
    case VERDICT_SENDER:
        return 's';
    case VERDICT_TRANSPORT:
        return 't';
    case VERDICT_RECIPIENT:
        return o->status == OUTCOME_FAILED     ? o->suppress ? 'F' : 'f'
               : o->status == OUTCOME_DEFERRED ? 'd'
               : o->status == OUTCOME_UNKNOWN  ? 'u'
                                               : '?';
    }
    return '!';
}

static void replies_are_judged_by_stage_code_and_enhanced_code(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *enhanced;
        const char *want; /* at MAIL, RCPT, DATA and the final dot */
    } rows[] = {
        {200, "", "ooco"},
        {250, "", "ooco"},
        {250, "2.1.5", "ooco"},
        {251, "", "ooco"},
        {252, "", "ooco"},
        {299, "", "ooco"},
        {220, "", "ooco"},
        {300, "", "cccu"},
        {334, "", "cccu"},
        {354, "", "ccou"},
        {399, "", "cccu"},
        {400, "", "sddd"}, /* MAIL never speaks of a recipient: no attempt is used */
        {421, "", "cccd"},
        {421, "4.3.2", "cccd"},
        {450, "", "sddd"},
        {450, "4.1.1", "sddd"},
        {450, "4.1.8", "sddd"},
        {451, "", "tddd"}, /* RFC 5321 4.2.3: the server's */
        {451, "4.3.0", "tddd"},
        {451, "4.1.8", "sddd"},
        {451, "4.4.3", "tddd"},
        {450, "4.7.1", "tddd"},
        {452, "", "tddd"},
        {452, "4.3.1", "tddd"},
        {452, "4.2.2", "sddd"},
        {452, "4.30.1", "sddd"}, /* is not 4.3 */
        {452, "5.3.4", "sddd"},  /* the code counts */
        {454, "", "tddd"},
        {454, "4.7.0", "tddd"},
        {499, "", "sddd"},
        {500, "", "sfff"},
        {501, "5.1.3", "sFff"},
        {501, "5.1.7", "sfff"},
        {503, "5.5.1", "sfff"},
        {521, "", "sfff"},
        {530, "5.7.0", "sfff"},
        {535, "5.7.8", "sfff"},
        {550, "", "sfff"},
        {550, "5.0.0", "sfff"},
        {550, "5.1.0", "sFff"},
        {550, "5.1.1", "sFff"},
        {550, "5.1.2", "sFff"},
        {550, "5.1.6", "sFff"},
        {550, "5.1.7", "sfff"}, /* the sender's address */
        {550, "5.1.8", "sfff"},
        {550, "5.1.10", "sFff"},
        {550, "5.1.70", "sFff"}, /* is not 5.1.7 */
        {550, "5.10.1", "sfff"},
        {550, "5.2.1", "sfff"},
        {550, "5.3.0", "sfff"},
        {550, "5.7.1", "sfff"},
        {551, "5.1.6", "sFff"},
        {552, "", "ffff"}, /* S2: the message */
        {552, "5.2.2", "ffff"},
        {552, "5.3.4", "ffff"},
        {553, "5.1.3", "sFff"},
        {553, "5.7.1", "sfff"},
        {554, "5.3.4", "ffff"},
        {550, "5.6.7", "ffff"},
        {554, "5.6.70", "sfff"},
        {554, "5.7.1", "sfff"},
        {555, "5.5.4", "sfff"},
        {556, "5.1.10", "sFff"},
        {599, "", "sfff"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int stage = STAGE_MAIL; stage <= STAGE_DOT; stage++) {
            struct outcome o;
            char got = judge((enum outcome_stage)stage, rows[i].code, rows[i].enhanced, &o);
            if (got != rows[i].want[stage])
                fail_msg("%d %s at stage %d: got %c, want %c", rows[i].code, rows[i].enhanced,
                         stage, got, rows[i].want[stage]);
            if (!strchr("fFdu", got) && !(got == 'o' && stage == STAGE_DOT)) continue;
            assert_int_equal(o.code, rows[i].code);
            assert_string_equal(o.enhanced, rows[i].enhanced);
            assert_string_equal(o.detail, "some text");
        }
    }
}

static void a_positive_final_reply_is_sent(void **state)
{
    (void)state;
    struct outcome o;
    for (int code = 200; code < 300; code++) {
        assert_int_equal(judge(STAGE_DOT, code, "", &o), 'o');
        assert_int_equal(o.status, OUTCOME_SENT);
        assert_false(o.suppress);
        judge(STAGE_RCPT, code, "", &o); /* and only the final one is */
        assert_int_equal(o.status, OUTCOME_NONE);
    }
}

static void no_code_at_all_is_taken_for_a_yes(void **state)
{
    (void)state;
    struct outcome o;
    for (int code = 0; code < 1000; code++) {
        if (code >= 200 && code < 300) continue;
        for (int stage = STAGE_MAIL; stage <= STAGE_DOT; stage++) {
            char got = judge((enum outcome_stage)stage, code, "", &o);
            if (got == 'o' && !(stage == STAGE_DATA && code == 354))
                fail_msg("%d at stage %d is a yes", code, stage);
            if (o.status == OUTCOME_SENT) fail_msg("%d at stage %d is sent", code, stage);
        }
    }
}

static void a_replys_text_is_kept_as_one_line_of_text(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *want;
    } rows[] = {
        {"plain", "no such user", "no such user"},
        {"quotes and controls", "say \"no\"\x1b[1m\\", "say 'no' [1m "},
        {"Latin-1", "refus\xe9", "refus?"},
        {"Korean", "\xea\xb1\xb0\xeb\xb6\x80", "\xea\xb1\xb0\xeb\xb6\x80"},
        {"nothing", "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome o;
        struct reply r = {550, "", rows[i].input, strlen(rows[i].input)};
        outcome_judge(STAGE_RCPT, &r, &o);
        if (strcmp(o.detail, rows[i].want) != 0) fail_msg("%s: %s", rows[i].name, o.detail);
        outcome_set(&o, OUTCOME_FAILED, rows[i].input);
        assert_string_equal(o.detail, rows[i].want);
        assert_int_equal(o.code, 0);
        assert_string_equal(o.enhanced, "");
    }
}

static void a_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    const struct outcome_rules last = {.attempt = 1000, .max_attempts = 1, .max_age_s = 1};
    for (size_t shift = 0; shift < 4; shift++) {
        char text[400];
        struct outcome o = {0};
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 <= 300; i += 4) memcpy(text + i, "\xf0\x9f\x8e\x88", 4);
        struct reply r = {450, "", text, 300 - (300 - shift) % 4};
        outcome_judge(STAGE_RCPT, &r, &o);
        assert_true(encode_utf8_valid(o.detail, strlen(o.detail)));
        assert_true(strlen(o.detail) > sizeof o.detail - 6);
        outcome_settle(&o, &last); /* puts a text of its own in front */
        assert_int_equal(o.status, OUTCOME_FAILED);
        assert_true(encode_utf8_valid(o.detail, strlen(o.detail)));
        assert_true(strlen(o.detail) > sizeof o.detail - 6);
    }
}

#define RULES(attempt_, max_attempts_, age_, max_age_, resend_)                                    \
    {                                                                                              \
        .attempt = (attempt_), .max_attempts = (max_attempts_), .age_s = (age_),                   \
        .max_age_s = (max_age_), .resend = (resend_)                                               \
    }

static void what_is_recorded_follows_attempts_age_and_doubt(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum outcome_status status;
        bool maybe;
        struct outcome_rules rules;
        enum outcome_status want;
        bool want_maybe;
    } rows[] = {
        {"sent", OUTCOME_SENT, false, RULES(1, 5, 0, 100, false), OUTCOME_SENT, false},
        {"sent on the last attempt", OUTCOME_SENT, false, RULES(5, 5, 999, 100, false),
         OUTCOME_SENT, false},
        {"failed", OUTCOME_FAILED, false, RULES(1, 5, 0, 100, false), OUTCOME_FAILED, false},
        {"deferred", OUTCOME_DEFERRED, false, RULES(1, 5, 0, 100, false), OUTCOME_DEFERRED, false},
        {"deferred, one attempt left", OUTCOME_DEFERRED, false, RULES(4, 5, 0, 100, false),
         OUTCOME_DEFERRED, false},
        {"deferred, none left", OUTCOME_DEFERRED, false, RULES(5, 5, 0, 100, false), OUTCOME_FAILED,
         false},
        {"deferred, past the last", OUTCOME_DEFERRED, false, RULES(9, 5, 0, 100, false),
         OUTCOME_FAILED, false},
        {"deferred, one attempt in all", OUTCOME_DEFERRED, false, RULES(1, 1, 0, 100, false),
         OUTCOME_FAILED, false},
        {"deferred, just young enough", OUTCOME_DEFERRED, false, RULES(1, 5, 100, 100, false),
         OUTCOME_DEFERRED, false},
        {"deferred, the next would be too late", OUTCOME_DEFERRED, false,
         RULES(1, 5, 101, 100, false), OUTCOME_FAILED, false},
        {"unknown has its mark", OUTCOME_UNKNOWN, false, RULES(1, 5, 0, 100, false),
         OUTCOME_UNKNOWN, true},
        {"unknown under resend", OUTCOME_UNKNOWN, false, RULES(1, 5, 0, 100, true), OUTCOME_UNKNOWN,
         true},
        {"C12: maybe and sent", OUTCOME_SENT, true, RULES(2, 5, 0, 100, true), OUTCOME_SENT, true},
        {"C12: maybe and failed", OUTCOME_FAILED, true, RULES(2, 5, 0, 100, true), OUTCOME_UNKNOWN,
         true},
        {"C12: maybe and suppressed", OUTCOME_SUPPRESSED, true, RULES(2, 5, 0, 100, true),
         OUTCOME_UNKNOWN, true},
        {"C12: maybe and skipped", OUTCOME_SKIPPED, true, RULES(2, 5, 0, 100, true),
         OUTCOME_UNKNOWN, true},
        {"C12: maybe and deferred goes on", OUTCOME_DEFERRED, true, RULES(2, 5, 0, 100, true),
         OUTCOME_DEFERRED, true},
        {"C12: maybe and deferred for the last time", OUTCOME_DEFERRED, true,
         RULES(5, 5, 0, 100, true), OUTCOME_UNKNOWN, true},
        {"C12: maybe and too old", OUTCOME_DEFERRED, true, RULES(2, 5, 101, 100, true),
         OUTCOME_UNKNOWN, true},
        {"C8: given back open, hold", OUTCOME_OPEN, false, RULES(1, 5, 0, 100, false),
         OUTCOME_UNKNOWN, true},
        {"C8: given back open, resend", OUTCOME_OPEN, false, RULES(1, 5, 0, 100, true),
         OUTCOME_OPEN, true},
        {"C8: open on the last attempt, resend", OUTCOME_OPEN, false, RULES(5, 5, 999, 100, true),
         OUTCOME_OPEN, true},
        {"suppressed", OUTCOME_SUPPRESSED, false, RULES(1, 5, 0, 100, false), OUTCOME_SUPPRESSED,
         false},
        {"skipped", OUTCOME_SKIPPED, false, RULES(1, 5, 999, 100, false), OUTCOME_SKIPPED, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome o = {.status = (uint8_t)rows[i].status, .maybe = rows[i].maybe};
        outcome_settle(&o, &rows[i].rules);
        if (o.status != rows[i].want || o.maybe != rows[i].want_maybe)
            fail_msg("%s: got status %d, maybe %d", rows[i].name, o.status, o.maybe);
        uint8_t settled = o.status;
        outcome_settle(&o, &rows[i].rules); /* once more changes nothing */
        assert_int_equal(o.status, settled);
    }
}

static void giving_up_says_so_and_keeps_the_reply(void **state)
{
    (void)state;
    struct outcome o = {0};
    struct reply r = {451, "4.7.1", "greylisted", 10};
    const struct outcome_rules rules = RULES(3, 3, 0, 100, false);
    outcome_judge(STAGE_RCPT, &r, &o);
    outcome_settle(&o, &rules);
    assert_int_equal(o.status, OUTCOME_FAILED);
    assert_int_equal(o.code, 451);
    assert_string_equal(o.enhanced, "4.7.1");
    assert_string_equal(o.detail, "gave up after attempt 3: greylisted");
    assert_false(o.suppress); /* the address is not known to be dead */
}

static void names_are_the_ledgers_words(void **state)
{
    (void)state;
    static const char *const names[] = {"",           "sent",    "failed", "deferred",
                                        "suppressed", "skipped", "unknown"};
    for (int s = OUTCOME_NONE; s < OUTCOME_STATUSES; s++) {
        assert_string_equal(outcome_status_name((enum outcome_status)s), names[s]);
        assert_int_equal(outcome_status_parse(names[s]), s);
    }
    assert_string_equal(outcome_status_name(OUTCOME_OPEN), "deferred");
    assert_int_equal(outcome_status_parse("Sent"), OUTCOME_NONE);
    assert_int_equal(outcome_status_parse("sent "), OUTCOME_NONE);
    assert_int_equal(outcome_status_parse("pending"), OUTCOME_NONE);
}

static void a_deferral_says_when_to_come_back(void **state)
{
    (void)state;
    static const char TEXT[] = "try again in 5 minutes";
    static const struct {
        enum outcome_stage stage;
        int code;
        uint32_t want;
    } rows[] = {{STAGE_RCPT, 450, 300}, {STAGE_DOT, 451, 300}, {STAGE_MAIL, 450, 300},
                {STAGE_RCPT, 550, 0},   {STAGE_DOT, 250, 0},   {STAGE_RCPT, 421, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome o = {.retry_after_s = 77};
        struct reply r = {.code = rows[i].code, .text = TEXT, .text_len = sizeof TEXT - 1};
        outcome_judge(rows[i].stage, &r, &o);
        assert_int_equal(o.retry_after_s, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deferral_says_when_to_come_back),
        cmocka_unit_test(replies_are_judged_by_stage_code_and_enhanced_code),
        cmocka_unit_test(a_positive_final_reply_is_sent),
        cmocka_unit_test(no_code_at_all_is_taken_for_a_yes),
        cmocka_unit_test(a_replys_text_is_kept_as_one_line_of_text),
        cmocka_unit_test(a_long_text_is_cut_between_characters),
        cmocka_unit_test(what_is_recorded_follows_attempts_age_and_doubt),
        cmocka_unit_test(giving_up_says_so_and_keeps_the_reply),
        cmocka_unit_test(names_are_the_ledgers_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
