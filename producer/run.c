/* The order of steps is the protocol's: all checks, the run's row, its lock, every queue, then what
 * an earlier call left planned, then page by page the rest. Owns the connections of one call. */
#include "producer/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/campaign_audience.h"
#include "common/campaign_content.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/schema.h"
#include "common/start.h"
#include "producer/feed.h"
#include "producer/publish.h"
#include "producer/run_row.h"
#include "producer/stop.h"

enum { CONTROL_TIMEOUT_S = 900 }; /* a producer whose host died keeps its lock no longer */

struct run {
    const struct run_request *request;
    struct campaign campaign;
    struct db *control;
    struct audience *audience;
    struct enrich *enrich;
    struct publisher publisher;
    struct run_row row;
    bool created, locked;
};

struct err run_open_control(const struct settings *settings, struct db **out)
{
    struct db_config config = start_db_config(settings, "mailflock-producer");
    config.session_timeout_s = CONTROL_TIMEOUT_S;
    TRY(start_db(settings, &config, out));
    struct err e = schema_check(*out);
    if (!e.code) return e;
    db_close(*out);
    *out = NULL;
    return e;
}

/* ---- what is said at the end */

static void say_run(const struct run *run, struct buf *out)
{
    char iso[CLOCK_ISO_SIZE];
    buf_append_format(out, "run=%" PRIu64 " campaign=%s scheduled_at=%s", run->row.id,
                      run->row.campaign, clock_iso_format(run->row.scheduled_s, iso));
}

static struct err say_totals(struct run *run, struct buf *out)
{
    struct run_totals totals;
    TRY(run_row_totals(run->control, run->row.id, &totals));
    say_run(run, out);
    buf_append_format(out, " chunks=%" PRIu64 " recipients=%" PRIu64 " published=%" PRIu64,
                      totals.chunks, totals.recipients, run->publisher.published);
    return err_none();
}

static void say_how_to_go_on(const struct run *run)
{
    char iso[CLOCK_ISO_SIZE];
    log_warn("run",
             "msg=\"the run stays open; what is published stays valid\" run=%" PRIu64
             " go_on=\"mailflock-producer run %s --at %s\"",
             run->row.id, run->row.campaign, clock_iso_format(run->row.scheduled_s, iso));
}

/* Whether there is nothing to publish, and then why. */
static bool is_over(const struct run *run, struct buf *out)
{
    const char *why = NULL;
    if (run->row.missed) why = "missed";
    if (run->row.published) why = "already published";
    if (run->row.control == RUN_CANCELLED) why = "cancelled";
    if (!run->row.id || !why) return false;
    say_run(run, out);
    buf_append_format(out, " %s: nothing to do", why);
    return true;
}

/* ---- the steps */

static struct err find_row(struct run *run)
{
    int64_t at_s = run->request->at_s;
    if (!run->request->has_at) TRY(run_row_now(run->control, &at_s));
    return run_row_find(run->control, run->campaign.name, at_s, &run->row);
}

/* What a schedule asks for may be begun by hand meanwhile: that is no error. */
static struct err lock_row(struct run *run)
{
    TRY(run_row_lock(run->control, run->row.id, &run->locked));
    if (!run->locked && run->request->scheduled) return err_none();
    if (!run->locked)
        return err_make(ERR_STATE, 0, "another producer is publishing this run (%" PRIu64 ")",
                        run->row.id);
    /* It may have been finished between our reading it and the lock. */
    return run_row_refresh(run->control, &run->row);
}

static struct err open_publisher(struct run *run, const struct content *content)
{
    TRY(publisher_open(&run->publisher, run->request->settings, run->control, content));
    return err_none();
}

static void wait_until(int64_t boot_us)
{
    int64_t left_us = boot_us - clock_boot_us();
    if (left_us > 0) clock_sleep_ms((int)(left_us / 1000) + 1);
}

/* A new run gets its row only when its audience can be read and the broker has all its queues. */
static struct err create_row(struct run *run)
{
    const struct run_request *request = run->request;
    struct content content = campaign_content(&run->campaign);
    TRY(open_publisher(run, &content));
    if (request->scheduled) wait_until(request->not_before_us);
    TRY(run_row_create(run->control, &content,
                       request->scheduled ? request->within_s : RUN_ANY_TIME, &run->row,
                       &run->created));
    run->publisher.content = &run->row.content;
    return err_none();
}

static struct err publish(struct run *run, struct buf *out)
{
    struct publish p = {.control = run->control,
                        .audience = run->audience,
                        .enrich = run->enrich,
                        .publisher = &run->publisher,
                        .row = &run->row,
                        .chunk_size = (uint32_t)run->campaign.audience.chunk_size};
    run->publisher.run = run->row.id;
    stop_listen();
    struct err e = publish_run(&p);
    if (e.code) {
        say_how_to_go_on(run);
        return e;
    }
    if (run->row.control == RUN_CANCELLED) {
        say_run(run, out);
        buf_append_format(out, " published=%" PRIu64 " cancelled: publishing stopped",
                          run->publisher.published);
        return err_none();
    }
    return say_totals(run, out);
}

static struct err steps(struct run *run, struct buf *out)
{
    const struct settings *settings = run->request->settings;
    TRY(campaign_content_load(settings, run->request->campaign, &run->campaign));
    TRY(run_open_control(settings, &run->control));
    TRY(find_row(run));
    if (run->row.id && run->request->scheduled) return err_none();
    if (is_over(run, out)) return err_none();
    TRY(campaign_audience_start(settings, &run->campaign, run->row.scheduled_s, &run->audience));
    if (!run->row.id) TRY(create_row(run));
    if (run->request->scheduled && !run->created) return err_none();
    TRY(lock_row(run));
    if (!run->locked) return err_none();
    if (is_over(run, out)) return err_none();
    if (!run->publisher.broker) TRY(open_publisher(run, &run->row.content));
    TRY(feed_open(&run->campaign, run->control, run->row.scheduled_s, &run->enrich));
    return publish(run, out);
}

struct err run_campaign(const struct run_request *request, struct buf *out)
{
    struct run *run = mem_alloc(sizeof *run);
    run->request = request;
    struct err e = steps(run, out);
    publisher_close(&run->publisher);
    enrich_free(run->enrich);
    audience_close(run->audience);
    db_close(run->control);
    run_row_fini(&run->row);
    campaign_free(&run->campaign);
    free(run);
    return e;
}
