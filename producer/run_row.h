/* The rows of a run and its chunks, as the producer reads and writes them. All of it happens on one
 * connection, the one that holds the run's lock (PROTOCOL P1). */
#ifndef MAILFLOCK_PRODUCER_RUN_ROW_H
#define MAILFLOCK_PRODUCER_RUN_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/campaign.h"
#include "common/chunk.h"
#include "common/content.h"
#include "common/db.h"
#include "producer/chunker.h"

enum { RUN_DUE_MINUTES = 10 }; /* for a published chunk to be taken up; see PROTOCOL P6 */

enum run_control { RUN_GO, RUN_PAUSED, RUN_CANCELLED };

/* id is 0 as long as the row does not exist. */
struct run_row {
    uint64_t id;
    char campaign[CAMPAIGN_NAME_MAX + 1];
    int64_t scheduled_s;
    bool published;     /* publishing is done */
    bool missed;        /* it was never begun, and is not going to be */
    bool audience_over; /* it was done once; opened again, only planned chunks are published */
    enum run_control control;
    struct content content; /* owned; of the stored row, or what is going to be stored */
};

void run_row_fini(struct run_row *row);

/* run_row_now: the database's clock, whole seconds since 1970. */
struct err run_row_now(struct db *db, int64_t *utc_s) MUST_CHECK;

/* run_row_find: fills row for this occurrence of the campaign; id stays 0 where there is none. */
struct err run_row_find(struct db *db, const char *campaign, int64_t scheduled_s,
                        struct run_row *row) MUST_CHECK;
/* run_row_load: the same by id; ERR_STATE where there is none. */
struct err run_row_load(struct db *db, uint64_t id, struct run_row *row) MUST_CHECK;

/* run_row_create: stores row with this content; *created tells whether it did. If somebody else was
 * first, row becomes theirs. within_s: only from its scheduled moment until so many seconds later,
 * by the database's clock, else row's id stays 0; RUN_ANY_TIME: whenever it is. */
enum { RUN_ANY_TIME = -1 };
struct err run_row_create(struct db *db, const struct content *content, int64_t within_s,
                          struct run_row *row, bool *created) MUST_CHECK;

/* run_row_lock: takes the lock of the run for the life of the connection, without waiting; *locked
 * tells whether it was free. */
struct err run_row_lock(struct db *db, uint64_t id, bool *locked) MUST_CHECK;
struct err run_row_unlock(struct db *db, uint64_t id) MUST_CHECK;

/* run_row_refresh: reads publishing and control again. */
struct err run_row_refresh(struct db *db, struct run_row *row) MUST_CHECK;

/* run_row_plan: commits the rows of these chunks as planned. ERR_STATE where one exists already:
 * another producer is at work. */
struct err run_row_plan(struct db *db, uint64_t run, const struct chunker_chunk *chunks,
                        unsigned n) MUST_CHECK;

/* run_row_queued: planned becomes queued, for the chunks that still are planned (PROTOCOL P4). */
struct err run_row_queued(struct db *db, uint64_t run, unsigned attempt, const uint32_t *chunks,
                          unsigned n) MUST_CHECK;

/* run_row_end: where to go on: the number after the greatest one, and its last id ("" if none). */
struct err run_row_end(struct db *db, uint64_t run, uint32_t *next_no,
                       char last_id[CHUNK_ID_MAX + 1]) MUST_CHECK;

struct run_totals {
    uint64_t chunks, recipients, planned;
};
struct err run_row_totals(struct db *db, uint64_t run, struct run_totals *totals) MUST_CHECK;

/* run_row_publishing_done: open becomes done, unless a chunk is still planned; the run completes
 * here if no chunk has anything left to do. */
struct err run_row_publishing_done(struct db *db, uint64_t run) MUST_CHECK;

/* An SQL condition on a chunk c: something is pending or deferred. */
#define RUN_CHUNK_UNFINISHED                                                                       \
    "(c.state IN ('planned', 'queued') OR c.deferred > 0 OR"                                       \
    " c.recipients <> c.sent + c.failed + c.suppressed + c.skipped + c.unknown)"

/* run_row_sweep: completes the published runs that have no unfinished chunk (PROTOCOL P6). */
struct err run_row_sweep(struct db *db, uint64_t *completed) MUST_CHECK;

#endif
