/* One SMTP connection: its bytes and its deadlines. */
#include "consumer/smtp_conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "consumer/metrics.h"

enum {
    QUIT_US = 2000000,
    READS_AT_ONCE = 16,
    TLS_PIECE = 16384, /* bytes of a TLS record */
};

/* PROTOCOL S5: what is not written must not leave any more, or a mail that is put back would reach
 * its recipient. OpenSSL may still hold the end of a record. */
static void cut(const struct smtp_conn *c)
{
    const char *bytes;
    size_t len;
    if (smtp_dialogue_unsent(&c->dialogue, &bytes, &len)) shutdown(c->fd, SHUT_RDWR);
}

void smtp_conn_end_lookup(struct smtp_conn *c)
{
    if (!c->looking_up) return;
    c->looking_up = false;
    c->t->n_looking_up--;
    c->t->base.wake_due = true;
}

void smtp_conn_close(struct smtp_conn *c, enum outcome_status unanswered, bool lost,
                     const char *reason)
{
    struct smtp_transport *t = c->t;
    if (c->state == CONN_CLOSED) return;
    if (c->state == CONN_CONNECTING) {
        t->n_connecting--;
    } else {
        t->n_open--;
        METRICS_ADD(connections_open, -1);
    }
    c->state = CONN_CLOSED;
    c->tls_len = 0;
    smtp_conn_end_lookup(c);
    t->base.wake_due = true; /* for another in its place */
    if (c->fd != CURL_SOCKET_BAD) {
        sender_watch(t->base.sender, c->fd, 0, &c->watch);
        cut(c);
    }
    curl_loop_remove(c->curl, c->easy);
    c->easy = NULL;
    c->fd = CURL_SOCKET_BAD;
    smtp_dialogue_close(&c->dialogue, unanswered, lost, reason);
}

void smtp_conn_lose(struct smtp_conn *c, const char *reason)
{
    static const char WHAT[] = "no mail was answered on it";
    if (c->state == CONN_OPEN && !c->dialogue.useful && !smtp_dialogue_idle(&c->dialogue))
        smtp_trouble_with_conn(c, "connection lost", WHAT, sizeof WHAT - 1);
    smtp_conn_close(c, OUTCOME_UNKNOWN, true, reason);
}

/* A deadline counts from the last progress, a reply or bytes that the socket took, which takes the
 * old one away. Looking at a connection that waits, to be read or to be answered, puts off nothing.
 */
static void set_deadline(struct smtp_conn *c, int64_t now_us)
{
    const struct settings_transport *s = c->t->base.settings;
    int what = smtp_dialogue_expects(&c->dialogue);
    if (what < 0)
        c->deadline_us = 0;
    else if (!c->deadline_us)
        c->deadline_us = now_us + (what == EXPECT_QUIT  ? QUIT_US
                                   : what == EXPECT_DOT ? s->final_reply_timeout_ms * 1000
                                                        : s->reply_timeout_ms * 1000);
    if (smtp_dialogue_idle(&c->dialogue) && !c->idle_since_us) c->idle_since_us = now_us;
    if (!smtp_dialogue_idle(&c->dialogue)) c->idle_since_us = 0;
}

static void watch_conn(struct smtp_conn *c, bool want_write)
{
    if (want_write == c->want_write) return;
    c->want_write = want_write;
    sender_watch(c->t->base.sender, c->fd, EPOLLIN | (want_write ? EPOLLOUT : 0), &c->watch);
}

/* By the settings: of a connection that is only there to be used, libcurl does not tell. */
static bool may_be_encrypted(const struct smtp_conn *c)
{
    return c->t->base.settings->tls != SETTINGS_TLS_OFF;
}

/* What TLS could not write has to be offered again as it was, from the same place in memory
 * (OpenSSL: SSL_write), while the dialogue's buffer grows and moves. */
static CURLcode send_encrypted(struct smtp_conn *c, const char *data, size_t len, size_t *sent)
{
    if (!c->tls_piece) c->tls_piece = mem_alloc(TLS_PIECE);
    if (!c->tls_len) {
        c->tls_len = len < TLS_PIECE ? len : TLS_PIECE;
        memcpy(c->tls_piece, data, c->tls_len);
    }
    CURLcode rc = curl_easy_send(c->easy, c->tls_piece, c->tls_len, sent);
    if (rc) return rc;
    c->tls_len -= *sent;
    memmove(c->tls_piece, c->tls_piece + *sent, c->tls_len);
    return CURLE_OK;
}

/* Without TLS the socket itself is read and written: libcurl adds nothing, at 1.7 us a mail. With
 * it, libcurl may hold bytes where epoll sees none. */
static CURLcode conn_send(struct smtp_conn *c, const char *data, size_t len, size_t *sent)
{
    if (may_be_encrypted(c)) return send_encrypted(c, data, len, sent);
    ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
    *sent = n > 0 ? (size_t)n : 0;
    if (n >= 0) return CURLE_OK;
    return errno == EAGAIN || errno == EINTR ? CURLE_AGAIN : CURLE_SEND_ERROR;
}

static CURLcode conn_recv(struct smtp_conn *c, char *to, size_t room, size_t *got)
{
    if (may_be_encrypted(c)) return curl_easy_recv(c->easy, to, room, got);
    ssize_t n = recv(c->fd, to, room, 0);
    *got = n > 0 ? (size_t)n : 0;
    if (n >= 0) return CURLE_OK;
    return errno == EAGAIN || errno == EINTR ? CURLE_AGAIN : CURLE_RECV_ERROR;
}

