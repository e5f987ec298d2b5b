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
        smtp_dialogue_open(&d, (struct smtp_offers){.pipelining = pipelining, .smtputf8 = true}, 0);
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

/* One reply too early, after limit bytes of the content; with files they are a part of it. */
static enum smtp_trouble reply_within_content(const char *files, size_t limit, const char *reply)
{
    fake_mails(3);
    fake.files = files;
    open_with(true, 0);
    hear_fine("250 ok|250 ok|354 go");
    write_some(&d, limit);
    return hear_early(&d, reply);
}

/* PROTOCOL S5. The dot of mail 0 is the last byte of its content; behind it comes an envelope. */
static void a_verdict_before_the_final_dot_has_left_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        enum outcome_status want; /* NONE: put back */
        int losses;
    } rows[] = {
        {"552 5.3.4 too big", OUTCOME_FAILED, 0},
        {"550 no", OUTCOME_FAILED, 0},
        {"450 later", OUTCOME_DEFERRED, 0},
        {"451 4.3.0 later", OUTCOME_DEFERRED, 0},
        {"250 taken", OUTCOME_NONE, 1},
        {"354 go", OUTCOME_NONE, 1},
        {"334 what", OUTCOME_NONE, 1},
        {"221 bye", OUTCOME_NONE, 1},
        {"421 4.3.2 bye", OUTCOME_NONE, 0},
    };
    static const char FILES[] = "--files\r\n";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t limit = 0, whole = 1; limit < whole; limit++) {
            const char *files = limit % 2 ? FILES : NULL;
            whole = sizeof BODY(0) - 1 + (files ? sizeof FILES - 1 : 0);
            if (limit >= whole) break;
            assert_int_equal(reply_within_content(files, limit, rows[i].reply), SMTP_LOST);
            fake.files = NULL; /* nothing may be read from it any more */
            smtp_dialogue_close(&d, OUTCOME_UNKNOWN, false, "lost");
            if (rows[i].want)
                expect_done(0, rows[i].want);
            else
                expect_back(0, 1, rows[i].losses);
            assert_int_equal(fake.mails[1].done, 0); /* the next envelope is untouched */
            assert_int_equal(fake.mails[1].losses, 0);
            assert_int_equal(unsaid(&d), 0);
        }
    }
}

static void a_verdict_after_the_final_dot_counts_whatever_is_unsent_behind_it(void **state)
{
    (void)state;
    for (size_t more = 0; more < sizeof ENVELOPE(1); more++) {
        size_t limit = sizeof BODY(0) - 1 + more;
        assert_int_equal(reply_within_content(NULL, limit, "250 taken"), SMTP_FINE);
        expect_done(0, OUTCOME_SENT);
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
    }
}

/* Two replies for one command, in one packet, wherever in the dialogue. */
static void a_reply_too_many_never_decides_a_mail_that_was_not_sent(void **state)
{
    (void)state;
    static const char *const before[] = {"", "250 ok", "250 ok|250 ok", "250 ok|250 ok|354 go"};
    static const char *const stray[] = {"250 stray", "354 stray", "450 stray", "550 stray",
                                        "552 stray", "421 stray", "334 stray"};
    for (size_t b = 0; b < 4; b++) {
        for (size_t k = 0; k < sizeof stray / sizeof *stray; k++) {
            for (int pipelining = 0; pipelining < 2; pipelining++) {
                fake_mails(2);
                open_with(pipelining, 0);
                if (*before[b]) hear_fine(before[b]);
                enum smtp_trouble trouble = hear_early(&d, stray[k]);
                for (int i = 0; !trouble && i < 6; i++) trouble = hear_early(&d, "250 ok");
                assert_true(trouble); /* sooner or later the client sees it */
                smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
                int status = fake.mails[0].outcome.status;
                if (fake.mails[0].done)
                    assert_true(status == OUTCOME_FAILED || status == OUTCOME_DEFERRED);
                assert_int_equal(fake.mails[1].done, 0);
            }
        }
    }
}

static void a_refused_envelope_is_not_believed_when_data_is_answered_out_of_step(void **state)
{
    (void)state;
    static const char *const refusals[] = {"550 5.1.1 nobody|250 ok", "250 ok|550 5.1.1 nobody",
                                           "250 ok|450 later", "550 5.7.1 not from you|503 no"};
    for (int i = 0; i < 4; i++) {
        fake_mails(2);
        open_with(true, 0);
        hear_fine(refusals[i]);
        assert_int_equal(hear(&d, "250 ok"), SMTP_LOST);
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
        expect_back(0, 1, 1);
        assert_int_equal(fake.mails[0].sender_refused, 0);
    }
}

