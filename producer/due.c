/* Finds the runs that need a producer and gives each what it needs, under the run's lock. A run
 * whose lock is taken has its producer. */
#include "producer/due.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/campaign_audience.h"
#include "common/campaign_content.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/parked.h"
#include "common/start.h"
#include "producer/feed.h"
#include "producer/publish.h"
#include "producer/republish.h"
#include "producer/run.h"
#include "producer/run_row.h"
#include "producer/scheduled.h"
#include "producer/stop.h"

enum {
    RUNS_MAX = 1000,
    NO_SUCH_QUEUE = 404, /* AMQP 0-9-1 */
    PARKED_LIMIT_S = 30,
};

struct visit {
    const struct settings *settings;
    struct db *control;
    struct run_row row;
    struct campaign campaign;
    struct audience *audience;
    struct enrich *enrich;
    struct publisher publisher;
};

/* A young open run is left to the producer that is about to lock it. */
static struct err find_runs(struct db *db, uint64_t ids[RUNS_MAX], unsigned *n)
{
    struct db_result *r;
    *n = 0;
    TRY(db_queryf(db, &r,
                  "SELECT r.id FROM run r WHERE r.completed_at IS NULL"
                  " AND ((r.publishing='open' AND r.created_at < UTC_TIMESTAMP(6) - INTERVAL 10 "
                  "SECOND) OR (r.publishing='done' AND r.control<>'paused' AND EXISTS"
                  " (SELECT 1 FROM chunk c WHERE c.run_id=r.id AND " REPUBLISH_OVERDUE_SINCE(
                      "0 SECOND") ")))"
                                  " ORDER BY r.id LIMIT %d",
                  RUNS_MAX));
    while (db_next(r)) ids[(*n)++] = db_u64(r, 0);
    db_result_free(r);
    return err_none();
}

/* Messages that wait for a worker to take them: in the run's queue, and in the one that its lane
 * had in earlier versions, which may not exist. */
static struct err count_ready(struct visit *v, uint64_t *ready)
{
    const char *keys[] = {v->publisher.key, v->row.content.lane};
    char queue[BROKER_QUEUE_SIZE];
    *ready = 0;
    for (int i = 0; i < 2; i++) {
        uint32_t n = 0, consumers;
        struct err e = broker_queue_counts(v->publisher.broker, broker_queue_name(queue, keys[i]),
                                           &n, &consumers);
        if (e.code && (i == 0 || e.native != NO_SUCH_QUEUE)) return e;
        *ready += n;
    }
    return err_none();
}

/* Chunks whose messages should be among them: of all runs with this queue, held by nobody, and not
 * waiting in a delay queue. Those of a run that was resumed just now count, though they may still
 * be parked. */
static struct err count_waiting(struct visit *v, uint64_t *waiting)
{
    struct db_result *r;
    TRY(db_queryf(
        v->control, &r,
        "SELECT COUNT(*) FROM run r STRAIGHT_JOIN chunk c ON c.run_id=r.id"
        " WHERE r.completed_at IS NULL AND r.publishing<>'missed'"
        " AND r.control<>'paused' AND " START_LANE_OF(
            "r.content") "='%s'"
                         " AND " START_TRANSPORT_OF(
                             "r.content") "='%s'"
                                          " AND c.state IN ('planned','queued')"
                                          " AND c.next_due <= UTC_TIMESTAMP(6) + INTERVAL %d SECOND"
                                          " AND (c.token IS NULL OR c.lease_until < "
                                          "UTC_TIMESTAMP(6))",
        v->row.content.lane, v->row.content.transport, START_OVERDUE_S));
    *waiting = db_next(r) ? db_u64(r, 0) : 0;
    db_result_free(r);
    return err_none();
}

/* PROTOCOL P6: an overdue chunk is most likely among the messages that wait. As long as some wait,
 * it is published again only after hours, and no more than seem to be missing: a queue that nobody
 * consumes does not grow. */
static struct err republish_overdue(struct visit *v, uint64_t *n)
{
    uint64_t ready, waiting;
    struct republish r = {v->control, v->audience, v->enrich, &v->publisher, UINT64_MAX};
    struct republished done;
    TRY(count_ready(v, &ready));
    TRY(count_waiting(v, &waiting));
    if (ready >= waiting && ready) return err_none();
    if (ready) r.most = waiting - ready;
    TRY(republish(&r, ready ? REPUBLISH_LONG_OVERDUE : REPUBLISH_OVERDUE, &done));
    *n = done.n;
    TRY(publisher_settle(&v->publisher));
    return done.unreadable;
}

/* A cancelled run is read no further, but what was planned goes out all the same: a worker skips
 * it, recipient by recipient, so that everybody is accounted for. */
