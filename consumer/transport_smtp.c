/* The SMTP transport: libcurl opens connections (DNS, TLS, STARTTLS, AUTH), smtp_dialogue.c speaks
 * over them, this file moves the bytes, keeps the deadlines, and decides how many connections there
 * are. Trouble with connecting or with MAIL FROM is the transport's: it waits and tries again, and
 * nobody's attempt is used up. */
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "consumer/curl_loop.h"
#include "consumer/metrics.h"
#include "consumer/smtp_dialogue.h"
#include "consumer/smtp_reply.h"
#include "consumer/transport.h"

enum {
    IDLE_US = 5000000,
    QUIT_US = 2000000,
    BACKOFF_BASE_MS = 250,
    BACKOFF_MAX_MS = 30000,
    READS_AT_ONCE = 16,
};

enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_OPEN, CONN_QUITTING };

struct conn {
    struct watch watch; /* first: events point here */
    struct smtp_transport *t;
    enum conn_state state;
    struct curl_loop *curl; /* NULL until it is first needed */
    CURL *easy;
    curl_socket_t fd;
    struct smtp_offers offers;
    bool want_write;
    int64_t opened_us;   /* when connecting began */
    int64_t deadline_us; /* 0 = none */
    int64_t idle_since_us;
    char error[CURL_ERROR_SIZE];
    struct smtp_input in;
    struct smtp_dialogue dialogue;
};

struct smtp_transport {
    struct transport base; /* first */
    CURLSH *share;         /* what was looked up in the DNS, for all connections */
    struct conn *conns;
    int n_conns, n_open, n_connecting;
    int failures;          /* in a row */
    int64_t wait_until_us; /* no new connections before; 0 = none */
    char url[300];
};

static void close_conn(struct conn *c, enum outcome_status unanswered, bool lost,
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
    t->base.wake_due = true; /* for another in its place */
    if (c->fd != CURL_SOCKET_BAD) sender_watch(t->base.sender, c->fd, 0, &c->watch);
    curl_loop_remove(c->curl, c->easy);
    c->easy = NULL;
    c->fd = CURL_SOCKET_BAD;
    smtp_dialogue_close(&c->dialogue, unanswered, lost, reason);
}

/* The transport itself is in trouble: wait before the next connection. Connections that fail
 * together are one failure: else a few of them would make the first wait the longest. */
static void back_off(struct smtp_transport *t, const char *what, const char *detail, size_t len)
{
    char text[200];
    if (clock_boot_us() < t->wait_until_us) return;
    int wait_ms = clock_backoff_ms(t->failures++, BACKOFF_BASE_MS, BACKOFF_MAX_MS);
    t->wait_until_us = clock_boot_us() + (int64_t)wait_ms * 1000;
    sender_transport_failed(&t->base, what, detail, len);
    log_warn("smtp", "msg=\"%s\" transport=%s retry_after_ms=%d detail=\"%s\"", what,
             t->base.settings->name, wait_ms, log_text(text, sizeof text, detail, len));
}

/* The connection broke. One that did no good before it did speaks of the transport: without a wait,
 * a server that takes connections and drops them would be asked as fast as it drops, at the cost of
 * an attempt (S3), or of an answer, for every recipient there is. */
static void lose_conn(struct conn *c, const char *reason)
{
    static const char WHAT[] = "no mail was answered on it";
    if (c->state == CONN_OPEN && !c->dialogue.useful && !smtp_dialogue_idle(&c->dialogue))
        back_off(c->t, "connection lost", WHAT, sizeof WHAT - 1);
    close_conn(c, OUTCOME_UNKNOWN, true, reason);
}

/* Whether a line of EHLO's reply is that keyword, with parameters or without. */
static bool is_keyword(const char *line, size_t len, const char *keyword)
{
    size_t n = strlen(keyword);
    return len >= 4 + n && memcmp(line, "250", 3) == 0 && strncasecmp(line + 4, keyword, n) == 0 &&
           (len == 4 + n || (unsigned char)line[4 + n] <= ' ');
}

static size_t on_header(char *line, size_t size, size_t n, void *user)
{
    struct smtp_offers *offers = &((struct conn *)user)->offers;
    size_t len = size * n;
    if (len >= 3 && memcmp(line, "220", 3) == 0) *offers = (struct smtp_offers){0}; /* EHLO comes */
    if (is_keyword(line, len, "PIPELINING")) offers->pipelining = true;
    if (is_keyword(line, len, "SMTPUTF8")) offers->smtputf8 = true;
    return len;
}

