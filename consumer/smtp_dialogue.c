/* The SMTP dialogue. One function per kind of reply; the order of replies is the order of commands,
 * kept in the ring of expectations. */
#include "consumer/smtp_dialogue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mime.h"

enum { OUT_MAX = 4 * MESSAGE_MAX }; /* bytes: two mails, and their envelopes */

void smtp_dialogue_init(struct smtp_dialogue *d, struct transport *t)
{
    *d = (struct smtp_dialogue){.transport = t};
    buf_init(&d->out.text, OUT_MAX);
    for (int i = 0; i < 2; i++) buf_init(&d->flights[i].body, MESSAGE_MAX);
}

void smtp_dialogue_fini(struct smtp_dialogue *d)
{
    buf_fini(&d->out.text);
    for (int i = 0; i < 2; i++) buf_fini(&d->flights[i].body);
}

static void reset_out(struct smtp_dialogue *d)
{
    buf_reset(&d->out.text);
    d->out.files = NULL;
    d->out.written = 0;
}

bool smtp_dialogue_unsent(const struct smtp_dialogue *d, const char **bytes, size_t *len)
{
    size_t at = d->out.written, files_at = d->out.files ? d->out.files_at : d->out.text.len;
    *bytes = d->out.text.data + at;
    *len = files_at - at;
    if (at < files_at || !d->out.files) return *len > 0;
    *bytes = d->out.files + (at - files_at);
    *len = d->out.files_len - (at - files_at);
    return true;
}

/* Bytes to be written. */
static size_t unsent(const struct smtp_dialogue *d)
{
    return d->out.text.len + (d->out.files ? d->out.files_len : 0) - d->out.written;
}

void smtp_dialogue_sent(struct smtp_dialogue *d, size_t len)
{
    d->sent += len;
    d->out.written += len;
    if (d->out.files && d->out.written == d->out.files_at + d->out.files_len) {
        d->out.written -= d->out.files_len;
        d->out.files = NULL;
    }
    if (!d->out.files && d->out.written == d->out.text.len) reset_out(d);
}

void smtp_dialogue_open(struct smtp_dialogue *d, struct smtp_offers offers, int limit)
{
    d->offers = offers;
    d->no_more = d->useful = d->welcome = false;
    d->taken = 0;
    d->sent = 0;
    d->limit = limit;
    d->expect_at = d->expect_count = 0;
    reset_out(d);
}

static void say(struct smtp_dialogue *d, const char *before, const char *path, const char *after)
{
    buf_append_text(&d->out.text, before);
    buf_append_text(&d->out.text, path);
    buf_append_text(&d->out.text, after);
}

/* The reply to what was appended last. */
static void expect(struct smtp_dialogue *d, enum smtp_expect what, const struct smtp_flight *f)
{
    if (d->expect_count == SMTP_EXPECT_MAX) abort();
    int at = (d->expect_at + d->expect_count++) % SMTP_EXPECT_MAX;
    d->expect[at] = (struct smtp_expected){
        .what = (uint8_t)what,
        .flight = (uint8_t)(f ? f - d->flights : 0),
        .end = d->sent + unsent(d),
    };
}

/* RFC 1870: octets of the message without the final dot. Dots that transparency doubles count too,
 * a few more than there are. */
static size_t message_size(const struct smtp_flight *f)
{
    size_t files = 0;
    sender_files(&f->mail, &files);
    return f->body.len + files;
}

static void say_mail(struct smtp_dialogue *d, struct smtp_flight *f)
{
    /* Bodies are ASCII, whatever the headers are: BODY=8BITMIME would promise what is not there. */
    say(d, "MAIL FROM:<", sender_from(&f->mail), ">");
    if (d->offers.size) {
        buf_append_text(&d->out.text, " SIZE=");
        buf_append_u64(&d->out.text, message_size(f));
    }
    buf_append_text(&d->out.text, f->mail.utf8 ? " SMTPUTF8\r\n" : "\r\n");
    expect(d, EXPECT_MAIL, f);
}

static void say_rcpt(struct smtp_dialogue *d, struct smtp_flight *f)
{
    say(d, "RCPT TO:<", sender_to(&f->mail), ">\r\n");
    expect(d, EXPECT_RCPT, f);
}

