/* The table of config/campaigns/NAME.cfg, the rules between its keys, and its template files.
 * Touches no database; what becomes of the files is for campaign_texts.c and campaign_files.c. */
#include "common/campaign.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/address.h"
#include "common/audience_sql.h"
#include "common/campaign_enrich.h"
#include "common/campaign_files.h"
#include "common/campaign_texts.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
enum { FILE_MAX = 1024 };  /* bytes of a file's name */
enum { HEADER_MAX = 900 }; /* a header value must stay below a line's 998 octets (RFC 5322) */

static const char *const lanes[] = {"bulk", "fast", NULL};
static const char *const crash_policies[] = {"hold", "resend", NULL};
static const char *const methods[] = {"POST", "PUT", NULL};

#define AT(field) offsetof(struct campaign, field)
static const struct conf_key keys[] = {
    {"schedule", CONF_TEXT_LIST, 0, AT(schedule.expressions), "", 1, 200, NULL, NULL,
     "When runs begin: cron expressions of five fields, or `@daily` and the like "
     "([schedules.md](schedules.md)). Empty: only `mailflock-producer run` begins one."},
    {"timezone", CONF_TEXT, 0, AT(schedule.timezone), "UTC", 1, 64, NULL, NULL,
     "The zone whose clocks `schedule` means, as in `Asia/Seoul`."},
    {"start_within", CONF_DURATION, 0, AT(schedule.start_within_ms), "15m", MINUTE, DAY, NULL, NULL,
     "How late a scheduled run may begin, after an outage for example. Later it is recorded as "
     "missed and never sent. Whole seconds."},
    {"audience.sql", CONF_TEXT, CONF_REQUIRED | CONF_LINES, AT(audience.sql), NULL, 1, 0, NULL,
     NULL,
     "The SELECT that yields the recipients, a page at a time: columns `id` and `email`, and one "
     "for each variable of the templates. It uses `:after` (the last id of the page before) and "
     "`:limit`, may use `:scheduled_at`, and is ordered by the id. It can only read."},
    {"audience.database", CONF_TEXT, 0, AT(audience.database), "", 0, 64, NULL, NULL,
     "Where the SELECT runs: a name of `databases` in the settings, such as a read replica; empty: "
     "in the ledger's database."},
    {"audience.json", CONF_TEXT_LIST, 0, AT(audience.json), "", 1, 64, NULL, NULL,
     "Columns whose text is JSON although the database does not call them so."},
    {"audience.chunk", CONF_INT, 0, AT(audience.chunk_size), "500", 1, 1000, NULL, NULL,
     "Recipients in one chunk: what travels as one message and is claimed by one worker."},
    {"enrich.url", CONF_TEXT, 0, AT(enrich.url), "", 0, 1024, NULL, NULL,
     "An HTTP service that is asked for each recipient's data before the mail is made: see "
     "[enrichment.md](enrichment.md). Empty: nobody is asked."},
    {"enrich.method", CONF_TEXT, 0, AT(enrich.method), "POST", 0, 0, methods, NULL,
     "How it is asked."},
    {"enrich.batch", CONF_INT, 0, AT(enrich.batch), "300", 1, 1000, NULL, NULL, "Ids in one call."},
    {"enrich.delay", CONF_DURATION, 0, AT(enrich.delay_ms), "200ms", 0, HOUR, NULL, NULL,
     "The least time from one call to the next, of all producers together."},
    {"enrich.concurrency", CONF_INT, 0, AT(enrich.concurrency), "1", 1, 16, NULL, NULL,
     "Calls under way at a time."},
    {"enrich.timeout", CONF_DURATION, 0, AT(enrich.timeout_ms), "10s", 100, 10 * MINUTE, NULL, NULL,
     "For one call, connecting included."},
    {"enrich.retry", CONF_DURATION_LIST, 0, AT(enrich.retry), "1s,2s,5s,10s,30s", 10, HOUR, NULL,
     NULL,
     "The waits between the tries of a call while the service is down or busy; the last one "
     "repeats until `start_within` is over. A longer Retry-After counts instead."},
    {"enrich.headers", CONF_TEXT_LIST, 0, AT(enrich.headers), "", 1, 4096, NULL, NULL,
     "Headers for the service, such as `\"X-Team: news\"`. Not for secrets."},
    {"enrich.headers_file", CONF_TEXT, 0, AT(enrich.headers_file), "", 0, 2048, NULL, NULL,
     "A file with more headers, one a line, such as `Authorization: Bearer ...`; relative to the "
     "directory of the campaign's file."},
    {"enrich.ca_file", CONF_TEXT, 0, AT(enrich.ca_file), "", 0, 2048, NULL, NULL,
     "Certificates to trust, PEM; empty: the system's."},
    {"enrich.cache_ttl", CONF_DURATION, 0, AT(enrich.cache_ttl_ms), "0s", 0, 366LL * DAY, NULL,
     NULL, "How long an answer, or an event, spares a call for the same id; `0s`: never."},
    {"enrich.cache", CONF_TEXT, 0, AT(enrich.cache), "", 0, 64, NULL, NULL,
     "The name under which answers are kept. Campaigns that ask the same service can share one; "
     "empty: the campaign's own."},
    {"content.from", CONF_TEXT, CONF_REQUIRED, AT(content.from), NULL, 1, HEADER_MAX, NULL, NULL,
     "The sender: `Name <address>` or an address."},
    {"content.reply_to", CONF_TEXT, 0, AT(content.reply_to), "", 0, HEADER_MAX, NULL, NULL,
     "Where answers go; empty: to the sender."},
    {"content.to_name", CONF_TEXT, 0, AT(content.to_name), "", 0, HEADER_MAX, NULL, NULL,
     "The name beside the recipient's address; a template."},
    {"content.subject", CONF_TEXT, CONF_REQUIRED, AT(content.subject), NULL, 1, HEADER_MAX, NULL,
     NULL, "The subject; a template."},
    {"content.text", CONF_TEXT, 0, AT(content.text_file), "", 0, FILE_MAX, NULL, NULL,
     "The file of the plain text part, in the templates directory."},
    {"content.html", CONF_TEXT, 0, AT(content.html_file), "", 0, FILE_MAX, NULL, NULL,
     "The file of the HTML part, in the templates directory."},
    {"content.markdown", CONF_TEXT, 0, AT(content.markdown_file), "", 0, FILE_MAX, NULL, NULL,
     "The file of a letter in Markdown, which becomes the HTML part. Text, HTML and Markdown: at "
     "least one is given, and not both of the last two."},
    {"content.layout", CONF_TEXT, 0, AT(content.layout_file), "", 0, FILE_MAX, NULL, NULL,
     "The file of the HTML around the Markdown; `{{> content}}` is where the letter goes."},
    {"content.derive_text", CONF_BOOL, 0, AT(content.derive_text), "true", 0, 0, NULL, NULL,
     "Make the plain text part from the HTML where `content.text` is not given."},
    {"content.images", CONF_TEXT_LIST, 0, AT(content.image_files), "", 1, FILE_MAX, NULL, NULL,
     "Files of images that the HTML shows as `cid:NAME`, in the templates directory."},
    {"content.attachments", CONF_TEXT_LIST, 0, AT(content.attachment_files), "", 1, FILE_MAX, NULL,
     NULL, "Files that go with every mail, in the templates directory. With the images, 5 MiB."},
    {"content.list_unsubscribe", CONF_TEXT, 0, AT(content.list_unsubscribe), "", 0, HEADER_MAX,
     NULL, NULL,
     "The `https://` address (or `mailto:`) that ends a subscription; a template. Large mailbox "
     "providers ask bulk senders for it."},
    {"delivery.transport", CONF_TEXT, 0, AT(delivery.transport), "relay", 1, 64, NULL, NULL,
     "The transport in `mailflock.cfg` that sends this campaign."},
    {"delivery.lane", CONF_TEXT, 0, AT(delivery.lane), "bulk", 0, 0, lanes, NULL,
     "The queue: `fast` is for few, urgent mails."},
    {"delivery.on_crash", CONF_CHOICE, 0, AT(delivery.on_crash), "hold", 0, 0, crash_policies, NULL,
     "What becomes of the mails that were on the way when a worker died: `hold` lists them as "
     "unknown and never sends a second copy, `resend` sends them again."},
    {"delivery.retry.delays", CONF_DURATION_LIST, 0, AT(delivery.delays), "1m,5m,30m,2h", SECOND,
     7 * DAY, NULL, NULL,
     "The waits before the second, third and further attempts; the last one repeats. Whole "
     "seconds. Where the relay names a longer time, the next longer of these waits."},
    {"delivery.retry.max_attempts", CONF_INT, 0, AT(delivery.max_attempts), "5", 1, 20, NULL, NULL,
     "Attempts for one recipient before it counts as failed."},
    {"delivery.retry.max_age", CONF_DURATION, 0, AT(delivery.max_age_ms), "1d", MINUTE, 30LL * DAY,
     NULL, NULL, "After this, counted from the scheduled moment, nothing is tried again."},
};
#undef AT
static const struct conf_table table = {keys, sizeof keys / sizeof *keys, sizeof(struct campaign),
                                        false};