static void set_tls(CURL *easy, const struct settings_transport *s)
{
    static const long LEVEL[] = {[SETTINGS_TLS_OFF] = CURLUSESSL_NONE,
                                 [SETTINGS_TLS_TRY] = CURLUSESSL_TRY,
                                 [SETTINGS_TLS_REQUIRE] = CURLUSESSL_ALL};
    curl_easy_setopt(easy, CURLOPT_USE_SSL, LEVEL[s->tls]);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, s->tls_verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, s->tls_verify ? 2L : 0L);
    if (*s->ca_file) curl_easy_setopt(easy, CURLOPT_CAINFO, s->ca_file);
}

static void on_connected(void *private, CURLcode result);

static void open_conn(struct smtp_transport *t, struct conn *c)
{
    const struct settings_transport *s = t->base.settings;
    if (!c->curl) c->curl = curl_loop_new(t->base.sender, on_connected);
    c->easy = curl_easy_init();
    if (!c->easy) abort();
    c->fd = CURL_SOCKET_BAD;
    c->offers = (struct smtp_offers){0};
    c->error[0] = '\0';
    curl_easy_setopt(c->easy, CURLOPT_SHARE, t->share);
    curl_easy_setopt(c->easy, CURLOPT_URL, t->url);
    curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(c->easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(c->easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)s->connect_timeout_ms);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)s->connect_timeout_ms);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    if (*s->user) {
        curl_easy_setopt(c->easy, CURLOPT_USERNAME, s->user);
        curl_easy_setopt(c->easy, CURLOPT_PASSWORD, s->password);
    }
    set_tls(c->easy, s);
    c->state = CONN_CONNECTING;
    c->opened_us = clock_boot_us();
    t->n_connecting++;
    curl_loop_add(c->curl, c->easy);
}

/* A deadline counts from the last progress, a reply or bytes that the socket took, which takes the
 * old one away. Looking at a connection that waits, to be read or to be answered, puts off nothing.
 */
static void set_deadline(struct conn *c, int64_t now_us)
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

static void watch_conn(struct conn *c, bool want_write)
{
    if (want_write == c->want_write) return;
    c->want_write = want_write;
    sender_watch(c->t->base.sender, c->fd, EPOLLIN | (want_write ? EPOLLOUT : 0), &c->watch);
}

/* By the settings: of a connection that is only there to be used, libcurl does not tell. */
static bool may_be_encrypted(const struct conn *c)
{
    return c->t->base.settings->tls != SETTINGS_TLS_OFF;
}

/* Without TLS the socket itself is read and written: libcurl adds nothing, at 1.7 us a mail. With
 * it, libcurl may hold bytes where epoll sees none. */
static CURLcode conn_send(struct conn *c, const char *data, size_t len, size_t *sent)
{
    if (may_be_encrypted(c)) return curl_easy_send(c->easy, data, len, sent);
    ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
    *sent = n > 0 ? (size_t)n : 0;
    if (n >= 0) return CURLE_OK;
    return errno == EAGAIN || errno == EINTR ? CURLE_AGAIN : CURLE_SEND_ERROR;
}

static CURLcode conn_recv(struct conn *c, char *to, size_t room, size_t *got)
{
    if (may_be_encrypted(c)) return curl_easy_recv(c->easy, to, room, got);
    ssize_t n = recv(c->fd, to, room, 0);
    *got = n > 0 ? (size_t)n : 0;
    if (n >= 0) return CURLE_OK;
    return errno == EAGAIN || errno == EINTR ? CURLE_AGAIN : CURLE_RECV_ERROR;
}

/* Writes what the dialogue has to say; false where the connection was lost and closed. */
static bool flush(struct conn *c)
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
        if (rc) {
            lose_conn(c, "connection lost while the mail was written");
            return false;
        }
        smtp_dialogue_sent(&c->dialogue, sent);
        c->deadline_us = 0;
    }
    if (any && smtp_dialogue_expects(&c->dialogue) == EXPECT_DOT) FAULT_POINT("mails_on_the_wire");
    watch_conn(c, false);
    return true;
}

/* Lets the dialogue go on where it can, and writes. */
static void move_on(struct conn *c, int64_t now_us)
{
    smtp_dialogue_go(&c->dialogue);
    if (smtp_dialogue_pointless(&c->dialogue)) {
        close_conn(c, OUTCOME_UNKNOWN, false, "");
        return;
    }
    if (smtp_dialogue_idle(&c->dialogue) && c->dialogue.limit &&
        c->dialogue.taken >= c->dialogue.limit) {
        smtp_dialogue_quit(&c->dialogue);
        c->state = CONN_QUITTING;
    }
    if (flush(c)) set_deadline(c, now_us);
}

/* PROTOCOL S3: a recipient has a part in the loss when its address or its content was answered with
 * it. A 421 to MAIL is a goodbye, and with the reply to a final dot one mail is over. */
