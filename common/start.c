/* Connecting at start: patience with what may come up later, none with what is configured wrong. */
#include "common/start.h"

#include <stdio.h>

#include "common/chunk.h"
#include "common/clock.h"
#include "common/log.h"

enum { BACKOFF_BASE_MS = 100, BACKOFF_MAX_MS = 3000, RELEASE_DELAY_S = 1 };

const char *const START_LANES[] = {"bulk", "fast", NULL};

struct db_config start_db_config_at(const struct settings_database *d, const char *program)
{
    return (struct db_config){
        .host = d->host,
        .socket = d->socket,
        .name = d->name,
        .user = d->user,
        .password = d->password,
        .port = d->port,
        .tls = d->tls,
        .tls_verify = true,
        .ca_file = d->ca_file,
        .connect_timeout_ms = (int)d->connect_timeout_ms,
        .io_timeout_ms = 30000,
        .lock_wait_s = 3,
        .program = program,
    };
}

struct db_config start_db_config(const struct settings *settings, const char *program)
{
    return start_db_config_at(&settings->database, program);
}

struct broker_config start_broker_config(const struct settings *settings, const char *name)
{
    const struct settings_broker *b = &settings->broker;
    return (struct broker_config){
        .host = b->host,
        .port = b->port,
        .vhost = b->vhost,
        .user = b->user,
        .password = b->password,
        .tls = b->tls,
        .ca_file = *b->ca_file ? b->ca_file : NULL,
        .tls_verify = b->tls_verify,
        .heartbeat_s = (int)(b->heartbeat_ms / 1000),
        .connect_timeout_ms = (int)b->connect_timeout_ms,
        .max_body = CHUNK_BODY_MAX,
        .name = name,
    };
}

static bool db_hopeless(const struct err *e)
{
    return db_failure_of(e) == DB_FAILURE_REFUSED;
}

/* Whether to try again: sleeps before answering yes; puts the limit into the error when it is no.
 */
static bool try_again(const struct settings *settings, int64_t started_us, int *tries,
                      bool hopeless, struct err *e)
{
    if (hopeless) return false;
    int wait_ms = clock_backoff_ms((*tries)++, BACKOFF_BASE_MS, BACKOFF_MAX_MS);
    int64_t waited_ms = (clock_boot_us() - started_us) / 1000;
    if (waited_ms + wait_ms > settings->start_limit_ms) {
        *e = err_wrap(*e, "gave up after %lld s (start_limit)", (long long)waited_ms / 1000);
        return false;
    }
    log_warn("start", "msg=\"will try again\" after_ms=%d err=\"%s\"", wait_ms, e->text);
    clock_sleep_ms(wait_ms);
    return true;
}

struct err start_db(const struct settings *settings, const struct db_config *config,
                    struct db **out)
{
    int64_t started = clock_boot_us();
    struct err e;
    int tries = 0;
    do e = db_open(out, config);
    while (e.code && try_again(settings, started, &tries, db_hopeless(&e), &e));
    return e;
}

struct err start_broker(const struct settings *settings, const struct broker_config *config,
                        struct broker **out)
{
    int64_t started = clock_boot_us();
    struct err e;
    int tries = 0;
    do e = broker_open(out, config);
    while (e.code && try_again(settings, started, &tries, broker_err_is_permanent(&e), &e));
    return e;
}

int start_lease_s(const struct settings *settings)
{
    return (int)((settings->worker.lease_ms + 999) / 1000);
}

const char *start_key(char out[BROKER_KEY_SIZE], const char *lane, const char *transport)
{
    snprintf(out, BROKER_KEY_SIZE, "%.*s.%.*s", BROKER_NAME_MAX, lane, BROKER_NAME_MAX, transport);
    return out;
}

struct err start_queue(struct broker *broker, const char *key)
{
    return broker_declare_queue(broker, key, START_DELIVERY_LIMIT);
}

struct err start_delays(const struct settings *settings, struct broker *broker, const int *delays_s,
                        int n_delays)
{
    const int own[] = {RELEASE_DELAY_S, START_WAIT_DELAY_S, start_lease_s(settings)};
    TRY(broker_declare_delays(broker, own, sizeof own / sizeof *own));
    return n_delays ? broker_declare_delays(broker, delays_s, n_delays) : err_none();
}

struct err start_contacts(const struct settings *settings, struct broker *broker)
{
    static const char *const KEYS[] = {START_CONTACT_UPDATED, START_CONTACT_DELETED};
    return broker_subscribe(broker, START_CONTACTS_LANE, START_DELIVERY_LIMIT,
                            settings->contacts.exchange, KEYS, sizeof KEYS / sizeof *KEYS);
}