/* What the reading of one campaign needs at every step. */
struct reading {
    const struct settings *settings;
    const char *file;
    struct campaign *campaign;
};

#define WRONG(r, path, ...) conf_error((r)->file, &table, path, __VA_ARGS__)

/* The first field of each is its name. */
static void list_names(const struct conf_groups *groups, size_t size, struct buf *out)
{
    for (size_t i = 0; i < groups->count; i++)
        buf_append_format(out, "%s%s", i ? ", " : "", *(char **)((char *)groups->items + i * size));
    if (groups->count == 0) buf_append_text(out, "none");
}

static struct err not_among(const struct reading *r, const char *path, const char *name,
                            const struct conf_groups *groups, size_t size)
{
    struct buf known;
    buf_init(&known, 200);
    list_names(groups, size, &known);
    struct err e = WRONG(r, path, "'%s' is not among those of the settings; there is: %s", name,
                         buf_text(&known));
    buf_fini(&known);
    return e;
}

static struct err check_schedule(const struct reading *r)
{
    struct schedule *s = &r->campaign->schedule;
    size_t wrong;
    char item[32];
    if (s->start_within_ms % SECOND) return WRONG(r, "start_within", "must be whole seconds");
    struct err e = schedule_compile(s, &wrong);
    if (!e.code) return e;
    if (wrong == s->expressions.count) return WRONG(r, "timezone", "%s", e.text);
    snprintf(item, sizeof item, "schedule.[%zu]", wrong);
    return WRONG(r, item, "'%s': %s", s->expressions.items[wrong], e.text);
}

