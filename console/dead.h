/* Dead letters: messages of queue mailflock.dead. dead_queue_* reads and settles them at the
 * broker, dead_ledger_* settles the chunk that one of them carries. */
#ifndef MAILFLOCK_CONSOLE_DEAD_H
#define MAILFLOCK_CONSOLE_DEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/broker.h"
#include "common/buf.h"
#include "common/chunk.h"
#include "common/db.h"
#include "common/err.h"
#include "common/settings.h"

enum {
    DEAD_HELD_MAX = 1000, /* letters in hand at once: those that were read and not acked */
    DEAD_TEXT_SIZE = 256, /* an AMQP short string and a NUL */
    DEAD_NAME_SIZE = 300,
    DEAD_REASON_SIZE = 512,
};

struct dead_letter {
    int number;               /* its place in the queue, from 1 */
    char id[DEAD_TEXT_SIZE];  /* run/chunk/attempt of a chunk; else its message id, or "" */
    char key[DEAD_TEXT_SIZE]; /* its routing key: that of the queue it comes from */
    char reason[DEAD_REASON_SIZE];
    const char *body; /* NULL where it is larger than any message of ours */
    size_t body_len;
    bool is_chunk;
    struct chunk_message chunk; /* where is_chunk */
    struct err malformed;       /* where not: why */
    uint64_t tag;
};

/* One look at the queue. What was read and not acked goes back at the end: to the front, and in
 * order if all that could be read was read. */
struct dead_queue;

/* dead_queue_open: connects, counts, and begins to read. */
struct err dead_queue_open(struct dead_queue **out, const struct settings *settings) MUST_CHECK;

/* dead_queue_count: letters that were there when it was opened. */
uint32_t dead_queue_count(const struct dead_queue *q);

/* dead_queue_next: the next letter, borrowed until the next call; NULL at the end, which comes
 * early when DEAD_HELD_MAX are in hand. */
struct err dead_queue_next(struct dead_queue *q, const struct dead_letter **letter) MUST_CHECK;

/* dead_queue_set_key: the letter that was read last belongs to another queue. */
void dead_queue_set_key(struct dead_queue *q, const char *key);

/* dead_queue_header: a text header of the letter that was read last; false where there is none. */
bool dead_queue_header(const struct dead_queue *q, const char *name, char *out, size_t size);

/* dead_queue_reach: can publish to the letter's queue; declares it. */
struct err dead_queue_reach(struct dead_queue *q, const struct dead_letter *letter) MUST_CHECK;

/* dead_queue_publish: the letter to its queue, as it came; returns when the broker has it safely.
 */
struct err dead_queue_publish(struct dead_queue *q, const struct dead_letter *letter) MUST_CHECK;

/* dead_queue_ack: the letter that was read last leaves the queue. */
struct err dead_queue_ack(struct dead_queue *q) MUST_CHECK;

/* dead_queue_close: takes q (NULL is fine) and frees it. An error: some that were acked may still
 * be there. */
struct err dead_queue_close(struct dead_queue *q) MUST_CHECK;

/* What the ledger says of a letter's chunk. */
enum dead_verdict {
    DEAD_STUCK,    /* stuck, and this letter is what it waits for */
    DEAD_OPEN,     /* a worker would take the letter up */
    DEAD_OVER,     /* nothing is left to send from it; why says so */
    DEAD_NO_CHUNK, /* the ledger does not know it */
};

struct dead_finding {
    enum dead_verdict verdict;
    const char *why;
    int64_t skipped, unknown; /* of dead_ledger_drop: recipients */
};

/* dead_ledger_requeue: a stuck chunk becomes queued, as if never claimed in vain; publishing comes
 * after it. The finding is of the moment before. */
struct err dead_ledger_requeue(struct db *db, const struct chunk_message *m,
                               struct dead_finding *out) MUST_CHECK;

/* dead_ledger_key: the routing key of the run's chunks into out; "" where there is no such run. */
struct err dead_ledger_key(struct db *db, uint64_t run, char out[BROKER_KEY_SIZE]) MUST_CHECK;

/* dead_ledger_drop: a stuck chunk is done; its recipients without an outcome of this attempt become
 * skipped, or unknown where an earlier attempt may have reached them (PROTOCOL C12). Nothing is
 * changed for any other chunk. */
struct err dead_ledger_drop(struct db *db, const struct chunk_message *m,
                            struct dead_finding *out) MUST_CHECK;

/* Which letters are meant: "all", a number as list shows it, or an id. */
struct dead_choice {
    bool all;
    int number;     /* 0: by id; INT_MAX for numbers that no letter has */
    const char *id; /* borrowed */
};

/* dead_choice_parse: pure; borrows text. */
struct dead_choice dead_choice_parse(const char *text);

/* What the command prints, appended to out. Pure.
 * dead_append_body: a body for a terminal: at most max bytes of it, control characters and what is
 * not UTF-8 as '?', and one recipient a line where it is a chunk. */
void dead_append_line(struct buf *out, const struct dead_letter *letter);
void dead_append_json(struct buf *out, const struct dead_letter *letter);
void dead_append_head(struct buf *out, const struct dead_letter *letter);
void dead_append_header(struct buf *out, const char *name, const char *value);
void dead_append_body(struct buf *out, const char *body, size_t len, size_t max);

/* dead_name: "3 (12/7/1)". */
const char *dead_name(char out[DEAD_NAME_SIZE], const struct dead_letter *letter);

#endif
