/* The table of config/mailflock.cfg and the rules between its keys. Reading itself is the work of
 * common/config.h. */
#include "common/settings.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

static const char *const formats[] = {"text", "json", NULL};
static const char *const lanes[] = {"bulk", "fast", NULL};
static const char *const transport_types[] = {"smtp", NULL};
static const char *const tls_uses[] = {"off", "try", "require", NULL};

#define AT(field) offsetof(struct settings_transport, field)
static const struct conf_key transport_keys[] = {
    {"type", CONF_CHOICE, 0, AT(type), "smtp", 0, 0, transport_types, NULL, "How mails leave."},
    {"url", CONF_TEXT, CONF_REQUIRED, AT(url), NULL, 1, 512, NULL, NULL,
     "The relay: `smtp://host:port` (port 25 when not given) or, with TLS from the first byte, "
     "`smtps://host:port` (465)."},
    {"tls", CONF_CHOICE, 0, AT(tls), "require", 0, 0, tls_uses, NULL,
     "STARTTLS on an `smtp://` url: `require` sends nothing without it, `try` uses it where the "
     "relay offers it, `off` never does. Unencrypted mail has to be asked for. `smtps://` is "
     "always encrypted."},
    {"tls_verify", CONF_BOOL, 0, AT(tls_verify), "true", 0, 0, NULL, NULL,
     "Check the relay's certificate and name."},
    {"ca_file", CONF_TEXT, 0, AT(ca_file), "", 0, 0, NULL, NULL,
     "Certificates to trust, PEM; empty: the system's."},
    {"user", CONF_TEXT, 0, AT(user), "", 0, 0, NULL, NULL, "For AUTH; empty: no AUTH."},
    {"password", CONF_TEXT, CONF_SECRET, AT(password), "", 0, 0, NULL, NULL, "For AUTH."},
    {"allow_plaintext_login", CONF_BOOL, 0, AT(allow_plaintext_login), "false", 0, 0, NULL, NULL,
     "Allow a password with `tls` = `try` or `off`: whoever can read or change the traffic to the "
     "relay gets it."},
    {"connections", CONF_INT, 0, AT(connections), "20", 1, 1000, NULL, NULL,
     "Connections that one worker keeps to the relay."},
    {"messages_per_connection", CONF_INT, 0, AT(messages_per_connection), "1000", 0, 1000000, NULL,
     NULL, "Messages after which a connection is replaced; 0: no limit."},
    {"connect_timeout", CONF_DURATION, 0, AT(connect_timeout_ms), "30s", SECOND, 10 * MINUTE, NULL,
     NULL, "For connecting, TLS and AUTH together."},
    {"reply_timeout", CONF_DURATION, 0, AT(reply_timeout_ms), "5m", SECOND, 30 * MINUTE, NULL, NULL,
     "For the reply to a command (RFC 5321, 4.5.3.2)."},
    {"final_reply_timeout", CONF_DURATION, 0, AT(final_reply_timeout_ms), "10m", SECOND,
     60 * MINUTE, NULL, NULL,
     "For the reply to a whole message (RFC 5321, 4.5.3.2.6). A mail given up too early may have "
     "been accepted: it is recorded as unknown."},
    {"helo", CONF_TEXT, 0, AT(helo), "", 0, 255, NULL, NULL,
     "The name given in EHLO; empty: this host's."},
};
#undef AT
static const struct conf_table transport_table = {transport_keys,
                                                  sizeof transport_keys / sizeof *transport_keys,
                                                  sizeof(struct settings_transport), true};

