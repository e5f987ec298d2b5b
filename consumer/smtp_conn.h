/* What the files of the SMTP transport share; included by them only. transport_smtp.c decides how
 * many connections there are, smtp_conn.c moves the bytes of one, smtp_trouble.c judges what goes
 * wrong with it. */
#ifndef MAILFLOCK_SMTP_CONN_H
#define MAILFLOCK_SMTP_CONN_H

#include <curl/curl.h>

#include "common/login.h"
#include "consumer/connect_pace.h"
#include "consumer/curl_loop.h"
#include "consumer/smtp_dialogue.h"
#include "consumer/smtp_reply.h"
#include "consumer/transport.h"

enum smtp_conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_OPEN, CONN_QUITTING };

struct smtp_conn {
    struct watch watch; /* first: events point here */
    struct smtp_transport *t;
    enum smtp_conn_state state;
    struct curl_loop *curl; /* NULL until it is first needed */
    CURL *easy;
    curl_socket_t fd;
    struct smtp_offers offers;
    bool looking_up; /* connecting, and the relay's name may not be known yet */
    bool want_write;
    char *tls_piece;     /* with TLS: what is being written, owned; NULL until it is first needed */
    size_t tls_len;      /* of tls_piece; 0 = nothing is being written */
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
    struct smtp_conn *conns;
    int n_conns, n_open, n_connecting;
    int n_looking_up; /* of those that are connecting: at most one, or each would ask the DNS */
    struct connect_pace pace;
    struct login login;
    char url[800]; /* settings.url and a name for EHLO */
};

/* smtp_conn_on_event: for the watch of an open connection. */
void smtp_conn_on_event(struct watch *watch, uint32_t events);

/* smtp_conn_close: closes; unanswered, lost and reason as for smtp_dialogue_close. */
void smtp_conn_close(struct smtp_conn *c, enum outcome_status unanswered, bool lost,
                     const char *reason);

/* smtp_conn_end_lookup: the relay's name is known, or is not asked for any more. */
void smtp_conn_end_lookup(struct smtp_conn *c);

/* smtp_conn_lose: the connection broke, or stays silent: closes it. */
void smtp_conn_lose(struct smtp_conn *c, const char *reason);

/* smtp_conn_move_on: lets the dialogue go on where it can, and writes. */
void smtp_conn_move_on(struct smtp_conn *c, int64_t now_us);

/* smtp_conn_quit: says QUIT on an idle connection. */
void smtp_conn_quit(struct smtp_conn *c, int64_t now_us);

/* smtp_conn_read: reads and handles all replies that are there; false: the connection is closed. */
bool smtp_conn_read(struct smtp_conn *c);

/* smtp_conn_judge_deadline: the deadline has passed. Replies that came while this process stood
 * still are read first. */
void smtp_conn_judge_deadline(struct smtp_conn *c, int64_t now_us);

/* smtp_trouble_back_off: the server is down, or in trouble: a wait before the next connection. text
 * is what the server said. */
void smtp_trouble_back_off(struct smtp_transport *t, const char *what, const char *text,
                           size_t len);

/* smtp_trouble_with_conn: a connection ends before its time. */
void smtp_trouble_with_conn(struct smtp_conn *c, const char *what, const char *text, size_t len);

/* smtp_trouble_learn: what a reply says of the server, and of the connections that it takes. */
void smtp_trouble_learn(struct smtp_conn *c, bool was_welcome, int answered,
                        const struct reply *reply);

#endif