static bool is_loss(int answered, const struct reply *reply)
{
    return answered == EXPECT_RCPT || answered == EXPECT_DATA ||
           (answered == EXPECT_MAIL && reply->code != 421);
}

static void on_trouble(struct conn *c, enum smtp_trouble trouble, int answered,
                       const struct reply *reply)
{
    struct smtp_transport *t = c->t;
    if (trouble == SMTP_TRANSPORT)
        back_off(t, "sender refused", reply->text, reply->text_len);
    else if (reply->code == 421)
        back_off(t, "the server closes the connection", reply->text, reply->text_len);
    close_conn(c, OUTCOME_UNKNOWN, trouble == SMTP_LOST && is_loss(answered, reply),
               "connection lost after the final dot");
}

/* Handles every whole reply that is there; false where the connection is closed. */
static bool take_replies(struct conn *c)
{
    struct reply reply;
    for (;;) {
        enum smtp_found found = smtp_input_next(&c->in, &reply);
        if (found == SMTP_NEED_MORE) return true;
        if (found == SMTP_GARBAGE) {
            lose_conn(c, "the server answered something that is no reply");
            return false;
        }
        if (smtp_dialogue_expects(&c->dialogue) < 0) { /* a goodbye to an idle connection */
            close_conn(c, OUTCOME_UNKNOWN, false, "");
            return false;
        }
        int answered = smtp_dialogue_expects(&c->dialogue);
        c->deadline_us = 0;
        enum smtp_trouble trouble = smtp_dialogue_reply(&c->dialogue, &reply);
        if (answered == EXPECT_DOT && reply.code < 300) c->t->failures = 0;
        if (trouble) {
            on_trouble(c, trouble, answered, &reply);
            return false;
        }
    }
}

static bool read_replies(struct conn *c)
{
    for (int i = 0; i < READS_AT_ONCE; i++) {
        size_t room, got = 0;
        char *to = smtp_input_room(&c->in, &room);
        CURLcode rc = conn_recv(c, to, room, &got);
        if (rc == CURLE_AGAIN) return true;
        if (rc || got == 0) {
            lose_conn(c, "connection lost after the final dot");
            return false;
        }
        c->in.len += got;
        if (!take_replies(c)) return false;
        if (!may_be_encrypted(c) && got < room) return true;
    }
    return true;
}

static void on_conn_event(struct watch *watch, uint32_t events)
{
    struct conn *c = (struct conn *)(void *)watch;
    if (c->state != CONN_OPEN && c->state != CONN_QUITTING) return;
    if (events & EPOLLOUT && !flush(c)) return;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP) && !read_replies(c)) return;
    move_on(c, clock_boot_us());
}

static void on_connected(void *private, CURLcode result)
{
    struct conn *c = private;
    struct smtp_transport *t = c->t;
    if (result) {
        METRICS_ADD(connections_failed, 1);
        const char *why = c->error[0] ? c->error : curl_easy_strerror(result);
        back_off(t, "cannot connect", why, strlen(why));
        close_conn(c, OUTCOME_UNKNOWN, false, "");
        return;
    }
    curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &c->fd);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, 0L);
    c->state = CONN_OPEN;
    t->n_connecting--;
    t->n_open++;
    METRICS_ADD(connections_open, 1);
    METRICS_ADD(connections_opened, 1);
    METRICS_OBSERVE(connect, clock_boot_us() - c->opened_us);
    c->deadline_us = c->idle_since_us = 0;
    c->want_write = false;
    smtp_input_reset(&c->in);
    smtp_dialogue_open(&c->dialogue, c->offers, t->base.settings->messages_per_connection);
    sender_watch(t->base.sender, c->fd, EPOLLIN, &c->watch);
    move_on(c, clock_boot_us());
}

