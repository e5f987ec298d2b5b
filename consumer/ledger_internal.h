/* What the files of the ledger thread share; included by them only. */
#ifndef MAILFLOCK_LEDGER_INTERNAL_H
#define MAILFLOCK_LEDGER_INTERNAL_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/login.h"
#include "common/start.h"
#include "consumer/health.h"
#include "consumer/job.h"
#include "consumer/ledger.h"
#include "consumer/run.h"
#include "consumer/set_aside.h"
#include "consumer/window.h"

enum {
    LEDGER_POISON_CLAIMS = 5, /* PROTOCOL C11 */
    LEDGER_ROWS_MAX = 1000,   /* delivery rows in one INSERT */
    LEDGER_NEWER_RUNS = 16,
    LEDGER_RELEASE_DELAY_S = 1,
    /* Retries that came early, transports we lack, newer content. */
    LEDGER_WAIT_DELAY_S = START_WAIT_DELAY_S,
};

/* PROTOCOL C8: how long a message stays in hand, in seconds from its delivery. RabbitMQ closes the
 * channel of a consumer that holds one for longer than its consumer_timeout, 1800 s by default. */
enum {
    LEDGER_HOLD_S = 1200,    /* nothing more of it is handed over */
    LEDGER_REPLIES_S = 1620, /* replies are awaited no longer: 180 s are left to release it */
    /* A pause or cancel awaits replies for the transport's final_reply_timeout and this: the
     * transport gives them up first. */
    LEDGER_REPLY_MARGIN_S = 30,
};

/* A transport of the settings, as the sender last told. */
struct ledger_transport {
    enum health_state state;
    int delay_s; /* of what is given back because it is down */
};

struct ledger {
    struct ledger_config config;
    pthread_t thread;
    struct db *db; /* NULL while the connection is lost */
    struct run_cache runs;
    struct job **jobs;
    int n_jobs, cap_jobs;
    struct ledger_transport *transports; /* in the order of the settings */
    uint64_t turns;                      /* given to jobs so far */
    struct buf sql;
    struct window window;
    struct set_aside set_aside; /* senders that relays have refused */
    bool bare_rows;             /* the server refuses our rows: leave their texts out */
    int64_t lease_us;
    int64_t control_read_us, kept_alive_us;
    int64_t gather_from_us; /* when the first outcome came that waits for others; 0 = long ago */
    int64_t stop_until_us;  /* 0 = not stopping; CLOCK_BOOTTIME until which replies are awaited */
    int64_t second;         /* the time that second_text shows */
    char second_text[20];
    char server[160]; /* the database server's own name for itself */
    struct ledger_newer {
        uint64_t run;
        int64_t until_us;       /* CLOCK_BOOTTIME: it is not read again before */
    } newer[LEDGER_NEWER_RUNS]; /* runs whose content this worker cannot read: a newer one can */
    unsigned n_newer;           /* of them that were ever noted; the oldest is forgotten first */
    bool went_back;             /* C13: it lost commits, and this worker must not go on */
    bool locked_out; /* it refuses the login, and has for start_limit: this worker ends */
    struct login login;
    char session_lock[40]; /* GET_LOCK's name for our session */
};

/* What the fenced UPDATE does besides counting. */
enum ledger_end {
    LEDGER_GO_ON,   /* C5: outcomes, watermark, lease */
    LEDGER_DONE,    /* C7 without deferred recipients */
    LEDGER_BUMP,    /* C7 after the retry's confirm: attempt + 1 */
    LEDGER_RELEASE, /* C8 */
    LEDGER_STUCK,   /* C11 */
};

/* ledger_claim: PROTOCOL C1 to C3 for a JOB_RECEIVED. Either the job is JOB_SENDING afterwards, or
 * it is JOB_OVER and has been passed to the broker thread, or its time has not come and it is still
 * JOB_RECEIVED, as after an error. */
struct err ledger_claim(struct ledger *l, struct job *job) MUST_CHECK;

/* ledger_wants_claim: whether a JOB_RECEIVED is to be claimed, or given back, now. */
bool ledger_wants_claim(const struct ledger *l, const struct job *job);

/* ledger_room_left: how many more positions of all chunks of a transport may be ambiguous after a
 * crash: what PROTOCOL C4 promises. */
uint32_t ledger_room_left(const struct ledger *l, const struct settings_transport *transport);
/* ledger_is_spare: its transport is down, and another chunk in hand is the probe that shows when it
 * is back: this one is given back. */
bool ledger_is_spare(const struct ledger *l, const struct job *job);

