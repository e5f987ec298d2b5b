/* The database: connections, statements and results over the MySQL client library. This is the only
 * module that knows it, and nothing that only MariaDB has is needed. A struct db belongs to one
 * thread.
 *
 * Every session: utf8mb4, UTC, strict mode, READ COMMITTED, no auto-reconnect (session state such
 * as GET_LOCK would vanish silently), and CLIENT_FOUND_ROWS: an UPDATE counts the rows it matched.
 */
#ifndef MAILFLOCK_DB_H
#define MAILFLOCK_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct db;

struct db_config {
    const char *host, *socket, *name, *user, *password; /* socket "" = TCP; name NULL = none */
    int port;
    bool tls, tls_verify;
    const char *ca_file; /* "" = the system's */
    int connect_timeout_ms;
    int io_timeout_ms;     /* a reply later than this counts as a lost connection */
    int session_timeout_s; /* wait_timeout: how long a dead client's transaction can live */
    int lock_wait_s;       /* innodb_lock_wait_timeout; at most 3 for workers (PROTOCOL C5) */
    const char *program;   /* shown in the server's connection attributes */
    void (*on_call)(void); /* before each statement and attempt to connect; NULL: nothing */
};

/* db_open: connects and sets the session up. ERR_DB; text names user, host and database. */
struct err db_open(struct db **out, const struct db_config *config) MUST_CHECK;
void db_close(struct db *db);

/* What a failed statement means for the caller. */
enum db_failure {
    DB_FAILURE_STATEMENT, /* the statement is wrong or refused; repeating it will not help */
    DB_FAILURE_RETRY,     /* 1205 lock wait, 1213 deadlock: ROLLBACK, then repeat */
    DB_FAILURE_LOST,      /* the connection is gone; whether the statement ran is unknown */
    DB_FAILURE_REFUSED,   /* at connect: wrong user, password or database: waiting will not help */
    DB_FAILURE_FULL,      /* the server has no room: wait, repeat */
    DB_FAILURE_READ_ONLY, /* it takes no writes, as after a failover: wait, connect anew, repeat */
};
enum { DB_LOCK_WAIT_TIMEOUT = 1205 }; /* err.native: somebody else has the row */
enum db_failure db_failure_of(const struct err *e);

/* db_exec: one statement without a result; matched (may be NULL) gets the rows it matched. */
struct err db_exec(struct db *db, const struct buf *sql, uint64_t *matched) MUST_CHECK;
struct err db_exec_text(struct db *db, const char *sql, uint64_t *matched) MUST_CHECK;

/* db_execf: formats and executes; only for statements without text values from outside. */
struct err db_execf(struct db *db, uint64_t *matched, const char *format, ...) MUST_CHECK
    __attribute__((format(printf, 3, 4)));

uint64_t db_last_id(const struct db *db); /* of the last AUTO_INCREMENT insert */

/* A column of a result. */
enum db_kind {
    DB_KIND_INT,
    DB_KIND_DECIMAL,
    DB_KIND_TEXT,
    DB_KIND_JSON,
    DB_KIND_BYTES,
    DB_KIND_BIT, /* at most 8 bytes, the highest first */
};
struct db_column {
    const char *name; /* borrowed from the result */
    enum db_kind kind;
    bool is_unsigned;
};

/* A whole result, held in memory: queries are bounded by LIMIT. One at a time per connection. */
struct db_result;
struct db_cell {
    const char *text; /* NULL for SQL NULL; NUL-terminated; valid until the result is freed */
    size_t len;
};

/* db_query: runs one SELECT; *out is owned by the caller, also when it has no rows. */
struct err db_query(struct db *db, const struct buf *sql, struct db_result **out) MUST_CHECK;
struct err db_queryf(struct db *db, struct db_result **out, const char *format, ...) MUST_CHECK
    __attribute__((format(printf, 3, 4)));
void db_result_free(struct db_result *r);

unsigned db_columns(const struct db_result *r);
struct db_column db_column(const struct db_result *r, unsigned column);
uint64_t db_rows(const struct db_result *r);

/* db_next: moves to the next row; false at the end. db_cell reads the current one. */
bool db_next(struct db_result *r);
struct db_cell db_cell(const struct db_result *r, unsigned column);
/* db_u64, db_i64: a numeric cell; 0 for NULL. db_text: "" for NULL. */
uint64_t db_u64(const struct db_result *r, unsigned column);
int64_t db_i64(const struct db_result *r, unsigned column);
const char *db_text(const struct db_result *r, unsigned column);

/* db_quote: appends text as a quoted SQL literal, or NULL where text is NULL. db_quote_bytes for
 * text with a length. The session is UTF-8 and never NO_BACKSLASH_ESCAPES. */
void db_quote(struct db *db, struct buf *sql, const char *text);
void db_quote_bytes(struct db *db, struct buf *sql, const char *text, size_t len);

/* db_quote_name: appends name as a quoted SQL identifier. */
void db_quote_name(struct buf *sql, const char *name);

#endif
