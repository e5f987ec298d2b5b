/* How mails leave. A transport lives in the sender thread, shares its epoll, and pulls: when it can
 * take a mail it asks the sender for the next one, and it tells what became of each mail it took,
 * exactly once. */
#ifndef MAILFLOCK_TRANSPORT_H
#define MAILFLOCK_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "common/buf.h"
#include "common/settings.h"
#include "consumer/health.h"
#include "consumer/outcome.h"

struct sender;
struct task;

/* A file descriptor of the sender's epoll: .data.ptr of its events points here. */
struct watch {
    void (*on_event)(struct watch *watch, uint32_t events);
};

/* A mail that a transport has taken and not yet told about. */
struct mail {
    struct task *task;
    uint32_t index;   /* in the job's message */
    bool utf8;        /* an address of its envelope or header needs SMTPUTF8 */
    int64_t taken_us; /* CLOCK_BOOTTIME */
};

struct transport {
    const struct transport_ops *ops;
    const struct settings_transport *settings;
    struct sender *sender;
    struct health health;
    bool wake_due; /* set by either side: the wake slot is called when this round's events are over
                    */
};

/* All slots run in the sender thread and never block. */
struct transport_ops {
    /* open: never fails; trouble shows when mails are to be sent. */
    struct transport *(*open)(struct sender *sender, const struct settings_transport *settings);
    /* wake: there may be mails to take, or one it holds may now be handed over, or wake_due. */
    void (*wake)(struct transport *t);
    /* tick: about ten times a second, for deadlines. */
    void (*tick)(struct transport *t, int64_t now_us);
    /* drop: the task is being given up: put back what was taken and not handed over, unless it
     * stands behind a final dot that is to be answered first. */
    void (*drop)(struct transport *t, const struct task *task);
    /* drop_all: as drop, and what is handed over is answered as OUTCOME_OPEN now. An envelope that
     * stands behind another task's final dot stays until that is answered. */
    void (*drop_all)(struct transport *t, const struct task *task);
    /* close: says goodbye where it can without waiting, and frees. No mails are held. */
    void (*close)(struct transport *t);
};

extern const struct transport_ops TRANSPORT_SMTP;

/* What the sender offers to transports. */

/* sender_settings: the settings that the transport is of; borrowed. */
const struct settings *sender_settings(const struct sender *sender);

/* sender_take: the next mail for this transport, its message built into body (which is reset).
 * False when there is none now; wake comes when there may be one. */
bool sender_take(struct transport *t, struct mail *mail, struct buf *body);
/* sender_available: roughly how many more mails sender_take would give, at most limit. */
uint32_t sender_available(const struct transport *t, uint32_t limit);

/* sender_files: what follows the body of each mail of the run, so that it is not copied into each:
 * images and attachments; borrowed until the mail is told about. *len 0: nothing. */
const char *sender_files(const struct mail *mail, size_t *len);

/* The envelope; borrowed until the mail is told about. */
const char *sender_from(const struct mail *mail);
const char *sender_to(const struct mail *mail);

/* sender_may_hand_over: the watermark covers it, the lease is ours and the task goes on (PROTOCOL
 * C4). Ask immediately before the bytes are offered to the socket. False: wait for wake or drop. */
bool sender_may_hand_over(const struct mail *mail);

/* sender_gave_up: its task is ending: it will never be handed over. Put it back. */
bool sender_gave_up(const struct mail *mail);

/* sender_done: what became of it. sender_put_back: it was not handed over; lost tells whether a
 * connection was lost with it (PROTOCOL S3). Either ends the transport's hold of the mail. */
void sender_done(const struct mail *mail, const struct outcome *outcome);
void sender_put_back(const struct mail *mail, bool lost);

/* sender_refused: the server refuses mail of this mail's envelope sender (PROTOCOL S2): no more
 * mails of it are offered to this transport until the ledger says so. The mail itself is put back
 * by the caller. refusal: code, enhanced code and detail of the reply. */
void sender_refused(const struct mail *mail, const struct outcome *refusal);
/* sender_transport_failed: a connection could not be opened, was refused, or broke before a mail
 * was answered on it; why is data. Failures at the same moment count as one. That the transport
 * works again, the sender sees by itself, from sender_done. */
void sender_transport_failed(struct transport *t, const char *what, const char *why, size_t len);

/* sender_watch: adds, changes or (events 0) removes fd in the epoll. */
void sender_watch(struct sender *s, int fd, uint32_t events, struct watch *watch);

#endif