static struct err check_audience(const struct reading *r)
{
    const struct campaign *c = r->campaign;
    const char *problem = audience_sql_problem(c->audience.sql), *database = c->audience.database;
    if (problem) return WRONG(r, "audience.sql", "%s", problem);
    if (settings_find_database(r->settings, database)) return err_none();
    return not_among(r, "audience.database", database, &r->settings->databases,
                     sizeof(struct settings_audience_database));
}

static struct err check_mailbox(const struct reading *r, const char *path, const char *text)
{
    struct mailbox mailbox;
    struct err e = mailbox_parse(text, strlen(text), &mailbox);
    if (!e.code) return e;
    return WRONG(r, path, "%s; write Name <news@example.com> or news@example.com", e.text);
}

static struct err check_content(const struct reading *r)
{
    const struct campaign *c = r->campaign;
    TRY(check_mailbox(r, "content.from", c->content.from));
    if (c->content.reply_to[0]) TRY(check_mailbox(r, "content.reply_to", c->content.reply_to));
    const char *markdown = c->content.markdown_file;
    if (!c->content.text_file[0] && !c->content.html_file[0] && !markdown[0])
        return WRONG(r, "content",
                     "has neither text nor html nor markdown; name at least one file");
    if (c->content.html_file[0] && markdown[0])
        return WRONG(r, "content.markdown", "becomes the HTML, which content.html gives already");
    if (c->content.layout_file[0] && !markdown[0])
        return WRONG(r, "content.layout", "is around content.markdown, which is not given");
    const char *list = c->content.list_unsubscribe;
    if (list[0] && strncmp(list, "https://", 8) != 0 && strncmp(list, "http://", 7) != 0 &&
        strncmp(list, "mailto:", 7) != 0 && strncmp(list, "{{", 2) != 0)
        return WRONG(r, "content.list_unsubscribe", "must begin with https:// or mailto:");
    return err_none();
}