static void finish_cancelled(struct visit *v)
{
    if (v->row.control != RUN_CANCELLED) return;
    v->row.control = RUN_GO;
    v->row.audience_over = true;
    v->publisher.despite_cancel = true;
}

static struct err publish_rest(struct visit *v)
{
    struct publish p = {.control = v->control,
                        .audience = v->audience,
                        .enrich = v->enrich,
                        .publisher = &v->publisher,
                        .row = &v->row,
                        .chunk_size = (uint32_t)v->campaign.audience.chunk_size};
    return publish_run(&p);
}

static struct err work(struct visit *v, struct buf *out)
{
    char iso[CLOCK_ISO_SIZE];
    uint64_t overdue = 0;
    TRY(campaign_content_load(v->settings, v->row.campaign, &v->campaign));
    TRY(campaign_audience_start(v->settings, &v->campaign, v->row.scheduled_s, &v->audience));
    TRY(publisher_open(&v->publisher, v->settings, v->control, &v->row.content));
    v->publisher.run = v->row.id;
    finish_cancelled(v);
    TRY(feed_open(&v->campaign, v->control, v->row.scheduled_s, &v->enrich));
    struct err e = v->row.published ? republish_overdue(v, &overdue) : publish_rest(v);
    if (v->publisher.published)
        buf_append_format(out,
                          "run=%" PRIu64 " campaign=%s scheduled_at=%s published=%" PRIu64
                          " overdue=%" PRIu64 "\n",
                          v->row.id, v->row.campaign, clock_iso_format(v->row.scheduled_s, iso),
                          v->publisher.published, overdue);
    return e;
}

/* The row is read under the lock: whoever had it before may have done the work. */
static struct err visit_locked(struct visit *v, uint64_t id, struct buf *out)
{
    struct err e = run_row_load(v->control, id, &v->row);
    if (!e.code) e = work(v, out);
    publisher_close(&v->publisher);
    enrich_free(v->enrich);
    audience_close(v->audience);
    campaign_free(&v->campaign);
    run_row_fini(&v->row);
    return e;
}

static struct err visit(const struct settings *settings, struct db *control, uint64_t id,
                        struct buf *out)
{
    struct visit v = {.settings = settings, .control = control};
    bool locked;
    TRY(run_row_lock(control, id, &locked));
    if (!locked) return err_none();
    struct err e = visit_locked(&v, id, out);
    struct err unlocked = run_row_unlock(control, id);
    return e.code ? e : unlocked;
}

static struct err go_on(const struct settings *settings, struct db *control, struct buf *out)
{
    static uint64_t ids[RUNS_MAX];
    unsigned n, failed = 0;
    uint64_t completed;
    TRY(find_runs(control, ids, &n));
    for (unsigned i = 0; i < n && !stop_requested(); i++) {
        struct err e = visit(settings, control, ids[i], out);
        if (!e.code) continue;
        log_error("due", "run=%" PRIu64 " err=\"%s\"", ids[i], e.text);
        failed++;
    }
    TRY(run_row_sweep(control, &completed));
    if (completed) buf_append_format(out, "completed=%" PRIu64 "\n", completed);
    if (!failed) return err_none();
    return err_make(ERR_STATE, 0, "%u of %u runs could not go on; see the log", failed, n);
}

static int64_t parked_until_us; /* CLOCK_BOOTTIME */

static bool moved_enough(void)
{
    return stop_requested() || clock_boot_us() > parked_until_us;
}

/* Messages of runs that were paused and go on: `mailflock resume` moves them, unless it was cut off
 * or a worker parked one late. What is not moved in this time is by the next `due`. */
static struct err move_parked(const struct settings *settings, struct db *control, struct buf *out)
{
    uint64_t moved;
    parked_until_us = clock_boot_us() + PARKED_LIMIT_S * 1000000LL;
    struct err e = parked_sweep(settings, control, moved_enough, &moved);
    if (moved) buf_append_format(out, "unparked=%" PRIu64 "\n", moved);
    return e;
}

/* What has to begin now comes first, each campaign in a process of its own: neither what is left of
 * other runs nor one that takes long delays it. */
struct err due(const struct settings *settings, struct buf *out)
{
    struct db *control;
    struct children children = {0};
    TRY(run_open_control(settings, &control));
    stop_listen();
    struct err started = scheduled_start(settings, control, &children);
    struct err parked = move_parked(settings, control, out);
    struct err e = go_on(settings, control, out);
    if (!e.code) e = parked;
    unsigned failed = children_wait(&children);
    db_close(control);
    if (started.code) return e.code ? err_wrap(e, "%.180s, and then", started.text) : started;
    if (e.code || !failed) return e;
    return err_make(ERR_STATE, 0, "%u scheduled runs could not be published; see the log", failed);
}