/* ledger_may_be_probe: it came from its transport's own queue, where the broker thread sees to it
 * that there is one; not from that of an earlier version. */
bool ledger_may_be_probe(const struct ledger *l, const struct job *job);

/* ledger_settings_of: the settings of the transport that the job's run is sent by. Its run
 * is known, and this worker has its transport. */
const struct settings_transport *ledger_settings_of(const struct ledger *l, const struct job *job);

/* ledger_transport_of: the state of the transport that the job's run is sent by. Its run is known,
 * and this worker has its transport. */
struct ledger_transport *ledger_transport_of(const struct ledger *l, const struct job *job);

/* ledger_held_too_long: RabbitMQ's consumer_timeout would end the channel before long. */
bool ledger_held_too_long(const struct job *job);

/* ledger_recover: PROTOCOL C3; fills work, outcomes and the claim's numbers from the ledger's rows.
 * *mine is false where the token is not ours any more. job->reason is set where message and ledger
 * contradict each other: then nothing of it may be sent. */
struct err ledger_recover(struct ledger *l, struct job *job, bool *mine) MUST_CHECK;

/* ledger_quote_folded: appends the address to l->sql as the suppression list has it, as a literal.
 */
void ledger_quote_folded(struct ledger *l, const struct chunk_recipient *r);

/* ledger_commit: one group transaction over all jobs that have something to commit (C5). Never
 * fails: it repeats until the database has taken it, or the job is lost, or time to stop is over.
 */
void ledger_commit(struct ledger *l);

/* ledger_wants_commit: whether the job has something that a transaction is due for. Outcomes alone
 * wait up to WINDOW_GATHER_US for others: then ledger_gathers. */
bool ledger_wants_commit(const struct ledger *l, const struct job *job);
bool ledger_gathers(const struct ledger *l);

/* ledger_now_us: the database's clock, which judges and records days and hours; UTC. */
int64_t ledger_now_us(const struct ledger *l);

/* ledger_session_start: makes the open connection the ledger's session: it can be ended from
 * another one, and says what time it is. */
void ledger_session_start(struct ledger *l);

/* ledger_reconnect: ends the session before, where the server still has it, and opens another, with
 * backoff for as long as it takes. False, and without a connection, when the time to stop is over
 * or the worker is locked_out. */
bool ledger_reconnect(struct ledger *l);

/* ledger_keep_alive: the server ends a session that is idle for a lease, so that a dead worker's
 * transaction stalls nobody (C5). A living one asks what time it is in between. */
void ledger_keep_alive(struct ledger *l);

/* ledger_is_out_of_time: whether the time to stop is over, and with it the time to commit. */
bool ledger_is_out_of_time(const struct ledger *l);

/* ledger_arrived: outcome index of the job is known; ledger and recovery only. */
void ledger_arrived(struct job *job, uint32_t index);

/* ledger_committed, ledger_fenced_off: what a transaction came to, for one job. */
void ledger_committed(struct ledger *l, struct job *job);
void ledger_fenced_off(struct ledger *l, struct job *job);

/* ledger_report_late: PROTOCOL C12, for an abandoned job with replies that came too late. */
void ledger_report_late(struct ledger *l, const struct job *job);

/* ledger_know_server: notes which server this connection leads to, and says so where it is another
 * one than before. */
void ledger_know_server(struct ledger *l);

/* ledger_went_back: PROTOCOL C13, for a job whose row does not match: whether the database has lost
 * commits that it had confirmed. */
bool ledger_went_back(struct ledger *l, const struct job *job);

/* ledger_raise: C13; all chunks in hand whose rows went back learn from this worker what may have
 * been sent of them. */
void ledger_raise(struct ledger *l);

/* ledger_give_back: C8: nothing more of it is handed over; once the replies on the way are there or
 * awaited no longer, it is released, and its copy waits for delay_s. Does nothing unless the job is
 * JOB_SENDING. */
void ledger_give_back(struct ledger *l, struct job *job, int delay_s);

/* ledger_obey: once a second: gives back the chunks of runs that were paused or cancelled, and
 * those that have been in hand too long. */
void ledger_obey(struct ledger *l);

/* ledger_park: PROTOCOL O2: passes a job of a paused run that nobody else knows to the broker
 * thread: to be parked, once the row says so; or to a delay queue, where the run goes on by now, or
 * the database cannot be asked. */
void ledger_park(struct ledger *l, struct job *job);

/* ledger_over: passes a job that nobody else knows to the broker thread. */
void ledger_over(struct ledger *l, struct job *job, enum note_kind kind, int delay_s);

#endif