/* The ledger's database and those of audiences have the same keys. */
#define DATABASE_KEYS(prefix, at)                                                                  \
    {prefix "host",                                                                                \
     CONF_TEXT,                                                                                    \
     0,                                                                                            \
     at(host),                                                                                     \
     "127.0.0.1",                                                                                  \
     1,                                                                                            \
     255,                                                                                          \
     NULL,                                                                                         \
     NULL,                                                                                         \
     "The host of MySQL or MariaDB."},                                                             \
        {prefix "port", CONF_INT, 0, at(port), "3306", 1, 65535, NULL, NULL, "Its port."},         \
        {prefix "socket",                                                                          \
         CONF_TEXT,                                                                                \
         0,                                                                                        \
         at(socket),                                                                               \
         "",                                                                                       \
         0,                                                                                        \
         107,                                                                                      \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "The path of a Unix socket, used instead of host and port when given."},                  \
        {prefix "name",                                                                            \
         CONF_TEXT,                                                                                \
         0,                                                                                        \
         at(name),                                                                                 \
         "mailflock",                                                                              \
         1,                                                                                        \
         64,                                                                                       \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "The database's name: in `database` that of the ledger, which is also where audiences "   \
         "are read unless a campaign says otherwise."},                                            \
        {prefix "user", CONF_TEXT, 0, at(user), "mailflock", 1, 80, NULL, NULL, "The account."},   \
        {prefix "password", CONF_TEXT, CONF_SECRET, at(password), "", 0, 0, NULL, NULL,            \
         "Its password."},                                                                         \
        {prefix "tls",                                                                             \
         CONF_BOOL,                                                                                \
         0,                                                                                        \
         at(tls),                                                                                  \
         "false",                                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "Use TLS and check the server's certificate."},                                           \
        {prefix "ca_file",                                                                         \
         CONF_TEXT,                                                                                \
         0,                                                                                        \
         at(ca_file),                                                                              \
         "",                                                                                       \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "Certificates to trust, PEM; empty: the system's."},                                      \
    {                                                                                              \
        prefix "connect_timeout", CONF_DURATION, 0, at(connect_timeout_ms), "10s", SECOND,         \
            5 * MINUTE, NULL, NULL, "For one attempt to connect."                                  \
    }

#define AT_NAMED(field) offsetof(struct settings_audience_database, at.field)
static const struct conf_key database_keys[] = {DATABASE_KEYS("", AT_NAMED)};
static const struct conf_table database_table = {database_keys,
                                                 sizeof database_keys / sizeof *database_keys,
                                                 sizeof(struct settings_audience_database), true};

