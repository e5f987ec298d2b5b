/* How an SMTP dialogue ends: a connection that is lost, a task that is given up; and, against a
 * server that answers at random and drops when it likes, that nobody gets a mail twice and
 * everybody is accounted for. */
#include "tests/unit/dialogue_fixture.h"

static struct smtp_dialogue d;

static int setup(void **state)
{
    (void)state;
    fake_mails(4);
    smtp_dialogue_init(&d, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    smtp_dialogue_fini(&d);
    return 0;
}

/* A pipelining connection that has heard these replies, separated by |. */
static void play(const char *lines)
{
    char copy[200], *rest = copy, *line;
    snprintf(copy, sizeof copy, "%s", lines);
    smtp_dialogue_open(&d, (struct smtp_offers){.pipelining = true}, 0);
    smtp_dialogue_go(&d);
    while (*copy && (line = strsep(&rest, "|"))) assert_int_equal(hear(&d, line), SMTP_FINE);
}

/* What became of a mail, as one letter: unknown, open, failed, sent; put back: b without, B with a
 * loss; . for not taken. */
static char fate(uint32_t mail)
{
    if (fake.mails[mail].done) {
        switch (fake.mails[mail].outcome.status) {
        case OUTCOME_UNKNOWN:
            return 'u';
        case OUTCOME_OPEN:
            return 'o';
        case OUTCOME_FAILED:
            return 'f';
        case OUTCOME_SENT:
            return 's';
        default:
            return '?';
        }
    }
    if (!fake.mails[mail].put_back) return '.';
    return fake.mails[mail].losses ? 'B' : 'b';
}

static void a_lost_connection_leaves_exactly_the_handed_over_mail_unknown(void **state)
{
    (void)state;
    static const struct {
        const char *name, *heard;
        uint32_t started; /* the watermark */
        const char *want; /* of mails 0, 1, 2 */
    } rows[] = {
        {"the envelope is out", "", 9, "B.."},
        {"MAIL is accepted", "250 a", 9, "B.."},
        {"RCPT is accepted", "250 a|250 b", 9, "B.."},
        {"content is asked for, not allowed yet", "250 a|250 b|354 c", 0, "b.."},
        {"handed over, the next is announced", "250 a|250 b|354 c", 9, "ub."},
        {"accepted, the next is announced", "250 a|250 b|354 c|250 d", 9, "sB."},
        {"the second's MAIL is accepted", "250 a|250 b|354 c|250 d|250 e", 9, "sB."},
        {"the second is handed over", "250 a|250 b|354 c|250 d|250 e|250 f|354 g", 9, "sub"},
        {"the second waits", "250 a|250 b|354 c|250 d|250 e|250 f|354 g", 1, "sb."},
        {"refused, DATA not answered", "250 a|550 b", 9, "f.."},
        {"refused, lone dot not answered", "250 a|550 b|354 c", 9, "f.."},
        {"refused, RSET not answered", "250 a|550 b|503 c", 9, "fB."},
        {"refused at MAIL, RCPT not answered", "552 a", 9, "f.."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fake_mails(4);
        fake.tasks[0].started = rows[i].started;
        play(rows[i].heard);
        write_some(&d, SIZE_MAX);
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "connection lost after the final dot");
        char got[] = {fate(0), fate(1), fate(2), '\0'};
        if (strcmp(got, rows[i].want) != 0) fail_msg("%s: got %s", rows[i].name, got);
        assert_true(smtp_dialogue_idle(&d));
        assert_int_equal(unsaid(&d), 0);
    }
}

static void a_handed_over_mail_ends_with_the_status_and_reason_of_the_close(void **state)
{
    (void)state;
    static const struct {
        enum outcome_status status;
        const char *reason;
    } rows[] = {{OUTCOME_UNKNOWN, "no reply to the final dot in time"},
                {OUTCOME_OPEN, "given back before the reply came"}};
    for (size_t i = 0; i < 2; i++) {
        fake_mails(2);
        play("250 a|250 b|354 c");
        write_some(&d, SIZE_MAX);
        smtp_dialogue_close(&d, rows[i].status, false, rows[i].reason);
        assert_int_equal(fake.mails[0].outcome.status, rows[i].status);
        assert_string_equal(fake.mails[0].outcome.detail, rows[i].reason);
        assert_int_equal(fate(1), 'b');
    }
}

static void a_connection_is_useful_once_a_mail_was_answered_on_it(void **state)
{
    (void)state;
    static const struct {
        const char *heard;
        bool want;
    } rows[] = {
        {"", false},
        {"250 a", false},
        {"250 a|250 b|354 c", false}, /* handed over: what comes of it is not known */
        {"250 a|250 b|354 c|250 d", true},
        {"250 a|250 b|354 c|451 d", true},
        {"250 a|550 b", false},
        {"250 a|550 b|503 c", true},
        {"250 a|550 b|354 c|554 d", true},
        {"552 a|503 b|503 c", true},
        {"550 a", true}, /* the sender is refused: no fault of the transport */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fake_mails(4);
        play(rows[i].heard);
        if (d.useful != rows[i].want) fail_msg("%s", rows[i].heard);
        smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
    }
    play("");
    assert_false(d.useful); /* and the next one anew */
    smtp_dialogue_close(&d, OUTCOME_UNKNOWN, true, "lost");
}

/* Mail 0 is task 0's, mail 1 task 1's. */
static void a_given_up_task_makes_a_connection_pointless_or_expendable(void **state)
{
    (void)state;
    static const struct {
        const char *name, *heard;
        uint32_t started;
        int ending; /* the task that is given up */
        bool pointless, expendable;
    } rows[] = {
        {"the envelope is out", "250 a", 9, 0, true, true},
        {"somebody else's envelope is out", "250 a", 9, 1, false, false},
        {"content is asked for, not allowed", "250 a|250 b|354 c", 0, 0, true, true},
        {"handed over", "250 a|250 b|354 c", 9, 0, false, true},
        {"announced behind another's final dot", "250 a|250 b|354 c", 9, 1, false, false},
        {"the other's is answered", "250 a|250 b|354 c|250 d", 9, 1, true, true},
        {"its own is answered, another's follows", "250 a|250 b|354 c|250 d", 9, 0, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fake_mails(2);
        fake.mails[1].task = 1;
        fake.tasks[0].started = rows[i].started;
        play(rows[i].heard);
        assert_false(smtp_dialogue_pointless(&d));
        fake.tasks[rows[i].ending].ending = true;
        smtp_dialogue_go(&d);
        if (smtp_dialogue_pointless(&d) != rows[i].pointless) fail_msg("%s", rows[i].name);
        if (smtp_dialogue_expendable(&d, &fake.tasks[rows[i].ending]) != rows[i].expendable)
            fail_msg("%s", rows[i].name);
        smtp_dialogue_close(&d, OUTCOME_OPEN, false, "");
    }
}

static void a_mail_given_up_while_its_replies_come_is_not_handed_over(void **state)
{
    (void)state;
    play("250 a|250 b");
    fake.tasks[0].ending = true;
    said(&d);
    assert_int_equal(hear(&d, "354 c"), SMTP_FINE);
    assert_string_equal(said(&d), "");
    assert_true(smtp_dialogue_pointless(&d));
    smtp_dialogue_close(&d, OUTCOME_UNKNOWN, false, "");
    assert_int_equal(fate(0), 'b');
    assert_int_equal(fate(1), '.');
}

/* A server of one connection, which reads commands and content and answers as the dice fall. */
static struct {
    bool in_data, mail, rcpt;
    uint32_t to; /* of RCPT */
    char replies[64][32];
    int n_replies;
    int accepted[FAKE_MAILS], shown[FAKE_MAILS]; /* shown: its content was received whole */
} server;

static bool one_in(int n)
{
    return rand() % n == 0;
}

static void answer(const char *reply)
{
    assert_true(server.n_replies < 64);
    snprintf(server.replies[server.n_replies++], sizeof server.replies[0], "%s", reply);
}

static void on_final_dot(void)
{
    static const char *const no[] = {"554 5.7.1 spam", "451 4.3.0 later", "421 4.3.2 bye"};
    server.in_data = false;
    bool good = server.rcpt && !one_in(6);
    if (server.rcpt) server.shown[server.to]++;
    if (good) server.accepted[server.to]++;
    answer(good ? "250 2.0.0 taken" : server.rcpt ? no[rand() % 3] : "554 5.5.1 nobody");
    server.mail = server.rcpt = false;
}

static void on_line(const char *line)
{
    static const char *const no[] = {"550 5.1.1 nobody", "451 4.2.0 later", "421 4.3.2 bye"};
    if (server.in_data) {
        if (strcmp(line, ".") == 0) on_final_dot();
    } else if (strncmp(line, "MAIL", 4) == 0) {
        assert_false(server.mail); /* a transaction was left open */
        server.mail = !one_in(8);
        answer(server.mail ? "250 ok" : one_in(2) ? "552 too large" : "552 5.3.4 too large");
    } else if (strncmp(line, "RCPT", 4) == 0) {
        assert_int_equal(sscanf(line, "RCPT TO:<u%u@", &server.to), 1);
        server.rcpt = server.mail && !one_in(5);
        answer(!server.mail ? "503 5.5.1 no" : server.rcpt ? "250 ok" : no[rand() % 3]);
    } else if (strcmp(line, "DATA") == 0) {
        server.in_data = server.mail && (server.rcpt ? !one_in(10) : one_in(2));
        answer(server.in_data ? "354 go" : server.rcpt ? "451 4.3.0 later" : "503 5.5.1 no");
    } else if (strcmp(line, "RSET") == 0) {
        server.mail = server.rcpt = false;
        answer("250 flushed");
    } else {
        fail_msg("the server does not understand '%s'", line);
    }
}

/* The server reads all that was said; or loses the connection in the middle of it. */
static bool server_reads(bool whole)
{
    size_t len = whole ? unsaid(&d) : (size_t)rand() % (unsaid(&d) + 1);
    char text[1000], *rest = text, *line;
    snprintf(text, sizeof text, "%s", said_some(&d, len));
    assert_true(strlen(text) == len);
    while ((line = strsep(&rest, "\n")) && rest) {
        size_t n = strlen(line);
        assert_true(n && line[n - 1] == '\r');
        line[n - 1] = '\0';
        on_line(line);
    }
    return whole;
}

static void disconnect(bool lost)
{
    smtp_dialogue_close(&d, OUTCOME_UNKNOWN, lost, "lost");
    memset(server.replies, 0, sizeof server.replies);
    server.in_data = server.mail = server.rcpt = false;
    server.n_replies = 0;
}

/* One connection, from its opening to its end. */
static void connect_once(bool pipelining)
{
    smtp_dialogue_open(&d, (struct smtp_offers){.pipelining = pipelining},
                       one_in(2) ? 1 + rand() % 20 : 0);
    for (;;) {
        if (one_in(10)) fake.tasks[0].started = fake.next + (uint32_t)(rand() % 4);
        smtp_dialogue_go(&d);
        if (smtp_dialogue_idle(&d)) break;
        if (smtp_dialogue_pointless(&d)) break;
        if (unsaid(&d) && !server_reads(!one_in(40))) break;
        if (!server.n_replies) {
            assert_true(smtp_dialogue_waits(&d)); /* else both wait for one another */
            if (one_in(20)) break;
            continue;
        }
        if (one_in(60)) break;
        enum smtp_trouble trouble = hear_early(&d, server.replies[0]);
        memmove(server.replies[0], server.replies[1], sizeof server.replies - 32);
        server.n_replies--;
        if (trouble) break;
    }
    disconnect(!smtp_dialogue_idle(&d));
}

static void check_mail(uint32_t i)
{
    enum outcome_status status = (enum outcome_status)fake.mails[i].outcome.status;
    if (fake.mails[i].done != 1) fail_msg("mail %u: told %d times", i, fake.mails[i].done);
    if (server.shown[i] > 1) fail_msg("mail %u: content sent %d times", i, server.shown[i]);
    bool sound = status == OUTCOME_SENT      ? server.accepted[i] == 1
                 : status == OUTCOME_UNKNOWN ? true
                                             : server.accepted[i] == 0;
    if (!sound) fail_msg("mail %u: status %d, accepted %d", i, status, server.accepted[i]);
}

static void against_any_server_nobody_gets_it_twice_and_nobody_is_lost(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++) {
        srand(seed);
        fake_mails(400);
        if (seed % 2) fake.files = "--files\r\nthat all have\r\n";
        memset(&server, 0, sizeof server);
        int connections = 0;
        while (fake.next < fake.n_mails || fake.n_back) {
            connect_once(seed % 3 != 0);
            if (++connections > 4000) fail_msg("seed %u: no progress", seed);
        }
        int of[OUTCOME_STATUSES] = {0};
        for (uint32_t i = 0; i < fake.n_mails; i++) {
            check_mail(i);
            of[fake.mails[i].outcome.status]++;
        }
        assert_true(of[OUTCOME_SENT] && of[OUTCOME_FAILED] && of[OUTCOME_DEFERRED]);
        assert_in_range(of[OUTCOME_UNKNOWN], 1, connections); /* at most one for each */
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_lost_connection_leaves_exactly_the_handed_over_mail_unknown),
        TEST(a_handed_over_mail_ends_with_the_status_and_reason_of_the_close),
        TEST(a_connection_is_useful_once_a_mail_was_answered_on_it),
        TEST(a_given_up_task_makes_a_connection_pointless_or_expendable),
        TEST(a_mail_given_up_while_its_replies_come_is_not_handed_over),
        TEST(against_any_server_nobody_gets_it_twice_and_nobody_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
