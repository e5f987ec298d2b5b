/* The SMTP dialogue: which command follows which reply, and what becomes of each mail. */
#include "tests/unit/dialogue_fixture.h"

#define UTF8_MAIL "MAIL FROM:<news@m.example> SMTPUTF8\r\n"

static struct smtp_dialogue d;

static int setup(void **state)
{
    (void)state;
    fake_mails(10);
    smtp_dialogue_init(&d, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    smtp_dialogue_close(&d, OUTCOME_UNKNOWN, false, "");
    for (uint32_t i = 0; i < fake.n_mails; i++)
        if (fake.mails[i].held) return -1; /* each mail was told about */
    smtp_dialogue_fini(&d);
    return 0;
}

static void open_with(bool pipelining, int limit)
{
    smtp_dialogue_open(&d, (struct smtp_offers){.pipelining = pipelining}, limit);
    smtp_dialogue_go(&d);
}

/* Replies that must be no trouble, separated by |. */
static void hear_fine(const char *lines)
{
    char copy[1000], *rest = copy, *line;
    snprintf(copy, sizeof copy, "%s", lines);
    while ((line = strsep(&rest, "|"))) assert_int_equal(hear(&d, line), SMTP_FINE);
}

static void expect_done(uint32_t mail, enum outcome_status status)
{
    assert_int_equal(fake.mails[mail].done, 1);
    assert_int_equal(fake.mails[mail].outcome.status, status);
}

static void expect_back(uint32_t mail, int times, int losses)
{
    assert_int_equal(fake.mails[mail].done, 0);
    assert_int_equal(fake.mails[mail].put_back, times);
    assert_int_equal(fake.mails[mail].losses, losses);
}

static void one_write_carries_body_dot_and_the_next_envelope(void **state)
{
    (void)state;
    open_with(true, 0);
    assert_string_equal(said(&d), ENVELOPE(0));
    hear_fine("250 ok|250 ok");
    assert_string_equal(said(&d), "");
    hear_fine("354 go");
    assert_string_equal(said(&d), BODY(0) ENVELOPE(1));
    hear_fine("250 2.0.0 taken");
    assert_string_equal(said(&d), "");
    expect_done(0, OUTCOME_SENT);
    hear_fine("250 ok|250 ok|354 go");
    assert_string_equal(said(&d), BODY(1) ENVELOPE(2));
}

static void a_mail_beyond_ascii_says_so(void **state)
{
    (void)state;
    for (int pipelining = 0; pipelining < 2; pipelining++) {
        fake_mails(2);
        fake.mails[0].utf8 = true;
        smtp_dialogue_open(&d, (struct smtp_offers){pipelining, true}, 0);
        smtp_dialogue_go(&d);
        assert_int_equal(strncmp(said(&d), UTF8_MAIL, sizeof UTF8_MAIL - 1), 0);
        hear_fine("250 ok");
        if (!pipelining) assert_string_equal(said(&d), "RCPT TO:<u0@r.example>\r\n");
        hear_fine("250 ok");
        if (!pipelining) assert_string_equal(said(&d), "DATA\r\n");
        hear_fine("354 go");
        assert_string_equal(said(&d), pipelining ? BODY(0) ENVELOPE(1) : BODY(0));
        hear_fine("250 taken");
        expect_done(0, OUTCOME_SENT);
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, false, "");
    }
}

static void files_follow_the_body_wherever_the_writing_stops(void **state)
{
    (void)state;
    static const char WANT[] = "Subject: 0\r\n\r\nbody 0\r\n--files\r\n.\r\n" ENVELOPE(1);
    for (size_t limit = 0; limit <= sizeof WANT; limit++) {
        char got[200];
        fake_mails(3);
        fake.files = "--files\r\n";
        open_with(true, 0);
        assert_string_equal(said(&d), ENVELOPE(0));
        hear_fine("250 ok|250 ok|354 go");
        snprintf(got, sizeof got, "%s", said_some(&d, limit));
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s", said(&d));
        assert_string_equal(got, WANT);
        hear_fine("250 taken|250 ok|250 ok|354 go");
        assert_string_equal(said(&d), "Subject: 1\r\n\r\nbody 1\r\n--files\r\n.\r\n" ENVELOPE(2));
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, false, "");
    }
}

