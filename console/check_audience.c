/* The part of `mailflock check` that reads the audience: its first page, as a run would, what the
 * server plans for the next one, what a contact service knows of its first recipients, and the
 * names in the templates against all that. */
#include "console/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/campaign_audience.h"
#include "common/chunk.h"
#include "common/clock.h"
#include "console/ask.h"
#include "console/check_names.h"
#include "console/check_plan.h"

enum { TEXT_MAX = 400 };

/* Names are owned. */
struct columns {
    struct db_column *items;
    unsigned n;
};

struct reading {
    struct check *check;
    struct audience *audience;
    struct ask ask; /* open where there is a service to be asked */
    unsigned n_asked;
    struct columns known; /* of the audience, and fields of contacts behind them */
};

static void append_columns(const struct recipient_columns *columns, struct buf *out)
{
    for (unsigned i = 0; i < columns->n; i++)
        buf_append_format(out, "%s%.64s", i ? ", " : "", columns->items[i].name);
}

/* How many recipients of the page cannot have a mail, and why the first of them cannot. */
struct page {
    uint64_t rows, unusable;
    char why[CHUNK_FAIL_MAX + 1];
};

/* The row as its worker will see it. */
static struct err judge_row(struct reading *a, const struct db_cell *row,
                            const struct contact *contact, struct page *page)
{
    struct chunk_message m;
    TRY(recipient_read_back(audience_columns(a->audience), row, contact, &m));
    const char *fail = m.recipients[0].fail;
    if (fail && !page->unusable++) snprintf(page->why, sizeof page->why, "%s", fail);
    chunk_fini(&m);
    return err_none();
}

/* With a contact service only it can tell; it is asked for as many as go into one call. */
static struct err take_row(struct reading *a, const struct db_cell *row, struct page *page)
{
    const struct campaign_enrich *config = &a->check->campaign.enrich;
    if (!*config->url) return judge_row(a, row, NULL, page);
    if (a->ask.stream && a->n_asked < (unsigned)config->batch) {
        enrich_add(a->ask.stream, row);
        a->n_asked++;
    }
    return err_none();
}

static struct err read_page(struct reading *a, struct page *page)
{
    const struct db_cell *row;
    TRY(audience_page(a->audience, &page->rows));
    for (;;) {
        TRY(audience_row(a->audience, &row));
        if (!row) return err_none();
        TRY(take_row(a, row, page));
    }
}

static void open_ask(struct reading *a)
{
    const struct check *k = a->check;
    const struct campaign_enrich *config = &k->campaign.enrich;
    if (!*config->url || !k->console->db || !k->schema_right) return;
    ask_open(&a->ask, config, true, k->console->db, audience_columns(a->audience));
}

static void say_unusable(struct check *k, const struct page *page)
{
    if (page->unusable)
        check_say(k, CHECK_WARNING, "recipients",
                  "%" PRIu64 " of these cannot have a mail; the first: %s", page->unusable,
                  page->why);
}

static bool check_page(struct reading *a)
{
    struct check *k = a->check;
    struct page page = {0};
    struct buf columns;
    int64_t started = clock_boot_us();
    struct err e = campaign_audience_open(&k->console->settings, &k->campaign,
                                          clock_utc_us() / 1000000, &a->audience);
    if (!e.code) open_ask(a);
    if (!e.code) e = read_page(a, &page);
    if (!check_good(k, "audience", e)) return false;
    buf_init(&columns, TEXT_MAX);
    append_columns(audience_columns(a->audience), &columns);
    check_say(k, page.rows ? CHECK_OK : CHECK_WARNING, "audience", "%s%s; columns: %s",
              page.rows ? "the first page is read" : "it has nobody in it now",
              *k->campaign.audience.database ? ", from its own database" : "", buf_text(&columns));
    check_say(k, CHECK_OK, "page", "%" PRIu64 " rows, %.0f ms with connecting", page.rows,
              (double)(clock_boot_us() - started) / 1000);
    say_unusable(k, &page);
    buf_fini(&columns);
    return true;
}

static int find_plan_column(const struct db_result *r, const char *name)
{
    for (unsigned i = 0; i < db_columns(r); i++)
        if (strcasecmp(db_column(r, i).name, name) == 0) return (int)i;
    return -1;
}

static const char *plan_text(const struct db_result *r, const char *name)
{
    int i = find_plan_column(r, name);
    return i < 0 ? "" : db_text(r, (unsigned)i);
}

static void check_plan(struct reading *a)
{
    struct check *k = a->check;
    struct db_result *r;
    unsigned warnings = k->counts[CHECK_WARNING];
    bool led = false;
    char text[CHECK_PLAN_TEXT];
    struct err e = audience_explain(a->audience, &r);
    if (e.code) {
        check_say(k, CHECK_WARNING, "plan", "the server does not say how it reads a page: %s",
                  e.text);
        return;
    }
    while (db_next(r)) {
        struct check_plan_row row = {plan_text(r, "table"),
                                     plan_text(r, "type"),
                                     plan_text(r, "key"),
                                     plan_text(r, "Extra"),
                                     strtoull(plan_text(r, "rows"), NULL, 10),
                                     !led};
        led = true;
        if (check_plan_problem(&row, text)) check_say(k, CHECK_WARNING, "plan", "%s", text);
    }
    if (find_plan_column(r, "type") < 0)
        check_say(k, CHECK_WARNING, "plan",
                  "EXPLAIN has no column 'type': this server's answer cannot be judged");
    db_result_free(r);
    if (k->counts[CHECK_WARNING] == warnings)
        check_say(k, CHECK_OK, "plan", "each page begins where the last one ended");
}

