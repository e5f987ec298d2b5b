/* Events in, rows of the contact cache out. An event is acknowledged when its row is committed, or
 * when it was found bad and the dead letters have it for certain. All events in hand go into one
 * statement. Their order does not matter, nor whether one comes twice: the version decides
 * (common/contact_cache.h). Owns one connection to the broker and one to the database. */
#include "consumer/contacts.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/contact_cache.h"
#include "common/json_contacts.h"
#include "common/log.h"
#include "common/login.h"
#include "common/schema.h"
#include "common/start.h"
#include "consumer/stop_signal.h"

enum {
    EVENT_MAX = 1024 * 1024,              /* bytes of a contact */
    READ_MAX = EVENT_MAX + EVENT_MAX / 8, /* what is larger is rejected unread */
    IN_HAND_MAX = 64,                     /* times READ_MAX: what it may need while it waits */
    POLL_MS = 500,
    AGAIN_US = 500 * 1000, /* until a dead letter is published again */
    BACKOFF_BASE_MS = 100,
    BACKOFF_MAX_MS = 5000,
    UPKEEP_US = 60 * 1000000,
    REASON_SIZE = 256,
};

/* A delivery in hand. */
struct event {
    uint64_t delivery_tag;
    struct buf body;
    bool deleted;
    struct contact_text contact; /* borrows from body */
    bool bad;                    /* to the dead letters, for this reason: */
    char reason[REASON_SIZE], message_id[256];
    bool published;
    uint64_t publish_tag;
    int64_t not_before_us;
};

/* A connection that is lost is NULL, and tried again at a moment. */
struct contacts {
    const struct settings *settings;
    int signal_fd;
    struct db_config db_config;
    struct broker_config broker_config;
    struct login db_login, broker_login;
    struct err refused; /* why there is no use in going on */
    struct db *db;
    struct broker *broker;
    bool consuming;
    int db_tries, broker_tries;
    int64_t db_at_us, broker_at_us, upkeep_at_us;
    struct event events[IN_HAND_MAX];
    unsigned n;
    uint64_t n_stored, n_bad; /* since the last summary */
};

/* ---- events in hand */

static void forget_all(struct contacts *c)
{
    for (unsigned i = 0; i < c->n; i++) buf_fini(&c->events[i].body);
    c->n = 0;
}

static void lose_broker(struct contacts *c, const struct err *e)
{
    log_warn("contacts", "msg=\"no broker\" tries=%d err=\"%s\"", c->broker_tries, e->text);
    broker_close(c->broker);
    c->broker = NULL;
    c->consuming = false;
    forget_all(c); /* all of them come again */
    c->broker_at_us = clock_boot_us() +
                      clock_backoff_ms(c->broker_tries++, BACKOFF_BASE_MS, BACKOFF_MAX_MS) * 1000;
}

/* Acknowledges the event and takes the last one into its place. */
static void end_event(struct contacts *c, unsigned i)
{
    struct err e = broker_ack(c->broker, c->events[i].delivery_tag);
    buf_fini(&c->events[i].body);
    c->events[i] = c->events[--c->n];
    if (e.code) lose_broker(c, &e);
}

static struct err read_event(struct event *event, const char *key)
{
    event->deleted = strcmp(key, START_CONTACT_DELETED) == 0;
    if (!event->deleted && strcmp(key, START_CONTACT_UPDATED) != 0)
        return err_make(ERR_INPUT, 0, "there is no event '%.100s'", key);
    if (event->body.len > EVENT_MAX)
        return err_make(ERR_TOO_BIG, 0, "%s: it has %zu bytes, more than %d", key, event->body.len,
                        EVENT_MAX);
    struct err e = contact_read_event(buf_text(&event->body), event->body.len, &event->contact);
    return e.code ? err_wrap(e, "%s", key) : e;
}

static void reject_unread(struct contacts *c, const struct broker_event *delivery)
{
    log_error("contacts", "msg=\"dead letter, too large to read\" bytes=%zu", delivery->body_len);
    struct err e = broker_reject(c->broker, delivery->delivery_tag);
    if (e.code) lose_broker(c, &e);
}

static void take_delivery(struct contacts *c, const struct broker_event *delivery)
{
    if (c->n == IN_HAND_MAX) {
        struct err e =
            err_make(ERR_BROKER, 0, "RabbitMQ delivered more than the %u it was asked for", c->n);
        lose_broker(c, &e);
        return;
    }
    if (!delivery->body) {
        reject_unread(c, delivery);
        return;
    }
    struct event *event = &c->events[c->n++];
    *event = (struct event){.delivery_tag = delivery->delivery_tag};
    buf_init(&event->body, READ_MAX);
    buf_append(&event->body, delivery->body, delivery->body_len);
    struct err e = read_event(event, delivery->routing_key);
    if (!e.code) return;
    event->bad = true;
    c->n_bad++;
    snprintf(event->reason, sizeof event->reason, "%s", e.text);
    log_text(event->message_id, sizeof event->message_id, delivery->message_id,
             strlen(delivery->message_id));
    log_error("contacts", "msg=\"dead letter\" bytes=%zu reason=\"%s\"", event->body.len,
              event->reason);
}