/* Until the verdict comes, in the middle of the files or behind them; then they may be gone. */
static void a_verdict_before_the_files_are_written_ends_the_connection(void **state)
{
    (void)state;
    static const char BODY_0[] = "Subject: 0\r\n\r\nbody 0\r\n", FILES[] = "--files\r\n";
    size_t body = sizeof BODY_0 - 1, files = sizeof FILES - 1;
    for (size_t limit = 0; limit < body + files + 10; limit++) {
        fake_mails(2);
        fake.files = FILES;
        open_with(true, 0);
        said(&d);
        hear_fine("250 ok|250 ok|354 go");
        said_some(&d, limit);
        assert_int_equal(hear(&d, "552 5.3.4 too big"),
                         limit < body + files ? SMTP_LOST : SMTP_FINE);
        expect_done(0, OUTCOME_FAILED);
        fake.files = NULL; /* nothing may be read from it any more */
        if (limit >= body + files) assert_non_null(strstr(said(&d), "RCPT TO:<u1@r.example>"));
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
        assert_string_equal(said(&d), "");
        assert_int_equal(fake.mails[1].done, 0);
        assert_int_equal(fake.mails[1].losses, 1);
    }
}

static void without_smtputf8_only_mails_beyond_ascii_fail(void **state)
{
    (void)state;
    fake.mails[0].utf8 = fake.mails[1].utf8 = fake.mails[3].utf8 = true;
    open_with(true, 2); /* the failed ones do not count as this connection's */
    assert_string_equal(said(&d), ENVELOPE(2));
    expect_done(0, OUTCOME_FAILED);
    expect_done(1, OUTCOME_FAILED);
    assert_non_null(strstr(fake.mails[0].outcome.detail, "SMTPUTF8"));
    hear_fine("250 ok|250 ok|354 go");
    assert_string_equal(said(&d), BODY(2) ENVELOPE(4));
    expect_done(3, OUTCOME_FAILED);
    hear_fine("250 taken|250 ok|250 ok|354 go");
    expect_done(2, OUTCOME_SENT);
    assert_string_equal(said(&d), BODY(4));
}

static void a_connection_is_idle_when_all_mails_are_beyond_it(void **state)
{
    (void)state;
    fake_mails(3);
    for (int i = 0; i < 3; i++) fake.mails[i].utf8 = true;
    open_with(true, 0);
    for (uint32_t i = 0; i < 3; i++) expect_done(i, OUTCOME_FAILED);
    assert_string_equal(said(&d), "");
    assert_true(smtp_dialogue_idle(&d));
}

static void the_last_mail_leaves_the_connection_idle(void **state)
{
    (void)state;
    fake_mails(1);
    open_with(true, 0);
    assert_string_equal(said(&d), ENVELOPE(0));
    hear_fine("250 ok|250 ok|354 go");
    assert_string_equal(said(&d), BODY(0));
    assert_false(smtp_dialogue_idle(&d));
    assert_int_equal(smtp_dialogue_expects(&d), EXPECT_DOT);
    hear_fine("250 taken");
    assert_true(smtp_dialogue_idle(&d));
    assert_int_equal(smtp_dialogue_expects(&d), -1);
    fake.n_mails = 2; /* more work, and a wake */
    smtp_dialogue_go(&d);
    assert_string_equal(said(&d), ENVELOPE(1));
}

static void a_mail_that_comes_while_the_final_reply_is_awaited_goes_behind_the_dot(void **state)
{
    (void)state;
    fake_mails(1);
    open_with(true, 0);
    hear_fine("250 ok|250 ok|354 go");
    assert_string_equal(said(&d), ENVELOPE(0) BODY(0));
    fake.n_mails = 3;
    smtp_dialogue_go(&d);
    assert_string_equal(said(&d), ENVELOPE(1));
    smtp_dialogue_go(&d);
    assert_string_equal(said(&d), ""); /* and one only */
}

