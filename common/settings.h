/* The settings of one program: config/mailflock.cfg, overridden by the environment. Read once at
 * start, then read-only. docs/configuration.md lists every key with its range. */
#ifndef MAILFLOCK_SETTINGS_H
#define MAILFLOCK_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/config.h"
#include "common/err.h"
#include "common/log.h"

/* No text is ever NULL; "" means not given. */

struct settings_broker {
    char *host, *vhost, *user, *password;
    char *ca_file; /* "" = the system's certificates */
    int port;
    bool tls, tls_verify;
    int64_t heartbeat_ms, connect_timeout_ms;
};

struct settings_database {
    char *host, *socket; /* socket, when given, replaces host and port */
    char *name, *user, *password;
    char *ca_file; /* "" = the system's certificates */
    int port;
    bool tls; /* true: the server is always verified */
    int64_t connect_timeout_ms;
};

/* One that only campaigns' audiences are read from. */
struct settings_audience_database {
    char *name; /* the group's name; [a-z][a-z0-9-]* */
    struct settings_database at;
};

struct settings_worker {
    char *name;   /* "" = hostname-pid; the caller makes that up */
    char *lane;   /* "bulk" or "fast" */
    char *listen; /* host:port of metrics and health, "" = none; checked by settings_read */
    int prefetch; /* chunks in hand */
    int64_t lease_ms, drain_ms;
    int64_t stuck_after_ms; /* beyond the longest wait of one call */
};

enum settings_transport_type { SETTINGS_SMTP };

/* STARTTLS on an smtp:// url; an smtps:// url is always SETTINGS_TLS_REQUIRE. */
enum settings_tls { SETTINGS_TLS_OFF, SETTINGS_TLS_TRY, SETTINGS_TLS_REQUIRE };

struct settings_transport {
    char *name; /* the group's name; [a-z][a-z0-9-]* */
    int type;   /* enum settings_transport_type */
    char *url;  /* smtp://host[:port] or smtps://host[:port], nothing behind it */
    int tls;    /* enum settings_tls */
    bool tls_verify;
    char *ca_file;               /* "" = the system's certificates */
    char *user, *password;       /* both or neither */
    bool allow_plaintext_login;  /* a password although tls is not require */
    char *helo;                  /* "" = the host's name */
    int connections;             /* of one worker */
    int messages_per_connection; /* 0 = no limit */
    int64_t connect_timeout_ms, reply_timeout_ms, final_reply_timeout_ms;
};

/* Events about contacts, for mailflock-consumer --contacts. */
struct settings_contacts {
    char *exchange; /* a topic exchange; "" = there are no events */
    char *cache;    /* the name under which campaigns look contacts up: enrich.cache */
    int64_t keep_ms;
};

struct settings {
    const char *file; /* what they were read from; borrowed */
    struct settings_broker broker;
    struct settings_database database; /* the ledger's */
    struct conf_groups databases;      /* of struct settings_audience_database */
    bool core_dumps;                   /* core_dump_allow is to be called */
    int64_t start_limit_ms; /* how long a program tries to reach broker and database at start */
    struct {
        int level;  /* enum log_level */
        int format; /* enum settings_log_format */
    } log;
    struct settings_worker worker;
    struct settings_contacts contacts;
    char *campaigns_dir,
        *templates_dir;            /* relative ones are resolved against the file's directory */
    struct conf_groups transports; /* of struct settings_transport */
};

enum settings_log_format { SETTINGS_LOG_TEXT, SETTINGS_LOG_JSON };

/* settings_read: reads file, then the MAILFLOCK_ variables of the environment. ERR_CONFIG names
 * the file and line, or the variable, and says what would be right; ERR_IO where the file cannot be
 * read. On failure nothing is left to free. */
struct err settings_read(const char *file, struct settings *settings) MUST_CHECK;

/* settings_free: frees what settings_read filled in, and wipes passwords; harmless on a zeroed
 * struct.
 */
void settings_free(struct settings *settings);

/* settings_find_transport: borrows; NULL where there is none of that name. */
const struct settings_transport *settings_find_transport(const struct settings *settings,
                                                         const char *name);

/* settings_find_database: borrows; "" is the ledger's; NULL where there is none of that name. */
const struct settings_database *settings_find_database(const struct settings *settings,
                                                       const char *name);

/* settings_help: every key, for --help-config or docs/configuration.md. Check out at the end. */
void settings_help(struct buf *out, enum conf_help form);

#endif