/* ---- good ones: to the cache */

static struct err store(struct contacts *c)
{
    struct contact_entry entries[IN_HAND_MAX];
    size_t n = 0;
    for (unsigned i = 0; i < c->n; i++) {
        const struct event *event = &c->events[i];
        if (event->bad) continue;
        const struct contact_text *contact = &event->contact;
        entries[n++] = (struct contact_entry){
            .id = contact->id,
            .id_len = strlen(contact->id),
            .version = contact->version,
            .deleted = event->deleted,
            .json = event->deleted ? NULL : contact->json,
            .json_len = contact->json_len,
        };
    }
    if (!n) return err_none();
    c->n_stored += n;
    return contact_cache_store(c->db, c->settings->contacts.cache, entries, n, NULL);
}

static void lose_db(struct contacts *c, const struct err *e)
{
    log_warn("contacts", "msg=\"no database\" tries=%d err=\"%s\"", c->db_tries, e->text);
    if (db_failure_of(e) != DB_FAILURE_REFUSED)
        login_accepted(&c->db_login);
    else if (!login_refused(&c->db_login))
        c->refused = *e;
    c->db_config.password = login_password(&c->db_login);
    db_close(c->db);
    c->db = NULL;
    c->db_at_us =
        clock_boot_us() + clock_backoff_ms(c->db_tries++, BACKOFF_BASE_MS, BACKOFF_MAX_MS) * 1000;
}

static void store_all(struct contacts *c)
{
    if (!c->db) return;
    struct err e = store(c);
    if (e.code) {
        lose_db(c, &e);
        return;
    }
    c->db_tries = 0;
    for (unsigned i = c->n; i-- && c->broker;)
        if (i < c->n && !c->events[i].bad) end_event(c, i);
}

/* ---- bad ones: to the dead letters */

static void publish(struct contacts *c, struct event *event)
{
    struct broker_header reason = {"x-mailflock-reason", event->reason};
    struct broker_message m = {.message_id = event->message_id,
                               .exchange = BROKER_EXCHANGE_DEAD,
                               .routing_key = START_CONTACTS_LANE,
                               .body = event->body.data,
                               .body_len = event->body.len,
                               .headers = &reason,
                               .n_headers = 1};
    struct err e = broker_publish(c->broker, &m, &event->publish_tag);
    event->published = !e.code;
    if (e.code == ERR_TIMEOUT)
        event->not_before_us = clock_boot_us() + AGAIN_US;
    else if (e.code)
        lose_broker(c, &e);
}

static void publish_bad(struct contacts *c)
{
    int64_t now_us = clock_boot_us();
    for (unsigned i = 0; i < c->n && c->broker; i++) {
        struct event *event = &c->events[i];
        if (event->bad && !event->published && now_us >= event->not_before_us) publish(c, event);
    }
}

/* The dead letters have it, or do not. */
static void published(struct contacts *c, const struct broker_event *answer)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct event *event = &c->events[i];
        if (!event->published || event->publish_tag != answer->publish_tag) continue;
        if (answer->kind == BROKER_CONFIRMED) {
            end_event(c, i);
            return;
        }
        event->published = false;
        event->not_before_us = clock_boot_us() + AGAIN_US;
        return;
    }
}

/* ---- connections */

static struct err subscribe(struct contacts *c)
{
    TRY(start_contacts(c->settings, c->broker));
    TRY(broker_consume(c->broker, 0, START_CONTACTS_LANE, IN_HAND_MAX));
    c->consuming = true;
    return err_none();
}

static struct err open_broker(struct contacts *c)
{
    struct err e = broker_open(&c->broker, &c->broker_config);
    if (!e.code || !broker_err_is_permanent(&e))
        login_accepted(&c->broker_login);
    else if (!login_refused(&c->broker_login))
        c->refused = e;
    c->broker_config.password = login_password(&c->broker_login);
    return e;
}

/* Prefetch counts for each consumer anew: after the broker ended one, the next begins only when
 * nothing is in hand. That may be in no queue any more, and is not thrown away for it. */
