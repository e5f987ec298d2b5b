/* mailflock check: everything that can be found out about a campaign before it runs, each from
 * where it would go wrong later: files, database, broker, audience. One attempt each; nothing is
 * written, but that the call of a contact service counts towards its pace. A check that needs one
 * which failed is left out. */
#include "console/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/campaign_content.h"
#include "common/chunk.h"
#include "common/clock.h"
#include "common/content_mail.h"
#include "common/durability.h"
#include "common/schema.h"
#include "common/start.h"
#include "console/check_plan.h"

enum { OUT_MAX = 1024 * 1024, LINE_SIZE = 700 };
/* A worker gives a chunk back by itself after that time (docs/operations.md); RabbitMQ's default
 * for consumer_timeout, which ends its channel, is 30 minutes. A relay is slow when a mail takes it
 * longer than that. */
enum { HOLD_MS = 20 * 60 * 1000, SLOW_MS = 1000 };

static const char *const RESULTS[] = {"ok", "warning", "error"};

/* ---- what is said */

static void append_json(struct check *k, enum check_result result, const char *what,
                        const char *text)
{
    buf_append_format(&k->out,
                      "%s{\"check\":\"%s\",\"result\":\"%s\",\"detail\":", k->said ? "," : "", what,
                      RESULTS[result]);
    if (!chunk_write_text(&k->out, text, strlen(text))) buf_append_text(&k->out, "null");
    buf_append_char(&k->out, '}');
}

void check_say(struct check *k, enum check_result result, const char *what, const char *format, ...)
{
    char text[LINE_SIZE], line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    console_text(line, sizeof line, text);
    if (k->json)
        append_json(k, result, what, line);
    else
        buf_append_format(&k->out, "%-7s %s: %s\n", RESULTS[result], what, line);
    k->said++;
    k->counts[result]++;
}

bool check_good(struct check *k, const char *what, struct err e)
{
    if (e.code) check_say(k, CHECK_ERROR, what, "%s", e.text);
    return !e.code;
}

/* ---- files */

static bool check_files(struct check *k)
{
    const struct settings *settings = &k->console->settings;
    if (!check_good(k, "settings", console_read_settings(k->console))) return false;
    check_say(k, CHECK_OK, "settings", "%s", k->console->config_file);
    if (!check_good(k, "campaign", campaign_read(settings, k->name, &k->campaign))) return false;
    check_say(k, CHECK_OK, "campaign", "%s/%s.cfg", settings->campaigns_dir, k->name);
    campaign_free(&k->campaign);
    struct err e = campaign_content_load(settings, k->name, &k->campaign);
    if (!e.code) {
        struct content content = campaign_content(&k->campaign);
        e = content_compile(&content, &k->message);
    }
    if (!check_good(k, "templates", e)) return false;
    struct message_template templates[MESSAGE_TEMPLATES];
    check_say(k, CHECK_OK, "templates", "%u compiled, subject and other headers included",
              message_templates(k->message, templates));
    return true;
}

static void check_schedule(struct check *k)
{
    const struct schedule *s = &k->campaign.schedule;
    char iso[CLOCK_ISO_SIZE];
    int64_t at_s;
    if (!s->expressions.count)
        check_say(k, CHECK_OK, "schedule", "none: only 'mailflock-producer run %s' begins a run",
                  k->name);
    else if (schedule_next(s, clock_utc_us() / 1000000, &at_s))
        check_say(k, CHECK_OK, "schedule", "next at %s, in time zone %s",
                  clock_iso_format(at_s, iso), s->timezone);
    else
        check_say(k, CHECK_WARNING, "schedule", "it asks for no run any more");
}