/* ---- what a contact service knows */

static void know(struct columns *known, const char *name, enum db_kind kind)
{
    for (unsigned i = 0; i < known->n; i++) {
        if (strcmp(known->items[i].name, name) != 0) continue;
        if (kind == DB_KIND_JSON) known->items[i].kind = kind;
        return;
    }
    known->items = mem_resize(known->items, (known->n + 1) * sizeof *known->items);
    known->items[known->n++] = (struct db_column){.name = mem_copy_text(name), .kind = kind};
}

static void know_columns(struct reading *a)
{
    const struct recipient_columns *columns = audience_columns(a->audience);
    for (unsigned i = 0; i < columns->n; i++)
        know(&a->known, columns->items[i].name, columns->items[i].kind);
}

static void know_contact(struct columns *known, const struct value *vars)
{
    for (uint32_t i = 0; i < vars->len; i++) {
        enum value_kind kind = vars->fields[i].value.kind;
        bool nested = kind == VALUE_LIST || kind == VALUE_MAP;
        know(known, vars->fields[i].name, nested ? DB_KIND_JSON : DB_KIND_TEXT);
    }
}

static struct err judge_contacts(struct reading *a, struct page *page, unsigned *n_known)
{
    const struct db_cell *row;
    const struct contact *contact;
    enrich_end(a->ask.stream);
    for (;;) {
        TRY(ask_next(&a->ask, &row, &contact));
        if (!row) return err_none();
        TRY(judge_row(a, row, contact, page));
        if (!contact->vars) continue;
        ++*n_known;
        know_contact(&a->known, contact->vars);
    }
}

/* False where nothing can be said of the contacts' fields. */
static bool check_contacts(struct reading *a)
{
    struct check *k = a->check;
    struct page page = {0};
    struct buf fields;
    unsigned n_known = 0, n_columns = a->known.n;
    int64_t started = clock_boot_us();
    if (!a->n_asked) return false;
    if (!check_good(k, "contacts", judge_contacts(a, &page, &n_known))) return false;
    buf_init(&fields, TEXT_MAX);
    for (unsigned i = n_columns; i < a->known.n; i++)
        buf_append_format(&fields, "%s%.64s", i > n_columns ? ", " : "", a->known.items[i].name);
    check_say(k, n_known ? CHECK_OK : CHECK_WARNING, "contacts",
              "%u asked for, %u known, %.0f ms; fields beside the columns: %s", a->n_asked, n_known,
              (double)(clock_boot_us() - started) / 1000, buf_text(&fields));
    buf_fini(&fields);
    say_unusable(k, &page);
    return n_known > 0;
}

/* ---- names in templates */

struct names {
    struct buf missing, sections;
    const char *template;
};

static void note_name(void *arg, const struct template_node *node, enum check_names_problem problem)
{
    struct names *names = arg;
    char tag[TEMPLATE_NAME_MAX + 64];
    struct buf *out = problem == CHECK_NAMES_NO_SECTION ? &names->sections : &names->missing;
    snprintf(tag, sizeof tag, "{{%.*s}} in %s%s", (int)node->len, node->text, names->template,
             problem == CHECK_NAMES_NO_JSON ? " (no JSON)" : "");
    if (out->len && memmem(out->data, out->len, tag, strlen(tag))) return;
    buf_append_format(out, "%s%s", out->len ? ", " : "", tag);
}

/* Nobody knows the fields of contacts before they are asked for; and others than these may have
 * what these have not. */
static void say_names(struct check *k, struct names *names, bool answered)
{
    const char *place = answered ? "no column, and no field of these contacts," : "no column";
    bool elsewhere = *k->campaign.enrich.url, some = names->missing.len || names->sections.len;
    if (!some)
        check_say(k, CHECK_OK, "variables",
                  "every name in the templates that can be known has a column%s",
                  answered ? " or a field" : "");
    if (some && elsewhere && !answered) {
        check_say(k, CHECK_OK, "variables", "left to the contact service: %s%s%s",
                  buf_text(&names->missing), names->missing.len && names->sections.len ? ", " : "",
                  buf_text(&names->sections));
        return;
    }
    if (names->missing.len)
        check_say(k, elsewhere ? CHECK_WARNING : CHECK_ERROR, "variables",
                  "%s for %s: every recipient that comes to it would fail", place,
                  buf_text(&names->missing));
    if (names->sections.len)
        check_say(k, CHECK_WARNING, "variables",
                  "%s for the section %s: it is shown to nobody, or to all", place,
                  buf_text(&names->sections));
}

static void check_variables(struct reading *a, bool answered)
{
    struct names names = {0};
    const struct recipient_columns known = {.items = a->known.items, .n = a->known.n};
    struct message_template templates[MESSAGE_TEMPLATES];
    unsigned n = message_templates(a->check->message, templates);
    buf_init(&names.missing, TEXT_MAX);
    buf_init(&names.sections, TEXT_MAX);
    for (unsigned i = 0; i < n; i++) {
        names.template = templates[i].name;
        check_names(templates[i].template, &known, note_name, &names);
    }
    say_names(a->check, &names, answered);
    buf_fini(&names.missing);
    buf_fini(&names.sections);
}

void check_audience(struct check *k)
{
    struct reading a = {.check = k};
    if (check_page(&a)) {
        check_plan(&a);
        know_columns(&a);
        check_variables(&a, check_contacts(&a));
    }
    ask_close(&a.ask);
    for (unsigned i = 0; i < a.known.n; i++) free((char *)a.known.items[i].name);
    free(a.known.items);
    audience_close(a.audience);
}