static void say_data(struct smtp_dialogue *d, struct smtp_flight *f)
{
    buf_append_text(&d->out.text, "DATA\r\n");
    expect(d, EXPECT_DATA, f);
}

static void say_rset(struct smtp_dialogue *d)
{
    buf_append_text(&d->out.text, "RSET\r\n");
    expect(d, EXPECT_RSET, NULL);
}

/* Whether a new envelope may be written now: with pipelining behind one final dot or an RSET, and
 * never behind an envelope whose content has still to be sent. */
static bool may_announce(const struct smtp_dialogue *d)
{
    if (d->no_more || (d->limit && d->taken >= d->limit)) return false;
    if (d->flights[0].used && d->flights[1].used) return false;
    if (d->expect_count == 0) return !d->flights[0].used && !d->flights[1].used;
    if (!d->offers.pipelining || d->expect_count > 1) return false;
    int what = smtp_dialogue_expects(d);
    return what == EXPECT_DOT || what == EXPECT_RSET;
}

/* Whether this server can have the mail; else reason says why not. */
static bool can_take(const struct smtp_dialogue *d, const struct smtp_flight *f, char reason[120])
{
    size_t size = d->offers.size_max ? message_size(f) : 0;
    if (f->mail.utf8 && !d->offers.smtputf8)
        snprintf(reason, 120,
                 "an address beyond ASCII needs SMTPUTF8, which the server does not offer");
    else if (size > d->offers.size_max)
        snprintf(reason, 120, "the mail has %zu bytes, the server takes %" PRIu64 " (SIZE)", size,
                 d->offers.size_max);
    else
        return true;
    return false;
}

/* Takes the next mail that this server can have; the others fail here, unseen by the server. */
static bool take(struct smtp_dialogue *d, struct smtp_flight *f)
{
    char reason[120];
    while (sender_take(d->transport, &f->mail, &f->body)) {
        struct outcome o = {0};
        if (can_take(d, f, reason)) return true;
        outcome_set(&o, OUTCOME_FAILED, reason);
        sender_done(&f->mail, &o);
    }
    return false;
}

static void announce(struct smtp_dialogue *d)
{
    struct smtp_flight *f = &d->flights[d->flights[0].used ? 1 : 0];
    if (!may_announce(d) || !take(d, f)) return;
    f->used = true;
    f->mail_ok = f->refused = f->set_aside = f->waiting = f->handed_over = false;
    d->taken++;
    say_mail(d, f);
    if (!d->offers.pipelining) return;
    say_rcpt(d, f);
    say_data(d, f);
}

/* What the run's mails have in common is written from where it is, not from a copy for each. */
static void add_files(struct smtp_dialogue *d, struct smtp_flight *f)
{
    size_t len;
    const char *files = sender_files(&f->mail, &len);
    if (!len) return;
    if (d->out.files) abort(); /* a verdict before the files are written ends the connection (S5) */
    d->out.files = files;
    d->out.files_at = d->out.text.len;
    d->out.files_len = len;
}

/* PROTOCOL C4: from here on the mail counts as handed over, whatever the socket says. */
static void hand_over(struct smtp_dialogue *d, struct smtp_flight *f)
{
    f->waiting = !sender_may_hand_over(&f->mail);
    if (f->waiting) return;
    f->handed_over = true;
    buf_append(&d->out.text, f->body.data, f->body.len);
    add_files(d, f);
    buf_append_text(&d->out.text, ".\r\n");
    f->dot_end = d->sent + unsent(d);
    expect(d, EXPECT_DOT, f);
}

void smtp_dialogue_go(struct smtp_dialogue *d)
{
    for (int i = 0; i < 2; i++)
        if (d->flights[i].used && d->flights[i].waiting) hand_over(d, &d->flights[i]);
    announce(d);
}

/* The mail ends without its content having been sent. */
static void end_refused(struct smtp_dialogue *d, struct smtp_flight *f, bool reset)
{
    f->used = false;
    d->useful = true;
    if (f->set_aside) {
        sender_refused(&f->mail, &f->refusal);
        sender_put_back(&f->mail, false);
    } else {
        sender_done(&f->mail, &f->refusal);
    }
    if (reset) say_rset(d);
}

