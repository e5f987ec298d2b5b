/* A chunk in a worker's hands: from delivery to ack. Each field has one owning thread at a time;
 * ownership moves only with a note through a queue.
 *
 *   broker thread   body, consumer, key, delivery_tag, epoch, published_us; message while not
 * claimed or sending ledger thread   reason, state, token, seq, the committed numbers, arrived, run
 * (reference) sender thread   work from NOTE_SEND to NOTE_RETURNED; outcomes[i] until NOTE_OUTCOME
 * i message and run are read-only for all once NOTE_CLAIM was passed. */
#ifndef MAILFLOCK_JOB_H
#define MAILFLOCK_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/broker.h"
#include "common/chunk.h"
#include "consumer/outcome.h"

struct run;

enum job_state {
    JOB_RECEIVED,  /* decoded; nobody has claimed it */
    JOB_SENDING,   /* claimed by us; outcomes are being gathered and committed */
    JOB_RELEASING, /* the same, but what is not handed over yet goes back */
    JOB_DEFERRING, /* all outcomes committed; the retry message is on its way to the broker */
    JOB_CLOSING,   /* retry confirmed; the fenced UPDATE that ends the attempt is due */
    JOB_ENDED,     /* done, stuck or given back in the ledger; the sender may still know it */
    JOB_ABANDONED, /* somebody else's now; the sender may still know it */
    JOB_OVER       /* nobody else knows it: the broker thread acks and frees */
};

enum { JOB_REASON_SIZE = 256, JOB_MAIL_ID_SIZE = 320 };

struct job {
    struct chunk_message message;
    struct run *run;
    /* broker thread */
    void *body; /* the message as it came, for copies */
    size_t body_len;
    int consumer;    /* which of the worker's queues it came from; never changes */
    const char *key; /* of that queue; borrowed */
    uint64_t delivery_tag;
    unsigned epoch;       /* of the connection the tag belongs to */
    int64_t published_us; /* by the database's clock, UTC; 0 = not known, or it went another way */
    /* ledger thread */
    char reason[JOB_REASON_SIZE]; /* for dead letters */
    enum job_state state;
    uint64_t token;
    uint32_t seq;
    uint32_t started;   /* the committed watermark, a position */
    uint32_t n_granted; /* of work: those below the watermark */
    uint32_t known_end; /* past the last position that may have been sent before our claim */
    int64_t received_us, claimed_us; /* CLOCK_BOOTTIME; received by the broker thread */
    uint32_t claims;                 /* of the chunk, with ours, since its last progress */
    int64_t lease_from_us;           /* CLOCK_BOOTTIME before the statement that last renewed it */
    uint32_t n_expected;             /* outcomes that this claim owes the ledger */
    uint32_t n_arrived, n_committed; /* of arrived: indices whose outcome is known, in order */
    uint32_t *arrived;
    bool *answered;      /* per index: its outcome is known to the ledger thread */
    uint32_t n_answered; /* of the n_granted: those answered */
    uint8_t *old_status; /* per index: status of the ledger's row before this claim */
    uint64_t turn;       /* the sender takes mails in this order of jobs; 0 = it has none of it */
    bool poison;         /* too many claims without progress: the chunk becomes stuck */
    bool with_sender;    /* NOTE_SEND was passed, NOTE_RETURNED has not come */
    bool told_sender;    /* NOTE_RELEASE or NOTE_ABANDON was passed */
    bool retry_pending;  /* NOTE_RETRY was passed, NOTE_RETRY_CONFIRMED has not come */
    int retry_delay_s;   /* of the retry message */
    int copy_delay_s;    /* delay queue for the copy, once given back or abandoned */
    bool park;           /* its run was paused at the last look: no copy, parked */
    struct {             /* the transaction under way */
        bool in;
        bool fenced; /* it did not match: somebody else's now */
        uint32_t arrived, started, granted;
        int end; /* enum ledger_end */
    } txn;
    /* sender thread, prepared by the ledger thread before NOTE_SEND */
    uint32_t n_work;
    uint32_t *work;           /* indices into message.recipients, ascending */
    struct outcome *outcomes; /* per index */
    uint8_t *losses;          /* per index: connections lost before the final dot (PROTOCOL S3) */
    struct outcome refusal;   /* with NOTE_SENDER_REFUSED the ledger thread's; its status is NONE */
};

/* job_new: takes the decoded message (it is zeroed) and copies the body; received_us is now. */
struct job *job_new(struct chunk_message *message, const void *body, size_t body_len);
void job_free(struct job *job);

/* job_prepare: arrays for as many recipients as the message has. */
void job_prepare(struct job *job);

/* job_set_state: the only function that changes job->state; aborts on an impossible change. */
void job_set_state(struct job *job, enum job_state state);

/* job_has: whether any recipient of the message has that outcome. */
bool job_has(const struct job *job, enum outcome_status status);

/* job_key: the routing key that its copies and retries go by, into out: of its run where that is
 * known, else of the queue that it came from. Returns out. */
const char *job_key(char out[BROKER_KEY_SIZE], const struct job *job);

/* job_mail_id: the Message-ID's inside: the same for the same run and recipient. */
const char *job_mail_id(char out[JOB_MAIL_ID_SIZE], const struct job *job, uint32_t index);

#endif