#define AT(field)          offsetof(struct settings, field)
#define AT_DATABASE(field) offsetof(struct settings, database.field)
static const struct conf_key keys[] = {
    {"broker.host", CONF_TEXT, 0, AT(broker.host), "127.0.0.1", 1, 255, NULL, NULL,
     "RabbitMQ's host."},
    {"broker.port", CONF_INT, 0, AT(broker.port), "5672", 1, 65535, NULL, NULL,
     "Its AMQP port; 5671 is usual with TLS."},
    {"broker.vhost", CONF_TEXT, 0, AT(broker.vhost), "/", 1, 255, NULL, NULL, "Its virtual host."},
    {"broker.user", CONF_TEXT, 0, AT(broker.user), "guest", 1, 255, NULL, NULL,
     "The account. RabbitMQ accepts `guest` from loopback only."},
    {"broker.password", CONF_TEXT, CONF_SECRET, AT(broker.password), "guest", 0, 0, NULL, NULL,
     "Its password."},
    {"broker.tls", CONF_BOOL, 0, AT(broker.tls), "false", 0, 0, NULL, NULL, "Use TLS."},
    {"broker.ca_file", CONF_TEXT, 0, AT(broker.ca_file), "", 0, 0, NULL, NULL,
     "Certificates to trust, PEM; empty: the system's."},
    {"broker.tls_verify", CONF_BOOL, 0, AT(broker.tls_verify), "true", 0, 0, NULL, NULL,
     "Check the broker's certificate and name."},
    {"broker.heartbeat", CONF_DURATION, 0, AT(broker.heartbeat_ms), "30s", SECOND, 10 * MINUTE,
     NULL, NULL, "A broker silent for twice as long counts as gone. Whole seconds."},
    {"broker.connect_timeout", CONF_DURATION, 0, AT(broker.connect_timeout_ms), "10s", SECOND,
     5 * MINUTE, NULL, NULL, "For one attempt to connect."},
    DATABASE_KEYS("database.", AT_DATABASE),
    {"databases", CONF_GROUPS, 0, AT(databases), NULL, 0, 0, NULL, &database_table,
     "Named databases."},
    {"start_limit", CONF_DURATION, 0, AT(start_limit_ms), "60s", 0, HOUR, NULL, NULL,
     "How long a program tries to reach broker and database at its start before it gives up; `0s`: "
     "one attempt. A worker ends when one of them has refused its login for so long."},
    {"core_dumps", CONF_BOOL, 0, AT(core_dumps), "false", 0, 0, NULL, NULL,
     "Whether a crash may leave a core dump. It holds the passwords of all settings: only for "
     "debugging."},
    {"log.level", CONF_CHOICE, 0, AT(log.level), "info", 0, 0, LOG_LEVEL_NAMES, NULL,
     "The least that is logged. Addresses appear at `debug` only."},
    {"log.format", CONF_CHOICE, 0, AT(log.format), "text", 0, 0, formats, NULL,
     "`text` is key=value, `json` one object a line."},
    {"worker.name", CONF_TEXT, 0, AT(worker.name), "", 0, 64, NULL, NULL,
     "The worker's name in ledger, broker and log; empty: host name and process id. Two running "
     "workers never share one."},
    {"worker.lane", CONF_TEXT, 0, AT(worker.lane), "bulk", 0, 0, lanes, NULL,
     "The lane this worker serves: a queue for each of its transports."},
    {"worker.prefetch", CONF_INT, 0, AT(worker.prefetch), "4", 1, 100, NULL, NULL,
     "Chunks in hand at a time, of each transport."},
    {"worker.lease", CONF_DURATION, 0, AT(worker.lease_ms), "60s", 5 * SECOND, 10 * MINUTE, NULL,
     NULL, "How long a chunk stays with a worker that is no longer heard of."},
    {"worker.drain", CONF_DURATION, 0, AT(worker.drain_ms), "30s", 0, 15 * MINUTE, NULL, NULL,
     "How long a worker told to stop waits for replies on the way."},
    {"worker.stuck_after", CONF_DURATION, 0, AT(worker.stuck_after_ms), "5m", 10 * SECOND, HOUR,
     NULL, NULL,
     "How long a thread of a worker may do nothing at all before `/livez` calls it stuck. Waiting "
     "for a database or a broker that is away does not count."},
    {"worker.listen", CONF_TEXT, 0, AT(worker.listen), "", 0, 255, NULL, NULL,
     "`host:port` where metrics and health are served; empty: nowhere."},
    {"contacts.exchange", CONF_TEXT, 0, AT(contacts.exchange), "", 0, 127, NULL, NULL,
     "The topic exchange from which `mailflock-consumer --contacts` takes events about contacts: "
     "see "
     "[enrichment.md](enrichment.md)."},
    {"contacts.cache", CONF_TEXT, 0, AT(contacts.cache), "contacts", 1, 64, NULL, NULL,
     "The cache that they keep fresh: the name that campaigns give as `enrich.cache`."},
    {"contacts.keep", CONF_DURATION, 0, AT(contacts.keep_ms), "90d", HOUR, 3660LL * 24 * HOUR, NULL,
     NULL, "Contacts of which nothing was heard for so long are deleted, from all caches."},
    {"campaigns_dir", CONF_TEXT, 0, AT(campaigns_dir), "campaigns", 1, 2048, NULL, NULL,
     "Where campaigns are; relative to the directory of this file."},
    {"templates_dir", CONF_TEXT, 0, AT(templates_dir), "templates", 1, 2048, NULL, NULL,
     "Where templates are; relative to the directory of this file."},
    {"transports", CONF_GROUPS, 0, AT(transports), NULL, 0, 0, NULL, &transport_table,
     "Named transports."},
};
#undef AT
static const struct conf_table table = {keys, sizeof keys / sizeof *keys, sizeof(struct settings),
                                        true};

static void resolve_dir(const char *file, char **dir)
{
    if ((*dir)[0] == '/') return;
    char *copy = mem_copy_text(file), *above = dirname(copy);
    size_t size = strlen(above) + strlen(*dir) + 2;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/%s", above, *dir);
    free(copy);
    free(*dir);
    *dir = path;
}