static enum smtp_trouble refuse(struct smtp_flight *f, enum outcome_verdict verdict)
{
    if (verdict == VERDICT_CONNECTION) return SMTP_LOST;
    if (verdict == VERDICT_TRANSPORT) return SMTP_TRANSPORT;
    f->refused = true;
    f->set_aside = verdict == VERDICT_SENDER;
    return SMTP_FINE;
}

static enum smtp_trouble on_mail(struct smtp_dialogue *d, struct smtp_flight *f,
                                 const struct reply *reply)
{
    enum outcome_verdict verdict = outcome_judge(STAGE_MAIL, reply, &f->refusal);
    f->mail_ok = verdict == VERDICT_OK;
    if (f->mail_ok) {
        d->welcome = true;
    } else {
        enum smtp_trouble trouble = refuse(f, verdict);
        if (trouble) return trouble;
        if (f->set_aside) d->useful = true; /* it may close now: no fault of the transport */
    }
    if (d->offers.pipelining) return SMTP_FINE;
    if (f->mail_ok)
        say_rcpt(d, f);
    else
        end_refused(d, f, false);
    return SMTP_FINE;
}

static enum smtp_trouble on_rcpt(struct smtp_dialogue *d, struct smtp_flight *f,
                                 const struct reply *reply)
{
    if (!f->refused) {
        enum outcome_verdict verdict = outcome_judge(STAGE_RCPT, reply, &f->refusal);
        enum smtp_trouble trouble = verdict == VERDICT_OK ? SMTP_FINE : refuse(f, verdict);
        if (trouble) return trouble;
    }
    if (d->offers.pipelining) return SMTP_FINE;
    if (f->refused)
        end_refused(d, f, true);
    else
        say_data(d, f);
    return SMTP_FINE;
}

/* PROTOCOL S5: a server that has refused the envelope answers DATA with a refusal or 354. Any other
 * reply belongs to another command, and so did the refusal: nothing of it is believed. */
static enum smtp_trouble distrust(struct smtp_flight *f)
{
    f->refused = f->set_aside = false;
    return SMTP_LOST;
}

static enum smtp_trouble on_data(struct smtp_dialogue *d, struct smtp_flight *f,
                                 const struct reply *reply)
{
    if (f->refused && reply->code == 354) { /* PROTOCOL S1: an RSET would become message text */
        buf_append_text(&d->out.text, ".\r\n");
        expect(d, EXPECT_LONE_DOT, f);
        return SMTP_FINE;
    }
    if (f->refused && (reply->code < 400 || reply->code > 599)) return distrust(f);
    if (!f->refused) {
        enum outcome_verdict verdict = outcome_judge(STAGE_DATA, reply, &f->refusal);
        if (verdict == VERDICT_OK) {
            hand_over(d, f);
            return SMTP_FINE;
        }
        enum smtp_trouble trouble = refuse(f, verdict);
        if (trouble) return trouble;
    }
    end_refused(d, f, f->mail_ok);
    return SMTP_FINE;
}

static enum smtp_trouble on_dot(struct smtp_dialogue *d, struct smtp_flight *f,
                                const struct reply *reply)
{
    struct outcome o = {0};
    outcome_judge(STAGE_DOT, reply, &o);
    f->used = false;
    d->useful = true;
    sender_done(&f->mail, &o);
    return reply->code == 421 || o.status == OUTCOME_UNKNOWN ? SMTP_LOST : SMTP_FINE;
}

/* PROTOCOL S5: the reply came before the command it should answer was written. The connection is
 * out of step and ends. Where content was on its way, its final dot has not left: nobody has
 * accepted it. A refusal is believed, it is of this content; anything else is put back. */
static enum smtp_trouble on_early(struct smtp_dialogue *d, enum smtp_expect what,
                                  struct smtp_flight *f, const struct reply *reply)
{
    struct outcome o = {0};
    if (what != EXPECT_DOT) return SMTP_LOST;
    f->used = false;
    if (reply->code >= 400 && reply->code < 600 && reply->code != 421) {
        outcome_judge(STAGE_DOT, reply, &o);
        d->useful = true;
        sender_done(&f->mail, &o);
    } else {
        sender_put_back(&f->mail, reply->code != 421);
    }
    return SMTP_LOST;
}

