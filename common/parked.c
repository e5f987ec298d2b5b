/* The rows of table parked, and an end to queues that are no longer needed. Moving the messages is
 * in parked_move.c. */
#include "common/parked.h"

#include <inttypes.h>

#include "common/broker.h"
#include "common/log.h"
#include "common/start.h"

enum {
    KEPT_S = 600,    /* queue and row of a complete run, after the last message was parked */
    RUNS_MAX = 1000, /* of one sweep: those of which a message was parked last */
    CHUNKS_AT_ONCE = 10000,
};

/* The row is locked, but mostly not written: many workers may be parking. */
struct err parked_record(struct db *db, uint64_t run)
{
    return db_execf(db, NULL,
                    "INSERT INTO parked (run_id, at) VALUES (%" PRIu64 ", UTC_TIMESTAMP(6))"
                    " ON DUPLICATE KEY UPDATE"
                    " at=IF(at<UTC_TIMESTAMP(6)-INTERVAL 1 SECOND,UTC_TIMESTAMP(6),at)",
                    run);
}

static struct err read_number(struct db *db, const char *what, uint64_t run, uint64_t *number)
{
    struct db_result *r;
    TRY(db_queryf(db, &r, "SELECT %s WHERE run_id=%" PRIu64, what, run));
    *number = db_next(r) ? db_u64(r, 0) : 0;
    db_result_free(r);
    return err_none();
}

struct err parked_postpone(struct db *db, uint64_t run)
{
    uint64_t rows, chunks;
    TRY(read_number(db, "COUNT(*) FROM parked", run, &rows));
    if (!rows) return err_none();
    TRY(read_number(db, "COALESCE(MAX(chunk_no)+1,0) FROM chunk", run, &chunks));
    /* In steps: a worker that is releasing one of them must not wait long for its row. */
    for (uint64_t from = 0; from < chunks; from += CHUNKS_AT_ONCE)
        TRY(db_execf(db, NULL,
                     "UPDATE chunk SET next_due=UTC_TIMESTAMP(6)+INTERVAL %d SECOND"
                     " WHERE run_id=%" PRIu64 " AND chunk_no>=%" PRIu64 " AND chunk_no<%" PRIu64
                     " AND state='queued' AND next_due<UTC_TIMESTAMP(6)+INTERVAL %d SECOND",
                     START_OVERDUE_S, run, from, from + CHUNKS_AT_ONCE, START_OVERDUE_S));
    return err_none();
}

/* A run with a row, as one sweep finds it. */
struct parked_run {
    uint64_t id;
    bool over; /* it is complete, and nothing was parked for some time */
};

/* One whose row in table run is gone counts as complete. */
#define OVER                                                                                       \
    "((r.id IS NULL OR r.completed_at IS NOT NULL) AND p.at < UTC_TIMESTAMP(6) - INTERVAL %d "     \
    "SECOND)"

static struct err find_runs(struct db *db, struct parked_run runs[RUNS_MAX], int *n)
{
    struct db_result *r;
    *n = 0;
    TRY(db_queryf(db, &r,
                  "SELECT p.run_id, " OVER " FROM parked p LEFT JOIN run r ON r.id=p.run_id"
                  " WHERE r.id IS NULL OR r.control<>'paused' OR r.completed_at IS NOT NULL"
                  " ORDER BY p.at DESC LIMIT %d",
                  KEPT_S, RUNS_MAX));
    while (db_next(r)) runs[(*n)++] = (struct parked_run){db_u64(r, 0), db_u64(r, 1) != 0};
    db_result_free(r);
    return err_none();
}

/* What is in the queue of a run that is over are messages of chunks that are done. It may have been
 * opened again since it was found. */
static struct err forget(struct broker *b, struct db *db, uint64_t run)
{
    char key[BROKER_KEY_SIZE], queue[BROKER_QUEUE_SIZE];
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT 1 FROM parked p LEFT JOIN run r ON r.id=p.run_id WHERE p.run_id=%" PRIu64
                  " AND " OVER,
                  run, KEPT_S));
    bool over = db_next(r);
    db_result_free(r);
    if (!over) return err_none();
    TRY(broker_delete_queue(b, broker_queue_name(queue, broker_parked_key(key, run))));
    return db_execf(db, NULL,
                    "DELETE FROM parked WHERE run_id=%" PRIu64
                    " AND at < UTC_TIMESTAMP(6) - INTERVAL %d SECOND",
                    run, KEPT_S);
}

/* The queue is declared before it is counted: RabbitMQ logs each look at one that is not there. */
static struct err count_ready(struct broker *b, uint64_t run, uint32_t *ready)
{
    char key[BROKER_KEY_SIZE], queue[BROKER_QUEUE_SIZE];
    uint32_t consumers;
    TRY(broker_declare_parked(b, run));
    return broker_queue_counts(b, broker_queue_name(queue, broker_parked_key(key, run)), ready,
                               &consumers);
}

static struct err visit(const struct settings *settings, struct db *db, struct broker *b,
                        const struct parked_run *run, parked_enough *enough, uint64_t *moved)
{
    uint32_t ready;
    if (run->over) return forget(b, db, run->id);
    TRY(count_ready(b, run->id, &ready));
    return ready ? parked_move(settings, db, run->id, enough, moved) : err_none();
}

/* A queue that does not answer costs its own run this sweep, and no other: after an error the
 * connection is a new one. */
struct err parked_sweep(const struct settings *settings, struct db *db, parked_enough *enough,
                        uint64_t *moved)
{
    static struct parked_run runs[RUNS_MAX];
    struct broker_config config = start_broker_config(settings, "mailflock parked");
    struct broker *b = NULL;
    struct err first = err_none();
    int n;
    *moved = 0;
    TRY(find_runs(db, runs, &n));
    for (int i = 0; i < n && !(enough && enough()); i++) {
        uint64_t of_run = 0;
        struct err e = b ? err_none() : broker_open(&b, &config);
        if (!e.code) e = visit(settings, db, b, &runs[i], enough, &of_run);
        *moved += of_run;
        if (!e.code) continue;
        log_error("parked", "run=%" PRIu64 " err=\"%s\"", runs[i].id, e.text);
        if (!first.code) first = e;
        broker_close(b);
        b = NULL;
    }
    broker_close(b);
    return first;
}
