/* The rows of table parked, and an end to queues that are no longer needed. Moving the messages is
 * in parked_move.c. */
#include "common/parked.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/broker.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/start.h"

enum {
    NOT_FOUND = 404, /* AMQP 0-9-1: there is no such queue */
    KEPT_S = 600,    /* queue and row, after the last message was parked */
    RUNS_MAX = 1000, /* of one sweep; the next one goes on */
    CHUNKS_AT_ONCE = 10000,
};

struct err parked_record(struct db *db, uint64_t run)
{
    return db_execf(db, NULL,
                    "INSERT INTO parked (run_id, at) VALUES (%" PRIu64 ", UTC_TIMESTAMP(6))"
                    " ON DUPLICATE KEY UPDATE at=UTC_TIMESTAMP(6)",
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
                     "UPDATE chunk"
                     " SET next_due=GREATEST(next_due,UTC_TIMESTAMP(6)+INTERVAL %d SECOND)"
                     " WHERE run_id=%" PRIu64 " AND chunk_no>=%" PRIu64 " AND chunk_no<%" PRIu64
                     " AND state='queued'",
                     START_OVERDUE_S, run, from, from + CHUNKS_AT_ONCE));
    return err_none();
}

/* A run with a row, as one sweep finds it. */
struct parked_run {
    uint64_t id;
    char at[32]; /* as the database writes it */
    bool complete, idle;
};

/* One whose row in table run is gone counts as complete. */
static struct err find_runs(struct db *db, struct parked_run runs[RUNS_MAX], int *n)
{
    struct db_result *r;
    *n = 0;
    TRY(db_queryf(db, &r,
                  "SELECT p.run_id, p.at, r.id IS NULL OR r.completed_at IS NOT NULL,"
                  " p.at < UTC_TIMESTAMP(6) - INTERVAL %d SECOND"
                  " FROM parked p LEFT JOIN run r ON r.id=p.run_id"
                  " WHERE r.id IS NULL OR r.completed_at IS NOT NULL OR r.control<>'paused'"
                  " ORDER BY p.run_id LIMIT %d",
                  KEPT_S, RUNS_MAX));
    while (db_next(r)) {
        struct parked_run *run = &runs[(*n)++];
        run->id = db_u64(r, 0);
        snprintf(run->at, sizeof run->at, "%s", db_text(r, 1));
        run->complete = db_u64(r, 2) != 0;
        run->idle = db_u64(r, 3) != 0;
    }
    db_result_free(r);
    return err_none();
}

/* *unused: nothing is in the queue and nobody moves from it; of a complete run every message is of
 * a chunk that is done. A worker that parks one between this look and the deletion loses it: the
 * chunk is overdue some time later (PROTOCOL P6). */
static struct err delete_unused(struct broker *b, const struct parked_run *run, bool *unused)
{
    char key[BROKER_KEY_SIZE], queue[BROKER_QUEUE_SIZE];
    uint32_t ready = 0, consumers = 0;
    broker_queue_name(queue, broker_parked_key(key, run->id));
    struct err e = broker_queue_counts(b, queue, &ready, &consumers);
    *unused = e.native == NOT_FOUND;
    if (*unused) return err_none();
    if (e.code) return e;
    *unused = !consumers && (run->complete || !ready);
    return *unused ? broker_delete_queue(b, queue) : err_none();
}

/* The row is kept where one was parked since it was read. */
static struct err forget(const struct settings *settings, struct db *db,
                         const struct parked_run *run)
{
    struct broker *b;
    struct broker_config config = start_broker_config(settings, "mailflock parked");
    bool unused = false;
    TRY(broker_open(&b, &config));
    struct err e = delete_unused(b, run, &unused);
    broker_close(b);
    if (e.code || !unused) return e;
    return db_execf(db, NULL, "DELETE FROM parked WHERE run_id=%" PRIu64 " AND at='%s'", run->id,
                    run->at);
}

struct err parked_sweep(const struct settings *settings, struct db *db, int64_t until_us,
                        uint64_t *moved)
{
    static struct parked_run runs[RUNS_MAX];
    struct err first = err_none();
    int n;
    *moved = 0;
    TRY(find_runs(db, runs, &n));
    for (int i = 0; i < n && clock_boot_us() < until_us; i++) {
        uint64_t of_run = 0;
        struct err e = err_none();
        if (!runs[i].complete) e = parked_move(settings, db, runs[i].id, until_us, &of_run);
        *moved += of_run;
        if (!e.code && (runs[i].complete || (runs[i].idle && !of_run)))
            e = forget(settings, db, &runs[i]);
        if (!e.code) continue;
        log_error("parked", "run=%" PRIu64 " err=\"%s\"", runs[i].id, e.text);
        if (!first.code) first = e;
    }
    return first;
}