static struct err check_delivery(const struct reading *r)
{
    const struct campaign *c = r->campaign;
    const char *name = c->delivery.transport;
    if (!settings_find_transport(r->settings, name))
        return not_among(r, "delivery.transport", name, &r->settings->transports,
                         sizeof(struct settings_transport));
    if (c->delivery.delays.count == 0)
        return WRONG(r, "delivery.retry.delays", "must hold at least one duration");
    for (size_t i = 0; i < c->delivery.delays.count; i++)
        if (c->delivery.delays.ms[i] % SECOND)
            return WRONG(r, "delivery.retry.delays", "must be whole seconds");
    return err_none();
}

static struct err read_files(const struct reading *r)
{
    const char *key = NULL;
    struct err e = campaign_texts_read(r->settings, r->campaign, &key);
    if (!e.code) e = campaign_files_read(r->settings, r->campaign, &key);
    if (!e.code) return e;
    return key ? WRONG(r, key, "%s", e.text) : err_wrap(e, "%s", r->file);
}

static struct err complete(const struct reading *r)
{
    TRY(check_schedule(r));
    TRY(check_audience(r));
    TRY(campaign_enrich_complete(r->file, &table, r->campaign));
    TRY(check_content(r));
    TRY(check_delivery(r));
    return read_files(r);
}

bool campaign_name_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    size_t len = strlen(name);
    return len <= CAMPAIGN_NAME_MAX && strpbrk(name, letters) &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static struct err read_file(const struct settings *settings, const char *name,
                            struct err (*check)(const struct reading *r), struct campaign *campaign)
{
    memset(campaign, 0, sizeof *campaign);
    if (!campaign_name_valid(name))
        return err_make(ERR_CONFIG, 0,
                        "'%.80s' cannot be a campaign's name: lower-case letters, digits and "
                        "hyphens, at most %d, and at least one letter",
                        name, CAMPAIGN_NAME_MAX);
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/%s.cfg", settings->campaigns_dir, name);
    struct err e = conf_read(file, &table, campaign);
    if (e.code) return e.code == ERR_IO ? err_wrap(e, "campaign %s", name) : e;
    campaign->name = mem_copy_text(name);
    e = check(&(struct reading){.settings = settings, .file = file, .campaign = campaign});
    if (e.code) campaign_free(campaign);
    return e;
}

struct err campaign_read(const struct settings *settings, const char *name,
                         struct campaign *campaign)
{
    return read_file(settings, name, complete, campaign);
}

struct err campaign_read_schedule(const struct settings *settings, const char *name,
                                  struct campaign *campaign)
{
    return read_file(settings, name, check_schedule, campaign);
}

void campaign_free(struct campaign *campaign)
{
    conf_free(&table, campaign);
    schedule_free(&campaign->schedule);
    campaign_enrich_free(&campaign->enrich);
    free(campaign->name);
    arena_fini(&campaign->content.memory);
    arena_fini(&campaign->content.file_memory);
    memset(campaign, 0, sizeof *campaign);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Hidden files are editors' business. */
static struct err add_name(const char *dir, const char *file, struct conf_texts *names)
{
    size_t len = strlen(file);
    if (file[0] == '.' || len < 4 || strcmp(file + len - 4, ".cfg") != 0) return err_none();
    char *name = mem_copy_text(file);
    name[len - 4] = '\0';
    if (!campaign_name_valid(name)) {
        free(name);
        return err_make(ERR_CONFIG, 0,
                        "%s/%s: a campaign's file is named with lower-case letters, digits and "
                        "hyphens, at most %d, with at least one letter, and .cfg",
                        dir, file, CAMPAIGN_NAME_MAX);
    }
    names->items = mem_resize(names->items, (names->count + 1) * sizeof *names->items);
    names->items[names->count++] = name;
    return err_none();
}

struct err campaign_list(const struct settings *settings, struct conf_texts *names)
{
    *names = (struct conf_texts){0};
    DIR *dir = opendir(settings->campaigns_dir);
    if (!dir)
        return err_make(ERR_IO, errno, "the campaigns directory %s: %s", settings->campaigns_dir,
                        strerror(errno));
    struct err first = err_none();
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct err e = add_name(settings->campaigns_dir, entry->d_name, names);
        if (!first.code) first = e;
    }
    closedir(dir);
    if (names->count) qsort(names->items, names->count, sizeof *names->items, compare_texts);
    return first;
}

void campaign_help(struct buf *out, enum conf_help form)
{
    conf_help(&table, form, out);
}