static void check_transport(struct check *k)
{
    const struct settings *settings = &k->console->settings;
    const struct settings_transport *t =
        settings_find_transport(settings, k->campaign.delivery.transport);
    int prefetch = settings->worker.prefetch, chunk = k->campaign.audience.chunk_size;
    int64_t mail_ms = check_hold_ms(prefetch, chunk, t->connections, HOLD_MS);
    check_say(k, CHECK_OK, "transport", "%s, %s, %d connections a worker", t->name, t->url,
              t->connections);
    if (mail_ms < SLOW_MS)
        check_say(
            k, CHECK_WARNING, "in hand",
            "%d chunks of %d over %d connections: a relay that takes %" PRId64
            " ms for a mail keeps them in hand for 20 minutes, and RabbitMQ ends the consumer "
            "after 30 (consumer_timeout): lower worker.prefetch or audience.chunk",
            prefetch, chunk, t->connections, mail_ms);
    else
        check_say(k, CHECK_OK, "in hand",
                  "%d chunks of %d over %d connections: within 20 minutes unless the relay takes "
                  "more than %" PRId64 " s for a mail",
                  prefetch, chunk, t->connections, mail_ms / 1000);
}

/* ---- database and broker */

static struct err read_version(struct db *db, char out[64])
{
    struct db_result *r;
    TRY(db_queryf(db, &r, "SELECT VERSION()"));
    snprintf(out, 64, "%s", db_next(r) ? db_text(r, 0) : "");
    db_result_free(r);
    return err_none();
}

static void check_durability(struct check *k)
{
    struct durability d;
    struct durability_problem problems[DURABILITY_PROBLEMS_MAX];
    if (!check_good(k, "durability", durability_read(k->console->db, &d))) return;
    int n = durability_judge(&d, problems);
    for (int i = 0; i < n; i++) check_say(k, CHECK_WARNING, "durability", "%s", problems[i].text);
    if (!n)
        check_say(k, CHECK_OK, "durability", "what is committed is kept, by the server's settings");
}

static void check_database(struct check *k)
{
    struct db_config config = console_db_config(k->console);
    char version[64];
    struct err e = db_open(&k->console->db, &config);
    if (!e.code) e = read_version(k->console->db, version);
    if (!check_good(k, "database", e)) return;
    check_say(k, CHECK_OK, "database", "%s on %s, as %s: %s", config.name,
              *config.socket ? config.socket : config.host, config.user, version);
    k->schema_right = check_good(k, "schema", schema_check(k->console->db));
    if (k->schema_right) check_say(k, CHECK_OK, "schema", "what these programs need");
    check_durability(k);
}

static void check_broker(struct check *k)
{
    struct broker *broker;
    struct broker_config config = start_broker_config(&k->console->settings, "mailflock check");
    char key[BROKER_KEY_SIZE], queue[BROKER_QUEUE_SIZE];
    uint32_t ready = 0, consumers = 0;
    if (!check_good(k, "broker", broker_open(&broker, &config))) return;
    check_say(k, CHECK_OK, "broker", "%s:%d, virtual host %s, as %s", config.host, config.port,
              config.vhost, config.user);
    start_key(key, k->campaign.delivery.lane, k->campaign.delivery.transport);
    broker_queue_name(queue, key);
    struct err e = broker_queue_counts(broker, queue, &ready, &consumers);
    if (e.code) e = err_wrap(e, "run 'mailflock init'");
    if (check_good(k, "lane", e))
        check_say(k, CHECK_OK, "lane", "%s: %" PRIu32 " messages wait, %" PRIu32 " workers", queue,
                  ready, consumers);
    broker_close(broker);
}

/* ---- the command */

static void check_campaign(struct check *k)
{
    if (!check_files(k)) return;
    check_schedule(k);
    check_transport(k);
    check_database(k);
    check_broker(k);
    check_audience(k);
}

int command_check(struct console *c, int argc, char **argv)
{
    struct check k = {.console = c};
    const struct console_option options[] = {{"--json", &k.json, NULL}};
    if (!console_options(&argc, argv, options, 1, 1, 1)) return CONSOLE_USAGE;
    k.name = argv[1];
    buf_init(&k.out, OUT_MAX);
    if (k.json) buf_append_text(&k.out, "{\"checks\":[");
    check_campaign(&k);
    if (k.json)
        buf_append_format(&k.out, "],\"warnings\":%u,\"errors\":%u}\n", k.counts[CHECK_WARNING],
                          k.counts[CHECK_ERROR]);
    fputs(buf_text(&k.out), stdout);
    buf_fini(&k.out);
    message_free(k.message);
    campaign_free(&k.campaign);
    return k.counts[CHECK_ERROR] ? CONSOLE_FAILED : CONSOLE_DONE;
}