static void a_connection_lost_before_the_final_dot_has_left_makes_nobody_unknown(void **state)
{
    (void)state;
    for (size_t limit = 0; limit <= sizeof BODY(0) - 1; limit++) {
        fake_mails(2);
        open_with(true, 0);
        hear_fine("250 ok|250 ok|354 go");
        write_some(&d, limit);
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
        if (limit < sizeof BODY(0) - 1)
            expect_back(0, 1, 1);
        else
            expect_done(0, OUTCOME_UNKNOWN);
        expect_back(1, 1, 0);
    }
}

static void size_is_announced_where_the_server_offers_it(void **state)
{
    (void)state;
    static const char BODY_0[] = "Subject: 0\r\n\r\nbody 0\r\n", FILES[] = "--files\r\n";
    char want[100];
    size_t size = sizeof BODY_0 - 1 + sizeof FILES - 1;
    for (int limit = 0; limit < 4; limit++) { /* none, just large enough, too small, tiny */
        fake_mails(1);
        fake.files = FILES;
        fake.mails[0].utf8 = limit == 1;
        uint64_t size_max = limit == 0 ? 0 : limit == 1 ? size : limit == 2 ? size - 1 : 1;
        smtp_dialogue_open(
            &d, (struct smtp_offers){.smtputf8 = true, .size = true, .size_max = size_max}, 0);
        smtp_dialogue_go(&d);
        snprintf(want, sizeof want, "MAIL FROM:<news@m.example> SIZE=%zu%s\r\n", size,
                 limit == 1 ? " SMTPUTF8" : "");
        assert_string_equal(said(&d), limit < 2 ? want : "");
        if (limit >= 2) {
            expect_done(0, OUTCOME_FAILED);
            assert_non_null(strstr(fake.mails[0].outcome.detail, "SIZE"));
        }
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, false, "");
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
        {"552 too large", "MAIL FROM:<news@m.example>\r\n"}, /* no transaction: no RSET */
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
    expect_done(1, OUTCOME_FAILED);
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

static void what_mail_answers_is_the_messages_the_senders_or_the_transports(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        enum smtp_trouble trouble;
        enum outcome_status status; /* NONE: put back */
        int sender_refused;
    } rows[] = {
        {"550 5.7.1 sender refused", SMTP_FINE, OUTCOME_NONE, 1},
        {"530 5.7.0 authentication required", SMTP_FINE, OUTCOME_NONE, 1},
        {"554 no", SMTP_FINE, OUTCOME_NONE, 1},
        {"450 4.1.8 domain not found", SMTP_FINE, OUTCOME_NONE, 1},
        {"552 5.3.4 too large", SMTP_FINE, OUTCOME_FAILED, 0},
        {"552 too large", SMTP_FINE, OUTCOME_FAILED, 0},
        {"554 5.3.4 too large", SMTP_FINE, OUTCOME_FAILED, 0},
        {"550 5.6.7 not ASCII", SMTP_FINE, OUTCOME_FAILED, 0},
        {"451 4.3.0 later", SMTP_TRANSPORT, OUTCOME_NONE, 0},
        {"452 4.3.1 disk full", SMTP_TRANSPORT, OUTCOME_NONE, 0},
        {"421 4.3.2 going down", SMTP_LOST, OUTCOME_NONE, 0},
        {"354 what?", SMTP_LOST, OUTCOME_NONE, 0},
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
            assert_int_equal(fake.mails[0].sender_refused, rows[i].sender_refused);
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
    forget_spoken();
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
        TEST(a_verdict_before_the_final_dot_has_left_ends_the_connection),
        TEST(a_verdict_after_the_final_dot_counts_whatever_is_unsent_behind_it),
        TEST(a_reply_too_many_never_decides_a_mail_that_was_not_sent),
        TEST(a_refused_envelope_is_not_believed_when_data_is_answered_out_of_step),
        TEST(a_connection_lost_before_the_final_dot_has_left_makes_nobody_unknown),
        TEST(size_is_announced_where_the_server_offers_it),
        TEST(without_smtputf8_only_mails_beyond_ascii_fail),
        TEST(a_connection_is_idle_when_all_mails_are_beyond_it),
        TEST(the_last_mail_leaves_the_connection_idle),
        TEST(a_mail_that_comes_while_the_final_reply_is_awaited_goes_behind_the_dot),
        TEST(without_pipelining_each_command_waits_for_the_reply_before),
        TEST(a_refused_rcpt_costs_an_rset_and_never_the_connection),
        TEST(a_refused_rcpt_whose_data_is_answered_354_gets_a_lone_dot),
        TEST(a_mail_that_data_refuses_is_reset),
        TEST(what_mail_answers_is_the_messages_the_senders_or_the_transports),
        TEST(what_the_final_dot_answers_is_the_outcome),
        TEST(a_421_ends_the_connection_wherever_it_comes),
        TEST(an_rset_that_fails_ends_the_connection),
        TEST(a_mail_past_the_watermark_waits_for_it),
        TEST(a_connection_takes_no_more_mails_than_its_limit),
        TEST(a_connection_can_be_opened_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
