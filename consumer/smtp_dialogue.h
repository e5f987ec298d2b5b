/* The SMTP dialogue over an open connection, as a state machine without I/O: replies go in, bytes
 * come out. With PIPELINING (RFC 2920) the final dot of one mail and the envelope of the next leave
 * in one write: one round trip a mail. Without, the same machine goes step by step. */
#ifndef MAILFLOCK_SMTP_DIALOGUE_H
#define MAILFLOCK_SMTP_DIALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "consumer/outcome.h"
#include "consumer/smtp_offers.h"
#include "consumer/transport.h"

/* What the next reply answers. */
enum smtp_expect {
    EXPECT_MAIL,
    EXPECT_RCPT,
    EXPECT_DATA,
    EXPECT_DOT,
    EXPECT_LONE_DOT, /* PROTOCOL S1 */
    EXPECT_RSET,
    EXPECT_QUIT
};
enum { SMTP_EXPECT_MAX = 8 };

/* A mail on this connection. */
struct smtp_flight {
    bool used;
    bool mail_ok;     /* MAIL was accepted: the server has a transaction open */
    bool refused;     /* the rest of its replies is ignored; refusal says what became of it */
    bool set_aside;   /* it is the sender that was refused: the mail is put back, refusal unused */
    bool waiting;     /* 354 is there, handing over is not allowed yet */
    bool handed_over; /* the final dot was offered to the socket */
    uint64_t dot_end; /* where the final dot ends, in bytes of this connection */
    struct mail mail;
    struct outcome refusal;
    struct buf body; /* the built message, without its files and the final dot */
};

struct smtp_dialogue {
    struct transport *transport;
    struct smtp_offers offers;
    bool no_more;                  /* the connection takes no further mails */
    bool useful;                   /* the server has answered for a mail on this connection */
    bool welcome;                  /* the server has accepted a MAIL on this connection */
    int taken, limit;              /* mails of this connection; limit 0 = none */
    struct smtp_flight flights[2]; /* one whose content is on its way, one announced behind it */
    struct smtp_expected {
        uint8_t what, flight;
        uint64_t end;          /* where its command ends, in bytes of this connection */
    } expect[SMTP_EXPECT_MAX]; /* ring */
    int expect_at, expect_count;
    uint64_t sent; /* bytes of this connection that the socket has taken */
    struct {       /* to be written */
        struct buf text;
        const char *files; /* belong into text at files_at, borrowed from a mail; NULL: no more */
        size_t files_at, files_len;
        size_t written; /* bytes, of text and files */
    } out;
};

enum smtp_trouble {
    SMTP_FINE,
    SMTP_LOST,      /* close the connection */
    SMTP_TRANSPORT, /* close it; the server is in trouble, or refuses the transport itself */
};

void smtp_dialogue_init(struct smtp_dialogue *d, struct transport *t);
void smtp_dialogue_fini(struct smtp_dialogue *d);

/* smtp_dialogue_open: a new connection stands at the point after EHLO. */
void smtp_dialogue_open(struct smtp_dialogue *d, struct smtp_offers offers, int limit);

/* smtp_dialogue_go: starts or continues wherever that is possible now: takes a mail, hands over one
 * that waited. Call after open, after wake, and after a drop. */
void smtp_dialogue_go(struct smtp_dialogue *d);

/* smtp_dialogue_reply: one reply. Trouble ends the connection: then call smtp_dialogue_close. A
 * reply to a command that is not completely written is out of step (PROTOCOL S5). */
enum smtp_trouble smtp_dialogue_reply(struct smtp_dialogue *d, const struct reply *reply);

/* smtp_dialogue_unsent: what is to be written next, *len bytes, borrowed until the next call of
 * anything here; false when there is nothing. smtp_dialogue_sent: so many of them were. */
bool smtp_dialogue_unsent(const struct smtp_dialogue *d, const char **bytes, size_t *len);
void smtp_dialogue_sent(struct smtp_dialogue *d, size_t len);

/* smtp_dialogue_quit: says QUIT, when nothing is expected any more. */
void smtp_dialogue_quit(struct smtp_dialogue *d);

/* smtp_dialogue_close: the connection is gone: a mail whose final dot was written and not answered
 * ends with that status and reason, the rest is put back; lost tells whether that counts as a loss
 * (S3). */
void smtp_dialogue_close(struct smtp_dialogue *d, enum outcome_status unanswered, bool lost,
                         const char *reason);

/* smtp_dialogue_expendable: it holds a mail of that task, and closing the connection would leave no
 * other task's mail ambiguous. */
bool smtp_dialogue_expendable(const struct smtp_dialogue *d, const struct task *task);
/* smtp_dialogue_waits: some mail's 354 is there and it may not be handed over yet. */
bool smtp_dialogue_waits(const struct smtp_dialogue *d);
/* smtp_dialogue_pointless: it can only go on with a mail that has been given up, and no reply to a
 * final dot is awaited: the one way to take back an envelope is to close the connection. */
bool smtp_dialogue_pointless(const struct smtp_dialogue *d);
/* smtp_dialogue_idle: nothing under way. */
bool smtp_dialogue_idle(const struct smtp_dialogue *d);
/* smtp_dialogue_expects: what the next reply answers; -1 = nothing. */
int smtp_dialogue_expects(const struct smtp_dialogue *d);

#endif