static struct transport *smtp_open(struct sender *sender, const struct settings_transport *settings)
{
    struct smtp_transport *t = mem_alloc(sizeof *t);
    char host[128];
    t->base = (struct transport){.ops = &TRANSPORT_SMTP, .settings = settings, .sender = sender};
    t->share = curl_share_init();
    if (!t->share) abort();
    curl_share_setopt(t->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    t->n_conns = settings->connections;
    t->conns = mem_alloc((size_t)t->n_conns * sizeof *t->conns);
    for (int i = 0; i < t->n_conns; i++) {
        struct conn *c = &t->conns[i];
        c->watch.on_event = on_conn_event;
        c->t = t;
        c->fd = CURL_SOCKET_BAD;
        smtp_dialogue_init(&c->dialogue, &t->base);
    }
    if (gethostname(host, sizeof host)) snprintf(host, sizeof host, "localhost");
    host[sizeof host - 1] = '\0';
    snprintf(t->url, sizeof t->url, "%s/%s", settings->url,
             *settings->helo ? settings->helo : host);
    return &t->base;
}

/* As many new connections as there are mails that no open one is going to take. */
static void open_more(struct smtp_transport *t)
{
    if (t->n_open + t->n_connecting >= t->n_conns) return;
    if (t->wait_until_us && clock_boot_us() < t->wait_until_us) return;
    /* After trouble one connection goes first, to see whether it is over. */
    int most = t->failures ? 1 : t->n_conns;
    int room = most - t->n_connecting - (t->failures ? t->n_open : 0);
    int mails = (int)sender_available(&t->base, (uint32_t)t->n_conns) - t->n_connecting;
    for (int i = 0; i < t->n_conns && room > 0 && mails > 0; i++) {
        if (t->conns[i].state != CONN_CLOSED) continue;
        open_conn(t, &t->conns[i]);
        room--;
        mails--;
    }
}

static void connect_on(struct smtp_transport *t, int64_t now_us)
{
    for (int i = 0; i < t->n_conns && t->n_connecting; i++)
        if (t->conns[i].state == CONN_CONNECTING) curl_loop_tick(t->conns[i].curl, now_us);
}

static bool may_go_on(const struct conn *c)
{
    return c->state == CONN_OPEN &&
           (smtp_dialogue_idle(&c->dialogue) || smtp_dialogue_waits(&c->dialogue) ||
            smtp_dialogue_expects(&c->dialogue) == EXPECT_DOT);
}

static void smtp_wake(struct transport *base)
{
    struct smtp_transport *t = (struct smtp_transport *)(void *)base;
    int64_t now_us = clock_boot_us();
    if (t->n_open)
        for (int i = 0; i < t->n_conns; i++)
            if (may_go_on(&t->conns[i])) move_on(&t->conns[i], now_us);
    open_more(t);
    connect_on(t, clock_boot_us()); /* what open_more added is due now */
}

static void on_deadline(struct conn *c)
{
    bool dot = smtp_dialogue_expects(&c->dialogue) == EXPECT_DOT;
    if (c->state == CONN_OPEN)
        log_warn("smtp", "msg=\"no reply in time\" transport=%s after_dot=%d",
                 c->t->base.settings->name, dot);
    lose_conn(c, "no reply to the final dot in time");
}

static void smtp_tick(struct transport *base, int64_t now_us)
{
    struct smtp_transport *t = (struct smtp_transport *)(void *)base;
    connect_on(t, now_us);
    for (int i = 0; i < t->n_conns; i++) {
        struct conn *c = &t->conns[i];
        if (c->state != CONN_OPEN && c->state != CONN_QUITTING) continue;
        if (c->deadline_us && now_us > c->deadline_us) {
            on_deadline(c);
        } else if (c->state == CONN_OPEN && c->idle_since_us &&
                   now_us - c->idle_since_us > IDLE_US) {
            smtp_dialogue_quit(&c->dialogue);
            c->state = CONN_QUITTING;
            if (flush(c)) set_deadline(c, now_us);
        }
    }
}

static void smtp_drop(struct transport *base, const struct task *task)
{
    struct smtp_transport *t = (struct smtp_transport *)(void *)base;
    (void)task;
    for (int i = 0; i < t->n_conns; i++)
        if (t->conns[i].state == CONN_OPEN && smtp_dialogue_pointless(&t->conns[i].dialogue))
            close_conn(&t->conns[i], OUTCOME_UNKNOWN, false, "");
}

static void smtp_drop_all(struct transport *base, const struct task *task)
{
    struct smtp_transport *t = (struct smtp_transport *)(void *)base;
    for (int i = 0; i < t->n_conns; i++)
        if (smtp_dialogue_expendable(&t->conns[i].dialogue, task))
            close_conn(&t->conns[i], OUTCOME_OPEN, false, "given back before the reply came");
}

static void smtp_close(struct transport *base)
{
    struct smtp_transport *t = (struct smtp_transport *)(void *)base;
    for (int i = 0; i < t->n_conns; i++) {
        struct conn *c = &t->conns[i];
        if (c->state == CONN_OPEN && smtp_dialogue_idle(&c->dialogue)) {
            smtp_dialogue_quit(&c->dialogue);
            flush(c);
        }
        close_conn(c, OUTCOME_OPEN, false, "the worker stopped");
        smtp_dialogue_fini(&c->dialogue);
        curl_loop_free(c->curl);
    }
    curl_share_cleanup(t->share);
    free(t->conns);
    free(t);
}

const struct transport_ops TRANSPORT_SMTP = {
    .open = smtp_open,
    .wake = smtp_wake,
    .tick = smtp_tick,
    .drop = smtp_drop,
    .drop_all = smtp_drop_all,
    .close = smtp_close,
};