static bool port_valid(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits < 1 || digits > 5 || text[digits]) return false;
    long port = strtol(text, NULL, 10);
    return port >= 1 && port <= 65535;
}

/* host, host:port or [v6]:port; nothing else. */
static bool host_port_valid(const char *text, bool port_needed)
{
    size_t len;
    if (text[0] == '[') {
        len = strspn(text + 1, "0123456789abcdefABCDEF:.");
        if (len < 2 || text[len + 1] != ']') return false;
        len += 2;
    } else {
        len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
        if (len == 0) return false;
    }
    if (text[len] == '\0') return !port_needed;
    return text[len] == ':' && port_valid(text + len + 1);
}

static bool starts_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static struct err transport_error(const char *file, const struct settings_transport *t,
                                  const char *key, const char *text)
{
    char path[CONF_PATH_MAX];
    snprintf(path, sizeof path, "transports.%s.%s", t->name, key);
    return conf_error(file, &table, path, "%s", text);
}

static struct err check_transport(const char *file, struct settings_transport *t)
{
    bool plain = starts_with(t->url, "smtp://"), tls = starts_with(t->url, "smtps://");
    if ((!plain && !tls) || !host_port_valid(t->url + (tls ? 8 : 7), false))
        return transport_error(file, t, "url",
                               "must be smtp://host:port or smtps://host:port, with nothing behind "
                               "it; user and password have keys of their own");
    if (tls && t->tls != SETTINGS_TLS_REQUIRE)
        return transport_error(file, t, "tls",
                               "must be require with an smtps:// url, which is always encrypted");
    if (t->user[0] && !t->password[0])
        return transport_error(file, t, "password",
                               "is missing, but a user is given; set it in the environment, or "
                               "name a file with password_file");
    if (!t->user[0] && t->password[0])
        return transport_error(file, t, "user", "is missing, but a password is given");
    if (t->password[0] && t->tls != SETTINGS_TLS_REQUIRE && !t->allow_plaintext_login)
        return transport_error(file, t, "tls",
                               "must be require where a password is given; to send it over a "
                               "connection that may be unencrypted, set allow_plaintext_login = "
                               "true");
    return err_none();
}

static bool cache_name_valid(const char *name)
{
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name);
}

static struct err check(const char *file, struct settings *s)
{
    if (s->broker.heartbeat_ms % SECOND)
        return conf_error(file, &table, "broker.heartbeat", "must be whole seconds");
    if (s->worker.listen[0] && !host_port_valid(s->worker.listen, true))
        return conf_error(file, &table, "worker.listen",
                          "must be host:port, such as 127.0.0.1:9180, not '%.80s'",
                          s->worker.listen);
    if (!cache_name_valid(s->contacts.cache))
        return conf_error(file, &table, "contacts.cache",
                          "must be lower-case letters, digits and hyphens");
    struct settings_transport *transports = s->transports.items;
    for (size_t i = 0; i < s->transports.count; i++) TRY(check_transport(file, &transports[i]));
    return err_none();
}

struct err settings_read(const char *file, struct settings *settings)
{
    TRY(conf_read(file, &table, settings));
    struct err e = check(file, settings);
    if (e.code) {
        settings_free(settings);
        return e;
    }
    settings->file = file;
    resolve_dir(file, &settings->campaigns_dir);
    resolve_dir(file, &settings->templates_dir);
    return err_none();
}

void settings_free(struct settings *settings)
{
    conf_free(&table, settings);
}

const struct settings_transport *settings_find_transport(const struct settings *settings,
                                                         const char *name)
{
    const struct settings_transport *transports = settings->transports.items;
    for (size_t i = 0; i < settings->transports.count; i++)
        if (strcmp(transports[i].name, name) == 0) return &transports[i];
    return NULL;
}

const struct settings_database *settings_find_database(const struct settings *settings,
                                                       const char *name)
{
    const struct settings_audience_database *databases = settings->databases.items;
    if (!*name) return &settings->database;
    for (size_t i = 0; i < settings->databases.count; i++)
        if (strcmp(databases[i].name, name) == 0) return &databases[i].at;
    return NULL;
}

void settings_help(struct buf *out, enum conf_help form)
{
    conf_help(&table, form, out);
}
