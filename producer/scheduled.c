/* What was started or missed is decided by the key of the table run, over all hosts, and when, by
 * the database's clock (PROTOCOL P7). The marks only tell from when on to look; they are written
 * when everything before them is in run, so a crash at any point costs another look
 * (docs/schedules.md). */
#include "producer/scheduled.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/campaign.h"
#include "common/clock.h"
#include "common/log.h"
#include "producer/occurrence.h"
#include "producer/run.h"
#include "producer/schedule_row.h"
#include "producer/stop.h"

enum { SECOND_US = 1000000, GONE_S = 120, OUTPUT_MAX = 64 * 1024 };

struct look {
    const struct settings *settings;
    struct db *control;
    struct children *children;
    int64_t now_us, boot_us; /* the database's clock, and ours soon after that */
    struct schedule_rows before, after;
};

/* ---- what a child does */

/* A campaign whose moment has come, once or several times. */
struct task {
    const struct look *look;
    const struct campaign *campaign;
    const struct occurrences *found;
};

static bool start_one(const struct task *task, int64_t at_s)
{
    const struct look *look = task->look;
    struct run_request request = {
        .settings = look->settings,
        .campaign = task->campaign->name,
        .has_at = true,
        .at_s = at_s,
        .scheduled = true,
        .within_s = task->campaign->schedule.start_within_ms / 1000,
        .not_before_us = look->boot_us + at_s * SECOND_US - look->now_us,
    };
    struct buf out;
    char iso[CLOCK_ISO_SIZE];
    buf_init(&out, OUTPUT_MAX);
    struct err e = run_campaign(&request, &out);
    if (e.code)
        log_error("due", "campaign=%s scheduled_at=%s err=\"%s\"", request.campaign,
                  clock_iso_format(at_s, iso), e.text);
    if (out.len) printf("%s\n", buf_text(&out));
    buf_fini(&out);
    return fflush(stdout) == 0 && !e.code;
}

/* In their order; one that fails is tried again by the next `due`, as long as it is not too late.
 */
static bool start_all(const void *arg)
{
    const struct task *task = arg;
    bool good = true;
    for (unsigned i = 0; i < task->found->n_due && !stop_requested(); i++)
        good = start_one(task, task->found->due[i]) && good;
    return good;
}

/* ---- one campaign */

static void log_missed(const char *campaign, const struct occurrences *found)
{
    char iso[CLOCK_ISO_SIZE];
    if (found->more_missed)
        log_warn("due", "msg=\"more occurrences were missed than are recorded\" campaign=%s",
                 campaign);
    for (unsigned i = 0; i < found->n_missed; i++)
        log_warn("due", "msg=\"missed: too late to be started\" campaign=%s scheduled_at=%s",
                 campaign, clock_iso_format(found->missed[i], iso));
}

static struct err record_missed(const struct look *look, const char *campaign,
                                struct occurrences *found)
{
    TRY(schedule_row_drop_settled(look->control, campaign, found->missed, &found->n_missed));
    TRY(schedule_row_missed(look->control, campaign, found->missed, found->n_missed));
    log_missed(campaign, found);
    return err_none();
}

/* One that is being started keeps the mark before it until its row is there. */
static struct err deal_with(const struct look *look, const struct campaign *campaign,
                            struct schedule_row *row)
{
    struct occurrences found;
    occurrences_find(&campaign->schedule, &row->mark, look->now_us, &found);
    TRY(record_missed(look, campaign->name, &found));
    TRY(schedule_row_drop_settled(look->control, campaign->name, found.due, &found.n_due));
    row->mark.digest = schedule_digest(&campaign->schedule);
    row->mark.until_s = found.until_s;
    if (found.n_due && found.due[0] <= row->mark.until_s) row->mark.until_s = found.due[0] - 1;
    if (!found.n_due) return err_none();
    return children_start(look->children, start_all, &(struct task){look, campaign, &found});
}

static struct err look_at(struct look *look, const char *name)
{
    struct campaign campaign;
    const struct schedule_row *before = schedule_rows_find(&look->before, name);
    struct schedule_row *row = &look->after.items[look->after.n];
    *row = before ? *before : (struct schedule_row){0};
    snprintf(row->campaign, sizeof row->campaign, "%s", name);
    TRY(campaign_read_schedule(look->settings, name, &campaign));
    struct err e = deal_with(look, &campaign, row);
    if (!e.code) look->after.n++;
    campaign_free(&campaign);
    return e;
}

/* ---- all campaigns */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, *(char *const *)b);
}

static bool is_among(const struct conf_texts *names, const char *name)
{
    return names->count &&
           bsearch(name, names->items, names->count, sizeof *names->items, compare_texts);
}

/* A campaign without a file has nothing to settle. The mark stays behind a little, for the sake of
 * a host that has the file when this one does not, or not yet. */
static void look_at_gone(struct look *look, const struct conf_texts *names)
{
    int64_t until_s = look->now_us / SECOND_US - GONE_S;
    for (size_t i = 0; i < look->before.n; i++) {
        const struct schedule_row *row = &look->before.items[i];
        if (row->mark.until_s >= until_s || is_among(names, row->campaign)) continue;
        look->after.items[look->after.n] = *row;
        look->after.items[look->after.n++].mark.until_s = until_s;
    }
}

static struct err look_at_all(struct look *look, const struct conf_texts *names)
{
    unsigned failed = 0;
    TRY(schedule_row_now(look->control, &look->now_us));
    look->boot_us = clock_boot_us();
    TRY(schedule_rows_load(look->control, &look->before));
    look->after.items = mem_alloc((names->count + look->before.n + 1) * sizeof *look->after.items);
    for (size_t i = 0; i < names->count && !stop_requested(); i++) {
        struct err e = look_at(look, names->items[i]);
        if (!e.code) continue;
        log_error("due", "campaign=%s err=\"%s\"", names->items[i], e.text);
        failed++;
    }
    look_at_gone(look, names);
    TRY(schedule_rows_save(look->control, &look->after));
    if (!failed) return err_none();
    return err_make(ERR_STATE, 0, "the schedules of %u of %zu campaigns could not be followed",
                    failed, names->count);
}

struct err scheduled_start(const struct settings *settings, struct db *control,
                           struct children *children)
{
    struct look look = {.settings = settings, .control = control, .children = children};
    struct conf_texts names;
    /* A file with a name that is none does not keep the others from being followed. */
    struct err listed = campaign_list(settings, &names);
    if (listed.code && listed.code != ERR_CONFIG) return listed;
    struct err e = look_at_all(&look, &names);
    conf_texts_free(&names);
    schedule_rows_free(&look.before);
    schedule_rows_free(&look.after);
    return listed.code ? listed : e;
}
