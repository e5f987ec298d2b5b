/* What goes wrong with the connections of an SMTP transport, and what follows: a wait, or fewer
 * connections. */
#include "common/clock.h"
#include "common/log.h"
#include "consumer/metrics.h"
#include "consumer/smtp_conn.h"

/* Connections other than c on which the server has accepted a MAIL. */
static int n_welcome(const struct smtp_transport *t, const struct smtp_conn *c)
{
    int n = 0;
    for (int i = 0; i < t->n_conns; i++)
        n += &t->conns[i] != c && t->conns[i].state == CONN_OPEN && t->conns[i].dialogue.welcome;
    return n;
}

/* detail is what the server said, or libcurl. */
static void report(struct smtp_transport *t, enum connect_pace_result result, const char *what,
                   const char *detail, size_t len, int wait_ms)
{
    char text[200];
    log_text_masked(text, sizeof text, detail, len);
    if (result == CONNECT_PACE_WAITS)
        log_warn("smtp", "msg=\"%s\" transport=%s retry_after_ms=%d detail=\"%s\"", what,
                 t->base.settings->name, wait_ms, text);
    else if (result == CONNECT_PACE_LIMITED)
        log_warn("smtp",
                 "msg=\"the server takes no more connections\" transport=%s connections=%d "
                 "retry_after_ms=%d detail=\"%s\"",
                 t->base.settings->name, t->pace.limit, wait_ms, text);
}

void smtp_trouble_back_off(struct smtp_transport *t, const char *what, const char *detail,
                           size_t len)
{
    int wait_ms;
    enum connect_pace_result result = connect_pace_failed(&t->pace, 0, clock_boot_us(), &wait_ms);
    if (result == CONNECT_PACE_WAITS) sender_transport_failed(&t->base, what, detail, len);
    report(t, result, what, detail, len, wait_ms);
}

/* Three cases. A mail was answered on this connection: a short wait. The server accepted no MAIL on
 * it, but does on others: it takes no more connections. Otherwise the waits grow. Without them, a
 * server that drops every connection would use up an attempt (S3) of each recipient in turn. */
void smtp_trouble_with_conn(struct smtp_conn *c, const char *what, const char *detail, size_t len)
{
    struct connect_pace *pace = &c->t->pace;
    enum connect_pace_result result;
    int wait_ms;
    int64_t now_us = clock_boot_us();
    if (c->dialogue.useful)
        result = connect_pace_ended(pace, now_us, &wait_ms);
    else if (c->dialogue.welcome)
        result = connect_pace_lost(pace, now_us, &wait_ms);
    else
        result = connect_pace_failed(pace, n_welcome(c->t, c), now_us, &wait_ms);
    if (result == CONNECT_PACE_WAITS && !c->dialogue.useful)
        sender_transport_failed(&c->t->base, what, detail, len);
    report(c->t, result, what, detail, len, wait_ms);
}

static void count_refusal(int answered, const struct reply *reply)
{
    static const int STAGES[] = {[EXPECT_MAIL] = STAGE_MAIL,
                                 [EXPECT_RCPT] = STAGE_RCPT,
                                 [EXPECT_DATA] = STAGE_DATA,
                                 [EXPECT_DOT] = STAGE_DOT};
    if (reply->code < 400 || answered > EXPECT_DOT) return;
    METRICS_ADD(refusals[STAGES[answered]][reply->code >= 500], 1);
}

void smtp_trouble_learn(struct smtp_conn *c, bool was_welcome, int answered,
                        const struct reply *reply)
{
    struct connect_pace *pace = &c->t->pace;
    count_refusal(answered, reply);
    bool accepted = answered == EXPECT_MAIL && c->dialogue.welcome && reply->code < 300;
    if (accepted && (!was_welcome || pace->failures))
        connect_pace_welcome(pace, n_welcome(c->t, c) + 1, clock_boot_us());
    if (c->dialogue.useful && pace->fruitless) connect_pace_answered(pace);
}
