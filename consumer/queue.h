/* The bounded queues between the three threads. A note passes one fact about a job; which thread
 * may touch which field of the job is said in job.h. */
#ifndef MAILFLOCK_QUEUE_H
#define MAILFLOCK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job;

enum note_kind {
    /* broker -> ledger */
    NOTE_CLAIM,           /* a new job: claim it */
    NOTE_RETRY_CONFIRMED, /* the broker has the retry message: close the attempt */
    /* ledger -> sender */
    NOTE_SEND,  /* claimed: send its work; index and value as in NOTE_GRANT; until NOTE_RETURNED */
    NOTE_GRANT, /* positions below index are committed as started, arg more outcomes are committed,
                 * and mails may be handed over until value (CLOCK_BOOTTIME, us) */
    NOTE_ABANDON, /* the lease is lost: hand nothing more over, then NOTE_RETURNED */
    NOTE_RELEASE, /* give it back, or all is answered: hand nothing more over, await the replies on
                   * the way until value (CLOCK_BOOTTIME, us), then NOTE_RETURNED; again: until the
                   * earlier of the two */
    /* sender -> ledger */
    NOTE_OUTCOME,        /* index has its outcome */
    NOTE_RETURNED,       /* the sender has forgotten this job */
    NOTE_SENDER_REFUSED, /* the server refuses the job's envelope sender (job->refusal): no more
                          * mails of jobs with this transport and sender are taken; release them */
    NOTE_TRANSPORT, /* the transport index of the settings is in state value (enum health_state);
                     * what is given back for it is delayed by arg seconds. No job. Passed on to the
                     * broker, where it went down or came back */
    /* ledger -> broker */
    NOTE_ACK,   /* ack and free */
    NOTE_COPY,  /* a confirmed copy into the delay queue of value seconds, then ack and free */
    NOTE_PARK,  /* a confirmed copy into the queue of parked messages of its run, then ack and free
                 */
    NOTE_DEAD,  /* a confirmed copy to the dead letters (job->reason), then ack and free */
    NOTE_RETRY, /* publish the deferred recipients, delayed by value seconds; then RETRY_CONFIRMED
                 */
    /* to any: drain and stop; from the ledger to the broker: no job is left */
    NOTE_STOP,
};

struct note {
    enum note_kind kind;
    uint32_t index;
    struct job *job;
    uint64_t value;
    uint64_t arg;
};

struct queue;

/* queue_new: room for capacity notes. fd becomes readable when notes wait (queue_fd). */
struct queue *queue_new(size_t capacity);
void queue_free(struct queue *q);
int queue_fd(const struct queue *q);

/* queue_push: any thread. Capacities are chosen so that a queue cannot fill up; a full one is a
 * broken invariant and aborts. */
void queue_push(struct queue *q, struct note note);

/* queue_pop: the owning thread; moves up to max notes into out and returns how many. */
size_t queue_pop(struct queue *q, struct note *out, size_t max);

/* queue_wait: the owning thread; until a note is there or timeout_ms has passed (-1 = no limit). */
void queue_wait(struct queue *q, int timeout_ms);

#endif