/* PROTOCOL S3: a recipient has a part in the loss when its address or its content was answered with
 * it. A 421 to MAIL is a goodbye, and with the reply to a final dot one mail is over. */
static bool is_loss(int answered, const struct reply *reply)
{
    return answered == EXPECT_RCPT || answered == EXPECT_DATA ||
           (answered == EXPECT_MAIL && reply->code != 421);
}

static void on_trouble(struct smtp_conn *c, enum smtp_trouble trouble, int answered,
                       const struct reply *reply)
{
    const char *text = reply->text;
    size_t len = reply->text_len;
    bool goodbye = reply->code == 421;
    if (trouble == SMTP_TRANSPORT)
        smtp_trouble_back_off(c->t, "the server refuses mail for now", text, len);
    else if (answered != EXPECT_QUIT && (goodbye || !c->dialogue.useful))
        smtp_trouble_with_conn(
            c, goodbye ? "the server closes the connection" : "the server answers out of step",
            text, len);
    smtp_conn_close(c, OUTCOME_UNKNOWN, trouble == SMTP_LOST && is_loss(answered, reply),
                    "connection lost after the final dot");
}

/* Handles every whole reply that is there; false where the connection is closed. */
static bool take_replies(struct smtp_conn *c)
{
    struct reply reply;
    for (;;) {
        enum smtp_found found = smtp_input_next(&c->in, &reply);
        if (found == SMTP_NEED_MORE) return true;
        if (found == SMTP_GARBAGE) {
            smtp_conn_lose(c, "the server answered something that is no reply");
            return false;
        }
        if (smtp_dialogue_expects(&c->dialogue) < 0) { /* a goodbye to an idle connection */
            smtp_conn_close(c, OUTCOME_UNKNOWN, false, "");
            return false;
        }
        int answered = smtp_dialogue_expects(&c->dialogue);
        c->deadline_us = 0;
        bool was_welcome = c->dialogue.welcome;
        enum smtp_trouble trouble = smtp_dialogue_reply(&c->dialogue, &reply);
        smtp_trouble_learn(c, was_welcome, answered, &reply);
        if (trouble) {
            on_trouble(c, trouble, answered, &reply);
            return false;
        }
    }
}

bool smtp_conn_read(struct smtp_conn *c)
{
    for (int i = 0; i < READS_AT_ONCE; i++) {
        size_t room, got = 0;
        char *to = smtp_input_room(&c->in, &room);
        CURLcode rc = conn_recv(c, to, room, &got);
        if (rc == CURLE_AGAIN) return true;
        if (rc || got == 0) {
            smtp_conn_lose(c, "connection lost after the final dot");
            return false;
        }
        c->in.len += got;
        if (!take_replies(c)) return false;
        if (!may_be_encrypted(c) && got < room) return true;
    }
    return true;
}

/* Writes what the dialogue has to say; false where the connection was lost and closed. */
static bool flush(struct smtp_conn *c)
{
    const char *bytes;
    size_t len;
    bool any = false;
    for (; smtp_dialogue_unsent(&c->dialogue, &bytes, &len); any = true) {
        size_t sent = 0;
        CURLcode rc = conn_send(c, bytes, len, &sent);
        if (rc == CURLE_AGAIN) {
            watch_conn(c, true);
            return true;
        }
        if (rc) { /* the server may have said why before it closed */
            if (smtp_conn_read(c)) smtp_conn_lose(c, "connection lost while the mail was written");
            return false;
        }
        smtp_dialogue_sent(&c->dialogue, sent);
        c->deadline_us = 0;
    }
    if (any && smtp_dialogue_expects(&c->dialogue) == EXPECT_DOT) FAULT_POINT("mails_on_the_wire");
    watch_conn(c, false);
    return true;
}

void smtp_conn_move_on(struct smtp_conn *c, int64_t now_us)
{
    smtp_dialogue_go(&c->dialogue);
    if (smtp_dialogue_pointless(&c->dialogue)) {
        smtp_conn_close(c, OUTCOME_UNKNOWN, false, "");
        return;
    }
    if (smtp_dialogue_idle(&c->dialogue) && c->dialogue.limit &&
        c->dialogue.taken >= c->dialogue.limit) {
        smtp_dialogue_quit(&c->dialogue);
        c->state = CONN_QUITTING;
    }
    if (flush(c)) set_deadline(c, now_us);
}

void smtp_conn_on_event(struct watch *watch, uint32_t events)
{
    struct smtp_conn *c = (struct smtp_conn *)(void *)watch;
    if (c->state != CONN_OPEN && c->state != CONN_QUITTING) return;
    if (events & EPOLLOUT && !flush(c)) return;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP) && !smtp_conn_read(c)) return;
    smtp_conn_move_on(c, clock_boot_us());
}

void smtp_conn_quit(struct smtp_conn *c, int64_t now_us)
{
    smtp_dialogue_quit(&c->dialogue);
    c->state = CONN_QUITTING;
    if (flush(c)) set_deadline(c, now_us);
}

void smtp_conn_judge_deadline(struct smtp_conn *c, int64_t now_us)
{
    if (!smtp_conn_read(c)) return;
    if (!c->deadline_us) { /* there was a reply */
        smtp_conn_move_on(c, now_us);
        return;
    }
    if (c->state == CONN_OPEN)
        log_warn("smtp", "msg=\"no reply in time\" transport=%s after_dot=%d",
                 c->t->base.settings->name, smtp_dialogue_expects(&c->dialogue) == EXPECT_DOT);
    smtp_conn_lose(c, "no reply to the final dot in time");
}
