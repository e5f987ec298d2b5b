/* mailflock schedule: what the campaigns' schedules ask for next. Reads campaign files only; the
 * clock is this machine's, which is near enough for a look ahead. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/campaign.h"
#include "common/civil.h"
#include "common/clock.h"
#include "console/console.h"

enum { NEXT_DEFAULT = 10, NEXT_MAX = 1000, REPORT_BYTES_MAX = 1024 * 1024, LOCAL_SIZE = 40 };

/* A campaign and its next occurrence that is not listed yet. */
struct planned {
    struct campaign campaign;
    bool more;
    int64_t next_s;
};

struct plan {
    struct planned *items;
    size_t n;
    unsigned wrong; /* campaigns that cannot be read */
};

/* ---- reading */

static void advance(struct planned *p, int64_t after_s)
{
    p->more = schedule_next(&p->campaign.schedule, after_s, &p->next_s);
}

static struct err add(struct console *c, struct plan *plan, const char *name)
{
    struct planned *p = &plan->items[plan->n];
    TRY(campaign_read_schedule(&c->settings, name, &p->campaign));
    advance(p, clock_utc_us() / 1000000);
    plan->n++;
    return err_none();
}

/* One that is wrong is told, and the others are listed all the same. */
static void tell_wrong(struct plan *plan, const struct err *e)
{
    if (!e->code) return;
    console_fail(e);
    plan->wrong++;
}

static struct err add_all(struct console *c, struct plan *plan)
{
    struct conf_texts names;
    struct err e = campaign_list(&c->settings, &names);
    if (e.code && e.code != ERR_CONFIG) return e;
    tell_wrong(plan, &e);
    plan->items = mem_alloc((names.count + 1) * sizeof *plan->items);
    for (size_t i = 0; i < names.count; i++) {
        e = add(c, plan, names.items[i]);
        tell_wrong(plan, &e);
    }
    conf_texts_free(&names);
    return err_none();
}

static struct err add_one(struct console *c, struct plan *plan, const char *name)
{
    plan->items = mem_alloc(sizeof *plan->items);
    TRY(add(c, plan, name));
    if (plan->items[0].campaign.schedule.expressions.count) return err_none();
    return err_make(ERR_STATE, 0,
                    "campaign %s has no schedule: only 'mailflock-producer run %s' begins a run",
                    name, name);
}

static void plan_free(struct plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) campaign_free(&plan->items[i].campaign);
    free(plan->items);
}

/* ---- telling */

/* The earliest of all; of two at the same time the first by name. NULL when nothing comes. */
static struct planned *earliest(struct plan *plan)
{
    struct planned *first = NULL;
    for (size_t i = 0; i < plan->n; i++) {
        struct planned *p = &plan->items[i];
        if (p->more && (!first || p->next_s < first->next_s)) first = p;
    }
    return first;
}

/* What the zone's clocks show then, with the offset: 2026-11-23T09:00:00+09:00. */
static const char *local_time(const struct planned *p, char out[LOCAL_SIZE])
{
    char iso[CLOCK_ISO_SIZE];
    int offset_s = zone_offset(p->campaign.schedule.zone, p->next_s), away_s = abs(offset_s);
    clock_iso_format(p->next_s + offset_s, iso);
    snprintf(out, LOCAL_SIZE, "%.19s%c%02d:%02d", iso, offset_s < 0 ? '-' : '+', away_s / 3600,
             away_s / 60 % 60);
    return out;
}

static void append_line(const struct planned *p, struct buf *out)
{
    static const char *const weekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    char iso[CLOCK_ISO_SIZE], local[LOCAL_SIZE];
    int64_t wall_s = p->next_s + zone_offset(p->campaign.schedule.zone, p->next_s);
    buf_append_format(out, "%-20s  %s %-25s  %-20s %s\n", clock_iso_format(p->next_s, iso),
                      weekdays[civil_weekday(civil_day_of(wall_s))], local_time(p, local),
                      p->campaign.schedule.timezone, p->campaign.name);
}

/* Neither a campaign's name nor a zone's has anything that JSON would escape. */
static void append_json(const struct planned *p, struct buf *out)
{
    char iso[CLOCK_ISO_SIZE], local[LOCAL_SIZE];
    buf_append_format(out,
                      "{\"campaign\":\"%s\",\"scheduled_at\":\"%s\",\"local\":\"%s\","
                      "\"timezone\":\"%s\",\"start_within_s\":%" PRId64 "}",
                      p->campaign.name, clock_iso_format(p->next_s, iso), local_time(p, local),
                      p->campaign.schedule.timezone, p->campaign.schedule.start_within_ms / 1000);
}

static void report(struct plan *plan, int next, bool json, struct buf *out)
{
    struct planned *p;
    if (json) buf_append_text(out, "{\"occurrences\":[");
    for (int i = 0; i < next && (p = earliest(plan)); i++) {
        if (json && i) buf_append_char(out, ',');
        if (!json && !i)
            buf_append_format(out, "%-20s  %-29s  %-20s %s\n", "scheduled", "local time",
                              "timezone", "campaign");
        if (json)
            append_json(p, out);
        else
            append_line(p, out);
        advance(p, p->next_s);
    }
    if (json)
        buf_append_text(out, "]}\n");
    else if (!out->len)
        buf_append_text(out, "no campaign has a schedule\n");
}

static struct err print_plan(struct console *c, const char *name, int next, bool json)
{
    struct plan plan = {0};
    struct buf text;
    buf_init(&text, REPORT_BYTES_MAX);
    struct err e = console_read_settings(c);
    if (!e.code) e = name ? add_one(c, &plan, name) : add_all(c, &plan);
    if (!e.code) report(&plan, next, json, &text);
    fputs(buf_text(&text), stdout);
    if (!e.code) e = buf_check(&text, "the list");
    if (!e.code && plan.wrong)
        e = err_make(ERR_STATE, 0, "%u campaign files are wrong; what they ask for is not listed",
                     plan.wrong);
    buf_fini(&text);
    plan_free(&plan);
    return e;
}

int command_schedule(struct console *c, int argc, char **argv)
{
    bool json = false;
    const char *next_text = NULL;
    uint32_t next = NEXT_DEFAULT;
    const struct console_option options[] = {{"--next", NULL, &next_text}, {"--json", &json, NULL}};
    if (!console_options(&argc, argv, options, 2, 0, 1)) return CONSOLE_USAGE;
    if (next_text && !console_number(next_text, 1, NEXT_MAX, &next))
        return console_usage(argv[0], "--next takes 1 to %d", NEXT_MAX);
    struct err e = print_plan(c, argc > 1 ? argv[1] : NULL, (int)next, json);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}