static void without_pipelining_each_command_waits_for_the_reply_before(void **state)
{
    (void)state;
    static const struct {
        const char *reply, *said;
    } rows[] = {
        {"250 ok", "RCPT TO:<u0@r.example>\r\n"},
        {"250 ok", "DATA\r\n"},
        {"354 go", BODY(0)},
        {"250 taken", "MAIL FROM:<news@m.example>\r\n"},
        {"451 4.3.0 later", "MAIL FROM:<news@m.example>\r\n"}, /* no transaction: no RSET */
        {"250 ok", "RCPT TO:<u2@r.example>\r\n"},
        {"550 5.1.1 nobody", "RSET\r\n"},
        {"250 ok", "MAIL FROM:<news@m.example>\r\n"},
        {"250 ok", "RCPT TO:<u3@r.example>\r\n"},
        {"250 ok", "DATA\r\n"},
        {"451 4.3.0 later", "RSET\r\n"},
        {"250 ok", "MAIL FROM:<news@m.example>\r\n"},
        {"250 ok", "RCPT TO:<u4@r.example>\r\n"},
    };
    open_with(false, 0);
    assert_string_equal(said(&d), "MAIL FROM:<news@m.example>\r\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hear_fine(rows[i].reply);
        const char *got = said(&d);
        if (strcmp(got, rows[i].said) != 0) fail_msg("row %zu: said %s", i, got);
    }
    expect_done(0, OUTCOME_SENT);
    expect_done(1, OUTCOME_DEFERRED);
    expect_done(2, OUTCOME_FAILED);
    expect_done(3, OUTCOME_DEFERRED);
}

static void a_refused_rcpt_costs_an_rset_and_never_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *rcpt, *data;
        enum outcome_status want;
    } rows[] = {
        {"550 5.1.1 nobody", "503 5.5.1 no recipients", OUTCOME_FAILED},
        {"550 5.1.1 nobody", "554 5.5.1 no recipients", OUTCOME_FAILED},
        {"450 4.2.0 greylisted", "503 no", OUTCOME_DEFERRED},
        {"452 4.2.2 full", "451 no", OUTCOME_DEFERRED},
        {"552 5.2.2 full", "503 no", OUTCOME_FAILED},
    };
    uint32_t n = sizeof rows / sizeof *rows;
    open_with(true, 0);
    for (uint32_t i = 0; i < n; i++) {
        char want[200];
        snprintf(want, sizeof want,
                 "%sMAIL FROM:<news@m.example>\r\nRCPT TO:<u%u@r.example>\r\nDATA\r\n",
                 i ? "RSET\r\n" : "", i);
        assert_string_equal(said(&d), want); /* RSET and the next envelope in one write */
        if (i) hear_fine("250 flushed");
        hear_fine("250 ok");
        hear_fine(rows[i].rcpt);
        hear_fine(rows[i].data);
        expect_done(i, rows[i].want);
        assert_int_equal(fake.mails[i].outcome.code, strtol(rows[i].rcpt, NULL, 10));
    }
    hear_fine("250 flushed|250 ok|250 ok|354 go|250 taken");
    expect_done(n, OUTCOME_SENT);
}

static void a_refused_rcpt_whose_data_is_answered_354_gets_a_lone_dot(void **state)
{
    (void)state;
    static const char *const verdicts[] = {"250 2.0.0 taken", "554 5.5.1 no recipients",
                                           "451 4.3.0 later", "354 what?"};
    open_with(true, 0);
    said(&d);
    for (uint32_t i = 0; i < 4; i++) {
        hear_fine("250 ok|550 5.1.1 nobody|354 go");
        assert_string_equal(said(&d), ".\r\n");
        assert_int_equal(fake.mails[i].done, 0);
        hear_fine(verdicts[i]); /* whatever it is: RFC 2920 section 3.1 */
        expect_done(i, OUTCOME_FAILED);
        assert_int_equal(fake.mails[i].outcome.code, 550);
        assert_string_equal(fake.mails[i].outcome.enhanced, "5.1.1");
        assert_null(strstr(said(&d), "RSET"));
    }
}

static void a_mail_that_data_refuses_is_reset(void **state)
{
    (void)state;
    open_with(true, 0);
    said(&d);
    hear_fine("250 ok|250 ok|554 5.7.1 no content from you");
    assert_string_equal(said(&d), "RSET\r\n" ENVELOPE(1));
    expect_done(0, OUTCOME_FAILED);
}

