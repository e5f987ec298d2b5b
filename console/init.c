/* mailflock init: brings database and broker to what the programs expect. Everything in it is
 * idempotent; it prints what it did. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/campaign.h"
#include "common/durability.h"
#include "common/log.h"
#include "common/schema.h"
#include "common/start.h"
#include "console/console.h"

/* The server says nothing while it rebuilds a table. */
enum { MIGRATION_TIMEOUT_MS = 24 * 60 * 60 * 1000 };

static struct err create_database(struct console *c, const struct db_config *config)
{
    struct db_config without = *config;
    struct db *db;
    struct buf sql;
    without.name = NULL;
    TRY(start_db(&c->settings, &without, &db));
    buf_init(&sql, 1024);
    buf_append_text(&sql, "CREATE DATABASE IF NOT EXISTS ");
    db_quote_name(&sql, config->name);
    buf_append_text(&sql, " CHARACTER SET utf8mb4");
    struct err e = db_exec(db, &sql, NULL);
    buf_fini(&sql);
    db_close(db);
    if (e.code)
        return err_wrap(e, "database '%s' does not exist and cannot be created", config->name);
    printf("database: created %s\n", config->name);
    return err_none();
}

static struct err open_database(struct console *c)
{
    struct db_config config = console_db_config(c);
    config.io_timeout_ms = MIGRATION_TIMEOUT_MS;
    struct err e = start_db(&c->settings, &config, &c->db);
    if (e.native != CONSOLE_UNKNOWN_DATABASE || e.code != ERR_DB) return e;
    TRY(create_database(c, &config));
    return start_db(&c->settings, &config, &c->db);
}

static struct err init_schema(struct console *c)
{
    int applied;
    TRY(open_database(c));
    TRY(schema_migrate(c->db, &applied));
    TRY(schema_check(c->db));
    if (applied)
        printf("schema: %d migration%s applied\n", applied, applied == 1 ? "" : "s");
    else
        puts("schema: up to date");
    durability_warn(c->db);
    return err_none();
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* Adds the delays of one campaign that are not there yet. */
static struct err add_delays(const struct campaign *campaign, int *delays_s, int *count)
{
    for (size_t i = 0; i < campaign->delivery.delays.count; i++) {
        int delay_s = (int)(campaign->delivery.delays.ms[i] / 1000), j = 0;
        while (j < *count && delays_s[j] != delay_s) j++;
        if (j < *count) continue;
        if (*count == BROKER_DELAYS_MAX)
            return err_make(ERR_CONFIG, 0,
                            "the campaigns have more than %d different retry delays in all: let "
                            "them share some",
                            BROKER_DELAYS_MAX);
        delays_s[(*count)++] = delay_s;
    }
    return err_none();
}

static void tell_wrong(const struct err *e, unsigned *wrong)
{
    console_fail(e);
    ++*wrong;
}

/* Those of all campaigns. One that cannot be read is told and counted, and the others get their
 * queues all the same. */
static struct err collect_delays(const struct settings *settings, int delays_s[BROKER_DELAYS_MAX],
                                 int *count, unsigned *wrong)
{
    struct conf_texts names;
    struct err listed = campaign_list(settings, &names), e = err_none();
    if (listed.code == ERR_CONFIG) tell_wrong(&listed, wrong);
    for (size_t i = 0; i < names.count && !e.code; i++) {
        struct campaign campaign;
        struct err unread = campaign_read(settings, names.items[i], &campaign);
        if (unread.code) {
            tell_wrong(&unread, wrong);
            continue;
        }
        e = add_delays(&campaign, delays_s, count);
        campaign_free(&campaign);
    }
    conf_texts_free(&names);
    qsort(delays_s, (size_t)*count, sizeof *delays_s, compare_ints);
    if (listed.code && listed.code != ERR_CONFIG) return listed;
    return e;
}

/* One for each lane and transport. */
static struct err declare_queues(const struct settings *settings, struct broker *broker)
{
    const struct settings_transport *transports = settings->transports.items;
    char key[BROKER_KEY_SIZE];
    for (int i = 0; START_LANES[i]; i++)
        for (size_t t = 0; t < settings->transports.count; t++)
            TRY(start_queue(broker, start_key(key, START_LANES[i], transports[t].name)));
    return err_none();
}

static struct err declare(struct console *c, const int *delays_s, int count)
{
    struct broker *broker;
    const char *exchange = c->settings.contacts.exchange;
    struct broker_config config = start_broker_config(&c->settings, "mailflock init");
    TRY(start_broker(&c->settings, &config, &broker));
    struct err e = start_delays(&c->settings, broker, delays_s, count);
    if (!e.code) e = declare_queues(&c->settings, broker);
    if (!e.code && *exchange) e = start_contacts(&c->settings, broker);
    broker_close(broker);
    return e;
}

static struct err init_broker(struct console *c)
{
    const char *exchange = c->settings.contacts.exchange;
    int delays_s[BROKER_DELAYS_MAX], count = 0;
    unsigned wrong = 0;
    TRY(collect_delays(&c->settings, delays_s, &count, &wrong));
    TRY(declare(c, delays_s, count));
    printf("broker: lanes");
    for (int i = 0; START_LANES[i]; i++) printf(" %s", START_LANES[i]);
    puts(" ready");
    if (*exchange) printf("broker: events of exchange %s ready\n", exchange);
    if (!wrong) return err_none();
    return err_make(ERR_STATE, 0,
                    "%u campaign file%s wrong: run init again when that is mended, for the queues "
                    "of %s retry delays",
                    wrong, wrong == 1 ? " is" : "s are", wrong == 1 ? "its" : "their");
}

int command_init(struct console *c, int argc, char **argv)
{
    if (!console_options(&argc, argv, NULL, 0, 0, 0)) return CONSOLE_USAGE;
    struct err e = console_read_settings(c);
    if (!e.code) e = init_schema(c);
    if (!e.code) e = init_broker(c);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}