static void mend_broker(struct contacts *c)
{
    if (c->broker && (c->consuming || c->n)) return;
    if (clock_boot_us() < c->broker_at_us) return;
    struct err e = c->broker ? err_none() : open_broker(c);
    if (!e.code) e = subscribe(c);
    if (e.code) {
        lose_broker(c, &e);
        return;
    }
    c->broker_tries = 0;
    log_info("contacts", "msg=\"connected\" exchange=\"%s\"", c->settings->contacts.exchange);
}

static void mend_db(struct contacts *c)
{
    if (c->db || clock_boot_us() < c->db_at_us) return;
    struct err e = db_open(&c->db, &c->db_config);
    if (e.code)
        lose_db(c, &e);
    else
        login_accepted(&c->db_login);
}

static void on_event(struct contacts *c, const struct broker_event *event)
{
    switch (event->kind) {
    case BROKER_DELIVERY:
        take_delivery(c, event);
        break;
    case BROKER_CONFIRMED:
    case BROKER_REFUSED:
        published(c, event);
        break;
    case BROKER_CANCELLED:
        log_warn("contacts", "msg=\"the broker ended our consumer\" reason=\"%s\"", event->reason);
        c->consuming = false;
        break;
    default:
        break;
    }
}

static void take_events(struct contacts *c)
{
    struct broker_event event;
    while (c->broker) { /* prefetch bounds what is in hand */
        struct err e = broker_next(c->broker, 0, &event);
        if (e.code) lose_broker(c, &e);
        if (e.code || event.kind == BROKER_NONE) return;
        on_event(c, &event);
    }
}

/* Once a minute: what is old goes, and what was done is told. */
static void keep_up(struct contacts *c)
{
    uint64_t n;
    int64_t now_us = clock_boot_us();
    if (!c->db || now_us < c->upkeep_at_us) return;
    c->upkeep_at_us = now_us + UPKEEP_US;
    struct err e = contact_cache_purge(c->db, c->settings->contacts.keep_ms, &n);
    if (e.code) {
        lose_db(c, &e);
        return;
    }
    if (c->n_stored || c->n_bad || n)
        log_info("contacts", "msg=\"events\" stored=%llu bad=%llu purged=%llu",
                 (unsigned long long)c->n_stored, (unsigned long long)c->n_bad,
                 (unsigned long long)n);
    c->n_stored = c->n_bad = 0;
}

/* ---- the loop */

/* False once there was a signal. */
static bool wait_for_work(struct contacts *c)
{
    struct signalfd_siginfo info;
    struct pollfd fds[2] = {{.fd = c->signal_fd, .events = POLLIN},
                            {.fd = c->broker ? broker_fd(c->broker) : -1, .events = POLLIN}};
    bool at_once = c->broker && broker_has_buffered(c->broker);
    bool soon = !c->broker || !c->db || c->n;
    poll(fds, 2, at_once ? 0 : soon ? BACKOFF_BASE_MS : POLL_MS);
    return !(fds[0].revents && read(c->signal_fd, &info, sizeof info) == sizeof info);
}

static struct err begin(struct contacts *c)
{
    if (!*c->settings->contacts.exchange)
        return err_make(ERR_CONFIG, 0,
                        "contacts.exchange is not set: there are no events to take; see "
                        "docs/enrichment.md");
    TRY(start_db(c->settings, &c->db_config, &c->db));
    TRY(schema_check(c->db));
    TRY(start_broker(c->settings, &c->broker_config, &c->broker));
    return subscribe(c);
}

static void loop(struct contacts *c)
{
    do {
        mend_broker(c);
        mend_db(c);
        take_events(c);
        store_all(c);
        publish_bad(c);
        keep_up(c);
    } while (!c->refused.code && wait_for_work(c));
}

struct err contacts_run(const struct settings *settings)
{
    struct contacts *c = mem_alloc(sizeof *c);
    c->settings = settings;
    c->db_config = start_db_config(settings, "mailflock-consumer --contacts");
    c->broker_config = start_broker_config(settings, "mailflock-consumer --contacts");
    c->broker_config.max_body = READ_MAX;
    login_init(&c->db_login, settings, LOGIN_DATABASE);
    login_init(&c->broker_login, settings, LOGIN_BROKER);
    struct err e = begin(c);
    if (!e.code) {
        log_info("contacts", "msg=\"ready\" exchange=\"%s\" cache=%s", settings->contacts.exchange,
                 settings->contacts.cache);
        c->signal_fd = stop_signal_watch();
        loop(c);
        close(c->signal_fd);
        log_info("contacts", "msg=\"stopped\"");
        e = c->refused;
    }
    broker_close(c->broker); /* what is in hand goes back */
    db_close(c->db);
    forget_all(c);
    login_fini(&c->db_login);
    login_fini(&c->broker_login);
    free(c);
    return e;
}
