/* The SMTP transport: libcurl opens connections (DNS, TLS, STARTTLS, AUTH), and this file decides
 * how many there are. Trouble with connecting or with MAIL FROM is the transport's or the sender's:
 * nobody's attempt is used up. */
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "consumer/metrics.h"
#include "consumer/smtp_conn.h"

enum { IDLE_US = 5000000 };

static size_t on_header(char *line, size_t size, size_t n, void *user)
{
    smtp_offers_line(&((struct smtp_conn *)user)->offers, line, size * n);
    return size * n;
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

/* libcurl has a socket, so it has an address, which the connections share from now on. */
static int on_socket_made(void *user, curl_socket_t fd, curlsocktype purpose)
{
    (void)fd, (void)purpose;
    smtp_conn_end_lookup(user);
    return CURL_SOCKOPT_OK;
}

static void open_conn(struct smtp_transport *t, struct smtp_conn *c)
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
    curl_easy_setopt(c->easy, CURLOPT_QUICK_EXIT, 1L); /* see curl_loop_remove */
    curl_easy_setopt(c->easy, CURLOPT_SOCKOPTFUNCTION, on_socket_made);
    curl_easy_setopt(c->easy, CURLOPT_SOCKOPTDATA, c);
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
        curl_easy_setopt(c->easy, CURLOPT_PASSWORD, login_password(&t->login));
    }
    set_tls(c->easy, s);
    c->state = CONN_CONNECTING;
    c->opened_us = clock_boot_us();
    t->n_connecting++;
    c->looking_up = true;
    t->n_looking_up++;
    curl_loop_add(c->curl, c->easy);
    curl_loop_tick(c->curl, clock_boot_us()); /* to a socket, where the address is known */
}

static void connecting_failed(struct smtp_conn *c, const char *why)
{
    METRICS_ADD(connections_failed, 1);
    smtp_trouble_with_conn(c, "cannot connect", why, strlen(why));
    smtp_conn_close(c, OUTCOME_UNKNOWN, false, "");
}

/* libcurl goes on without a login where the server offers none. */
static bool lacks_login(const struct smtp_conn *c)
{
    return *c->t->base.settings->user && !c->offers.logged_in;
}

static void on_connected(void *private, CURLcode result)
{
    struct smtp_conn *c = private;
    struct smtp_transport *t = c->t;
    if (result == CURLE_LOGIN_DENIED) (void)login_refused(&t->login); /* it may have been rotated */
    if (result || lacks_login(c)) {
        connecting_failed(c, !result ? "the server offers no login (AUTH), and nothing is sent "
                                       "without it; check url, tls, user and password"
                             : c->error[0] ? c->error
                                           : curl_easy_strerror(result));
        return;
    }
    login_accepted(&t->login);
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
    smtp_conn_move_on(c, clock_boot_us());
}

static struct transport *smtp_open(struct sender *sender, const struct settings_transport *settings)
{
    struct smtp_transport *t = mem_alloc(sizeof *t);
    char host[128];
    t->base = (struct transport){.ops = &TRANSPORT_SMTP, .settings = settings, .sender = sender};
    t->share = curl_share_init();
    if (!t->share) abort();
    curl_share_setopt(t->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    login_init_transport(&t->login, sender_settings(sender), settings);
    t->n_conns = settings->connections;
    connect_pace_init(&t->pace, t->n_conns);
    if (settings->user[0] && settings->tls != SETTINGS_TLS_REQUIRE)
        log_warn("smtp",
                 "msg=\"the password may travel unencrypted (allow_plaintext_login)\" "
                 "transport=%s",
                 settings->name);
    t->conns = mem_alloc((size_t)t->n_conns * sizeof *t->conns);
    for (int i = 0; i < t->n_conns; i++) {
        struct smtp_conn *c = &t->conns[i];
        c->watch.on_event = smtp_conn_on_event;
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

/* As many new connections as there are mails that no open one is going to take; of the name one
 * lookup at a time: the others wait for its answer. */
static void open_more(struct smtp_transport *t)
{
    if (t->n_open + t->n_connecting >= t->n_conns) return;
    int mails = (int)sender_available(&t->base, (uint32_t)t->n_conns) - t->n_connecting;
    for (int i = 0; i < t->n_conns && mails > 0; i++) {
        if (t->conns[i].state != CONN_CLOSED) continue;
        int room = connect_pace_room(&t->pace, t->n_open, t->n_connecting, clock_boot_us());
        if (t->n_looking_up || !room) return;
        open_conn(t, &t->conns[i]);
        mails--;
    }
}

static void connect_on(struct smtp_transport *t, int64_t now_us)
{
    for (int i = 0; i < t->n_conns && t->n_connecting; i++)
        if (t->conns[i].state == CONN_CONNECTING) curl_loop_tick(t->conns[i].curl, now_us);
}

static bool may_go_on(const struct smtp_conn *c)
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
            if (may_go_on(&t->conns[i])) smtp_conn_move_on(&t->conns[i], now_us);
    open_more(t);
    connect_on(t, clock_boot_us()); /* what open_more added is due now */
}

static void smtp_tick(struct transport *base, int64_t now_us)
{
    struct smtp_transport *t = (struct smtp_transport *)(void *)base;
    connect_on(t, now_us);
    for (int i = 0; i < t->n_conns; i++) {
        struct smtp_conn *c = &t->conns[i];
        if (c->state != CONN_OPEN && c->state != CONN_QUITTING) continue;
        if (c->deadline_us && now_us > c->deadline_us)
            smtp_conn_judge_deadline(c, now_us);
        else if (c->state == CONN_OPEN && c->idle_since_us && now_us - c->idle_since_us > IDLE_US)
            smtp_conn_quit(c, now_us);
    }
}

static void smtp_drop(struct transport *base, const struct task *task)
{
    struct smtp_transport *t = (struct smtp_transport *)(void *)base;
    (void)task;
    for (int i = 0; i < t->n_conns; i++)
        if (t->conns[i].state == CONN_OPEN && smtp_dialogue_pointless(&t->conns[i].dialogue))
            smtp_conn_close(&t->conns[i], OUTCOME_UNKNOWN, false, "");
}

static void smtp_drop_all(struct transport *base, const struct task *task)
{
    struct smtp_transport *t = (struct smtp_transport *)(void *)base;
    for (int i = 0; i < t->n_conns; i++) {
        struct smtp_conn *c = &t->conns[i];
        if (!smtp_dialogue_expendable(&c->dialogue, task)) continue;
        if (!smtp_conn_read(c)) continue; /* what the server has said by now counts */
        if (smtp_dialogue_expendable(&c->dialogue, task))
            smtp_conn_close(c, OUTCOME_OPEN, false, "given back before the reply came");
        else
            smtp_conn_move_on(c, clock_boot_us());
    }
}

static void smtp_close(struct transport *base)
{
    struct smtp_transport *t = (struct smtp_transport *)(void *)base;
    for (int i = 0; i < t->n_conns; i++) {
        struct smtp_conn *c = &t->conns[i];
        if (c->state == CONN_OPEN && smtp_dialogue_idle(&c->dialogue))
            smtp_conn_quit(c, clock_boot_us());
        smtp_conn_close(c, OUTCOME_OPEN, false, "the worker stopped");
        smtp_dialogue_fini(&c->dialogue);
        curl_loop_free(c->curl);
        free(c->tls_piece);
    }
    curl_share_cleanup(t->share);
    login_fini(&t->login);
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