enum smtp_trouble smtp_dialogue_reply(struct smtp_dialogue *d, const struct reply *reply)
{
    if (d->expect_count == 0) return SMTP_LOST; /* unasked: 421, or out of step */
    struct smtp_expected expected = d->expect[d->expect_at];
    struct smtp_flight *f = &d->flights[expected.flight];
    enum smtp_expect what = (enum smtp_expect)expected.what;
    enum smtp_trouble trouble = SMTP_FINE;
    d->expect_at = (d->expect_at + 1) % SMTP_EXPECT_MAX;
    d->expect_count--;
    if (expected.end > d->sent) return on_early(d, what, f, reply);
    switch (what) {
    case EXPECT_MAIL:
        trouble = on_mail(d, f, reply);
        break;
    case EXPECT_RCPT:
        trouble = on_rcpt(d, f, reply);
        break;
    case EXPECT_DATA:
        trouble = on_data(d, f, reply);
        break;
    case EXPECT_DOT:
        trouble = on_dot(d, f, reply);
        break;
    case EXPECT_LONE_DOT:
        end_refused(d, f, false);
        break;
    case EXPECT_RSET:
        trouble = reply->code == 250 ? SMTP_FINE : SMTP_LOST;
        break;
    case EXPECT_QUIT:
        return SMTP_LOST; /* as agreed */
    }
    if (trouble == SMTP_FINE) smtp_dialogue_go(d);
    return trouble;
}

void smtp_dialogue_quit(struct smtp_dialogue *d)
{
    d->no_more = true;
    buf_append_text(&d->out.text, "QUIT\r\n");
    expect(d, EXPECT_QUIT, NULL);
}

static bool handed_over(const struct smtp_flight *f)
{
    return f->used && f->handed_over;
}

/* What becomes of a mail whose connection is gone. */
static void end_lost(struct smtp_dialogue *d, struct smtp_flight *f, enum outcome_status unanswered,
                     bool lost, const char *reason)
{
    struct outcome o = {0};
    f->used = false;
    if (f->refused && !f->set_aside) {
        sender_done(&f->mail, &f->refusal);
    } else if (f->handed_over && f->dot_end <= d->sent) { /* PROTOCOL S4: ambiguous, it alone */
        outcome_set(&o, unanswered, reason);
        sender_done(&f->mail, &o);
    } else {
        if (f->set_aside) sender_refused(&f->mail, &f->refusal);
        sender_put_back(&f->mail, lost && !f->waiting && !f->set_aside);
    }
}

void smtp_dialogue_close(struct smtp_dialogue *d, enum outcome_status unanswered, bool lost,
                         const char *reason)
{
    /* PROTOCOL S3: an envelope behind a final dot has no part in the loss, nor has a mail that
     * waited for our own leave. */
    struct smtp_flight *f = d->flights;
    bool content = handed_over(&f[0]) || handed_over(&f[1]);
    for (int i = 0; i < 2; i++)
        if (f[i].used)
            end_lost(d, &f[i], unanswered, lost && (!content || f[i].handed_over), reason);
    d->expect_count = 0;
    reset_out(d);
}

bool smtp_dialogue_expendable(const struct smtp_dialogue *d, const struct task *task)
{
    const struct smtp_flight *f = d->flights;
    for (int i = 0; i < 2; i++)
        if (handed_over(&f[i])) return f[i].mail.task == task; /* never two at once */
    return (f[0].used && f[0].mail.task == task) || (f[1].used && f[1].mail.task == task);
}

bool smtp_dialogue_waits(const struct smtp_dialogue *d)
{
    const struct smtp_flight *f = d->flights;
    return (f[0].used && f[0].waiting) || (f[1].used && f[1].waiting);
}

bool smtp_dialogue_pointless(const struct smtp_dialogue *d)
{
    const struct smtp_flight *f = d->flights;
    if (handed_over(&f[0]) || handed_over(&f[1])) return false;
    return (f[0].used && sender_gave_up(&f[0].mail)) || (f[1].used && sender_gave_up(&f[1].mail));
}

bool smtp_dialogue_idle(const struct smtp_dialogue *d)
{
    return d->expect_count == 0 && !d->flights[0].used && !d->flights[1].used;
}

int smtp_dialogue_expects(const struct smtp_dialogue *d)
{
    return d->expect_count ? d->expect[d->expect_at].what : -1;
}