static void what_mail_answers_is_the_recipients_or_the_transports(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        enum smtp_trouble trouble;
        enum outcome_status status; /* NONE: put back */
    } rows[] = {
        {"550 5.7.1 sender refused", SMTP_TRANSPORT, OUTCOME_NONE},
        {"530 5.7.0 authentication required", SMTP_TRANSPORT, OUTCOME_NONE},
        {"554 no", SMTP_TRANSPORT, OUTCOME_NONE},
        {"552 5.3.4 too large", SMTP_FINE, OUTCOME_FAILED},
        {"552 too large", SMTP_FINE, OUTCOME_FAILED},
        {"554 5.3.4 too large", SMTP_FINE, OUTCOME_FAILED},
        {"550 5.6.7 not ASCII", SMTP_FINE, OUTCOME_FAILED},
        {"451 4.3.0 later", SMTP_FINE, OUTCOME_DEFERRED},
        {"452 4.3.1 disk full", SMTP_FINE, OUTCOME_DEFERRED},
        {"421 4.3.2 going down", SMTP_LOST, OUTCOME_NONE},
        {"354 what?", SMTP_LOST, OUTCOME_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int pipelining = 0; pipelining < 2; pipelining++) {
            fake_mails(2);
            open_with(pipelining, 0);
            enum smtp_trouble trouble = hear(&d, rows[i].reply);
            if (trouble != rows[i].trouble) fail_msg("%s: trouble %d", rows[i].reply, trouble);
            if (pipelining && !trouble) hear_fine("503 no|503 no");
            if (rows[i].status) expect_done(0, rows[i].status);
            if (!trouble) assert_null(strstr(said(&d), "RSET")); /* there is no transaction */
            smtp_dialogue_close(&d, OUTCOME_UNKNOWN, trouble == SMTP_LOST, "lost");
            if (!rows[i].status) expect_back(0, 1, trouble == SMTP_LOST);
        }
    }
}

static void what_the_final_dot_answers_is_the_outcome(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        enum smtp_trouble trouble;
        enum outcome_status status;
    } rows[] = {
        {"250 2.0.0 taken", SMTP_FINE, OUTCOME_SENT},
        {"251 taken", SMTP_FINE, OUTCOME_SENT},
        {"450 4.7.1 later", SMTP_FINE, OUTCOME_DEFERRED},
        {"554 5.7.1 spam", SMTP_FINE, OUTCOME_FAILED},
        {"552 5.3.4 too large", SMTP_FINE, OUTCOME_FAILED},
        {"421 4.3.2 going down", SMTP_LOST, OUTCOME_DEFERRED},
        {"354 what?", SMTP_LOST, OUTCOME_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fake_mails(2);
        open_with(true, 0);
        hear_fine("250 ok|250 ok|354 go");
        enum smtp_trouble trouble = hear(&d, rows[i].reply);
        if (trouble != rows[i].trouble) fail_msg("%s: trouble %d", rows[i].reply, trouble);
        expect_done(0, rows[i].status);
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, trouble == SMTP_LOST, "lost");
        expect_back(1, 1, trouble == SMTP_LOST);
    }
}

static void a_421_ends_the_connection_wherever_it_comes(void **state)
{
    (void)state;
    static const char *const before[] = {"250 ok", "250 ok|250 ok"};
    for (int i = 0; i < 2; i++) {
        fake_mails(1);
        open_with(true, 0);
        hear_fine(before[i]);
        assert_int_equal(hear(&d, "421 4.3.2 going down"), SMTP_LOST);
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
        expect_back(0, 1, 1);
    }
    fake_mails(0);
    open_with(true, 0);
    assert_true(smtp_dialogue_idle(&d));
    assert_int_equal(hear(&d, "421 4.4.2 idle too long"), SMTP_LOST);
}

static void an_rset_that_fails_ends_the_connection(void **state)
{
    (void)state;
    open_with(true, 0);
    hear_fine("250 ok|550 5.1.1 nobody|503 no");
    assert_int_equal(hear(&d, "500 what is RSET?"), SMTP_LOST);
    smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
    expect_done(0, OUTCOME_FAILED);
    expect_back(1, 1, 1);
}

static void a_mail_past_the_watermark_waits_for_it(void **state)
{
    (void)state;
    for (int pipelining = 0; pipelining < 2; pipelining++) {
        fake_mails(2);
        fake.tasks[0].started = 0;
        open_with(pipelining, 0);
        hear_fine("250 ok|250 ok");
        assert_false(smtp_dialogue_waits(&d));
        said(&d);
        hear_fine("354 go");
        assert_true(smtp_dialogue_waits(&d));
        smtp_dialogue_go(&d);
        assert_string_equal(said(&d), "");
        assert_int_equal(smtp_dialogue_expects(&d), -1);
        assert_false(smtp_dialogue_idle(&d));
        assert_false(smtp_dialogue_pointless(&d));
        fake.tasks[0].started = 1;
        smtp_dialogue_go(&d);
        assert_false(smtp_dialogue_waits(&d));
        assert_string_equal(said(&d), pipelining ? BODY(0) ENVELOPE(1) : BODY(0));
        hear_fine("250 taken|250 ok|250 ok|354 go");
        assert_true(smtp_dialogue_waits(&d));
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, false, "");
        expect_done(0, OUTCOME_SENT);
        expect_back(1, 1, 0);
    }
}

static void a_connection_takes_no_more_mails_than_its_limit(void **state)
{
    (void)state;
    for (int limit = 1; limit <= 3; limit++) {
        fake_mails(10);
        open_with(true, limit);
        for (int i = 0; i < limit; i++) hear_fine("250 ok|250 ok|354 go|250 taken");
        assert_true(smtp_dialogue_idle(&d));
        assert_int_equal(d.taken, limit);
        smtp_dialogue_go(&d);
        assert_int_equal(fake.next, limit);
        said(&d);
        smtp_dialogue_quit(&d);
        assert_string_equal(said(&d), "QUIT\r\n");
        assert_int_equal(smtp_dialogue_expects(&d), EXPECT_QUIT);
        smtp_dialogue_go(&d);
        assert_string_equal(said(&d), "");
        assert_int_equal(hear(&d, "221 bye"), SMTP_LOST);
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "");
        assert_int_equal(fake.next, limit);
    }
}

static void a_connection_can_be_opened_again(void **state)
{
    (void)state;
    open_with(true, 1);
    hear_fine("250 ok|250 ok");
    smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
    open_with(true, 1);
    assert_string_equal(said(&d), ENVELOPE(0)); /* nothing is left over */
    hear_fine("250 ok|250 ok|354 go|250 taken");
    expect_done(0, OUTCOME_SENT);
    assert_int_equal(fake.mails[0].losses, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_write_carries_body_dot_and_the_next_envelope),
        TEST(a_mail_beyond_ascii_says_so),
        TEST(files_follow_the_body_wherever_the_writing_stops),
        TEST(a_verdict_before_the_files_are_written_ends_the_connection),
        TEST(without_smtputf8_only_mails_beyond_ascii_fail),
        TEST(a_connection_is_idle_when_all_mails_are_beyond_it),
        TEST(the_last_mail_leaves_the_connection_idle),
        TEST(a_mail_that_comes_while_the_final_reply_is_awaited_goes_behind_the_dot),
        TEST(without_pipelining_each_command_waits_for_the_reply_before),
        TEST(a_refused_rcpt_costs_an_rset_and_never_the_connection),
        TEST(a_refused_rcpt_whose_data_is_answered_354_gets_a_lone_dot),
        TEST(a_mail_that_data_refuses_is_reset),
        TEST(what_mail_answers_is_the_recipients_or_the_transports),
        TEST(what_the_final_dot_answers_is_the_outcome),
        TEST(a_421_ends_the_connection_wherever_it_comes),
        TEST(an_rset_that_fails_ends_the_connection),
        TEST(a_mail_past_the_watermark_waits_for_it),
        TEST(a_connection_takes_no_more_mails_than_its_limit),
        TEST(a_connection_can_be_opened_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
