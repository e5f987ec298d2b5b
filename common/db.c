/* The database module: the only user of mysql.h. */
#include "common/db.h"

#include <errmsg.h>
#include <errno.h>
#include <mysql.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/ca_file.h"

enum { SQL_MAX = 64 * 1024 * 1024 };

struct db {
    MYSQL *mysql;
    struct buf sql; /* db_execf and db_queryf format here */
    void (*on_call)(void);
};

struct db_result {
    MYSQL_RES *res;
    MYSQL_FIELD *fields;
    unsigned n_fields;
    MYSQL_ROW row;
    unsigned long *lengths;
};

/* The server's errors are numbers here: their names differ between the client libraries. */
enum db_failure db_failure_of(const struct err *e)
{
    switch (e->native) {
    case 1205: /* lock wait timeout */
    case 1213: /* deadlock */
        return DB_FAILURE_RETRY;
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_CONNECTION_ERROR:
    case CR_CONN_HOST_ERROR:
    case CR_UNKNOWN_HOST:
    case CR_COMMANDS_OUT_OF_SYNC:
    case CR_MALFORMED_PACKET:
    case CR_OUT_OF_MEMORY: /* ours, maybe in the middle of an answer */
    case CR_UNKNOWN_ERROR:
    case 2055: /* CR_SERVER_LOST_EXTENDED */
    case 4031: /* MySQL 8: closed for inactivity */
    case 1927: /* MariaDB: connection was killed */
    case 1317: /* query interrupted */
    case 1159: /* timeout reading packets */
    case 1053: /* server shutdown */
    case 1077: /* normal shutdown */
        return DB_FAILURE_LOST;
    case 1045: /* wrong user or password */
    case 1698: /* the same, of an account that is known by its socket */
    case 1044: /* no right to the database */
    case 1049: /* no such database */
    case 1130: /* no account for this host */
    case 1820: /* the password has expired: only to be changed */
    case 1862: /* the same, and nothing else is allowed */
    case 3118: /* MySQL: account locked */
    case 3955: /* MySQL: account locked after wrong passwords */
    case 4150: /* MariaDB: account blocked after wrong passwords */
    case 4151: /* MariaDB: account locked */
        return DB_FAILURE_REFUSED;
    case 1021: /* disk full */
    case 1114: /* table full */
    case 1040: /* too many connections */
    case 1203: /* too many connections of the user */
    case 1026: /* error on write */
        return DB_FAILURE_FULL;
    case 1290: /* an option such as read_only forbids it */
    case 1836: /* read only mode */
        return DB_FAILURE_READ_ONLY;
    default:
        return DB_FAILURE_STATEMENT;
    }
}

/* Out of memory the library may fail without an error of its own. */
static struct err failure(struct db *db, const char *what)
{
    unsigned number = mysql_errno(db->mysql);
    if (!number)
        return err_make(ERR_DB, CR_UNKNOWN_ERROR, "%s: it failed, and nothing says why", what);
    return err_make(ERR_DB, (int)number, "%s: %s (%u)", what, mysql_error(db->mysql), number);
}

#if defined(MARIADB_BASE_VERSION) || defined(MARIADB_VERSION_ID)
static void demand_tls(MYSQL *mysql, const char *ca, bool verified)
{
    my_bool enforce = 1, verify = verified;
    mysql_ssl_set(mysql, NULL, NULL, ca, NULL, NULL);
    mysql_optionsv(mysql, MYSQL_OPT_SSL_ENFORCE, &enforce);
    mysql_optionsv(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
}
#else
/* Oracle's library does not look for the system's certificates, and will not verify without any. */
static void demand_tls(MYSQL *mysql, const char *ca, bool verified)
{
    unsigned mode = verified ? SSL_MODE_VERIFY_IDENTITY : SSL_MODE_REQUIRED;
    if (verified) mysql_options(mysql, MYSQL_OPT_SSL_CA, ca ? ca : CA_FILE_SYSTEM);
    mysql_options(mysql, MYSQL_OPT_SSL_MODE, &mode);
}
#endif

static void set_tls(MYSQL *mysql, const struct db_config *config)
{
    const char *ca = config->ca_file && *config->ca_file ? config->ca_file : NULL;
    if (config->tls) demand_tls(mysql, ca, config->tls_verify);
}

static unsigned whole_seconds(int ms)
{
    return ms <= 0 ? 1 : (unsigned)(ms + 999) / 1000;
}

static void set_options(MYSQL *mysql, const struct db_config *config)
{
    unsigned connect_s = whole_seconds(config->connect_timeout_ms);
    unsigned io_s = whole_seconds(config->io_timeout_ms);
    mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &io_s);
    mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &io_s);
    mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    unsigned no_files = 0;
    mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &no_files);
    if (config->program)
        mysql_options4(mysql, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", config->program);
    set_tls(mysql, config);
}

static int socket_of(MYSQL *mysql)
{
#if defined(MARIADB_BASE_VERSION) || defined(MARIADB_VERSION_ID)
    return (int)mysql_get_socket(mysql);
#else
    return (int)mysql->net.fd;
#endif
}

/* The library's own timeouts bound each read and write. These end a connection whose peer is gone
 * without a word. A Unix socket has no such options. */
static void watch_peer(MYSQL *mysql, const struct db_config *config)
{
    int fd = socket_of(mysql), one = 1, count = 3;
    int io_s = (int)whole_seconds(config->io_timeout_ms), interval_s = io_s / 3 + 1;
    unsigned user_timeout_ms = (unsigned)io_s * 1000;
    if (config->socket && *config->socket) return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &io_s, sizeof io_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

static struct err set_session(struct db *db, const struct db_config *config)
{
    TRY(db_execf(db, NULL,
                 "SET time_zone='+00:00', sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
                 "wait_timeout=%d, innodb_lock_wait_timeout=%d, autocommit=1",
                 config->session_timeout_s > 0 ? config->session_timeout_s : 28800,
                 config->lock_wait_s > 0 ? config->lock_wait_s : 3));
    return db_exec_text(db, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", NULL);
}

struct err db_open(struct db **out, const struct db_config *config)
{
    struct db *db = mem_alloc(sizeof *db);
    *out = NULL;
    db->on_call = config->on_call;
    if (db->on_call) db->on_call();
    buf_init(&db->sql, SQL_MAX);
    db->mysql = mysql_init(NULL);
    if (!db->mysql) {
        free(db);
        return err_make(ERR_DB, CR_OUT_OF_MEMORY, "cannot create a database handle");
    }
    set_options(db->mysql, config);
    bool by_socket = config->socket && *config->socket;
    /* "localhost" would mean the default socket file; with no socket configured, TCP is meant. */
    unsigned protocol = MYSQL_PROTOCOL_TCP;
    if (!by_socket) mysql_options(db->mysql, MYSQL_OPT_PROTOCOL, &protocol);
    struct err e = err_none();
    if (!mysql_real_connect(db->mysql, by_socket ? "localhost" : config->host, config->user,
                            config->password, config->name, (unsigned)config->port,
                            by_socket ? config->socket : NULL, CLIENT_FOUND_ROWS))
        e = err_make(ERR_DB, (int)mysql_errno(db->mysql),
                     "cannot connect to database '%s' at %s%s%.0d as '%s': %s",
                     config->name ? config->name : "", by_socket ? config->socket : config->host,
                     by_socket ? "" : ":", by_socket ? 0 : config->port, config->user,
                     mysql_error(db->mysql));
    if (!e.code) watch_peer(db->mysql, config);
    if (!e.code) e = set_session(db, config);
    if (e.code)
        db_close(db);
    else
        *out = db;
    return e;
}

void db_close(struct db *db)
{
    if (!db) return;
    mysql_close(db->mysql);
    buf_fini(&db->sql);
    free(db);
}

/* Errors show how a statement begins, but not its text values: those are people's addresses. */
static struct err run(struct db *db, const char *sql, size_t len)
{
    if (db->on_call) db->on_call();
    if (!mysql_real_query(db->mysql, sql, len)) return err_none();
    char head[61] = "";
    for (size_t i = 0; i < len && i + 1 < sizeof head && sql[i] != '\'' && sql[i] != '"'; i++)
        head[i] = (unsigned char)sql[i] < 0x80 ? sql[i] : '?';
    return failure(db, head);
}

static struct err exec_bytes(struct db *db, const char *sql, size_t len, uint64_t *matched)
{
    TRY(run(db, sql, len));
    MYSQL_RES *res = mysql_store_result(db->mysql);
    if (res)
        mysql_free_result(res);
    else if (mysql_field_count(db->mysql))
        return failure(db, "reading a result");
    if (matched) *matched = mysql_affected_rows(db->mysql);
    return err_none();
}

struct err db_exec(struct db *db, const struct buf *sql, uint64_t *matched)
{
    TRY(buf_check(sql, "an SQL statement"));
    return exec_bytes(db, sql->data, sql->len, matched);
}

struct err db_exec_text(struct db *db, const char *sql, uint64_t *matched)
{
    return exec_bytes(db, sql, strlen(sql), matched);
}

static void format_into(struct buf *out, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    buf_reset(out);
    if (len < 0 || !buf_reserve(out, (size_t)len + 1)) return;
    vsnprintf(out->data, (size_t)len + 1, format, args);
    out->len = (size_t)len;
}

struct err db_execf(struct db *db, uint64_t *matched, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    format_into(&db->sql, format, args);
    va_end(args);
    return db_exec(db, &db->sql, matched);
}

uint64_t db_last_id(const struct db *db)
{
    return mysql_insert_id(db->mysql);
}

struct err db_query(struct db *db, const struct buf *sql, struct db_result **out)
{
    *out = NULL;
    TRY(buf_check(sql, "an SQL statement"));
    TRY(run(db, sql->data, sql->len));
    MYSQL_RES *res = mysql_store_result(db->mysql);
    if (!res) {
        if (mysql_errno(db->mysql)) return failure(db, "reading a result");
        return err_make(ERR_INPUT, 0, "the statement returns no rows: it must be a SELECT");
    }
    struct db_result *r = mem_alloc(sizeof *r);
    r->res = res;
    r->fields = mysql_fetch_fields(res);
    r->n_fields = mysql_num_fields(res);
    *out = r;
    return err_none();
}

struct err db_queryf(struct db *db, struct db_result **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    format_into(&db->sql, format, args);
    va_end(args);
    return db_query(db, &db->sql, out);
}

void db_result_free(struct db_result *r)
{
    if (!r) return;
    mysql_free_result(r->res);
    free(r);
}

unsigned db_columns(const struct db_result *r)
{
    return r->n_fields;
}

/* MariaDB's JSON is a LONGTEXT with a CHECK; its protocol says of such columns, and of what its
 * JSON functions give, that their format is json (MDEV-17832). MySQL has a type of its own. */
static bool is_json(const MYSQL_FIELD *f)
{
#ifdef MARIADB_FIELD_ATTR_LAST
    MARIADB_CONST_STRING format = {NULL, 0};
    if (mariadb_field_attr(&format, f, MARIADB_FIELD_ATTR_FORMAT_NAME) == 0 && format.length == 4 &&
        memcmp(format.str, "json", 4) == 0)
        return true;
#endif
    return f->type == MYSQL_TYPE_JSON;
}

struct db_column db_column(const struct db_result *r, unsigned column)
{
    const MYSQL_FIELD *f = &r->fields[column];
    struct db_column c = {f->name, DB_KIND_TEXT, (f->flags & UNSIGNED_FLAG) != 0};
    switch (f->type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_YEAR:
        c.kind = DB_KIND_INT;
        break;
    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL:
    case MYSQL_TYPE_FLOAT:
    case MYSQL_TYPE_DOUBLE:
        c.kind = DB_KIND_DECIMAL;
        break;
    case MYSQL_TYPE_BIT:
        c.kind = DB_KIND_BIT;
        break;
    case MYSQL_TYPE_TINY_BLOB:
    case MYSQL_TYPE_MEDIUM_BLOB:
    case MYSQL_TYPE_LONG_BLOB:
    case MYSQL_TYPE_BLOB:
    case MYSQL_TYPE_STRING:
    case MYSQL_TYPE_VAR_STRING:
        if (f->charsetnr == 63) c.kind = DB_KIND_BYTES; /* the binary character set */
        break;
    default:
        break;
    }
    if (is_json(f)) c.kind = DB_KIND_JSON;
    return c;
}

uint64_t db_rows(const struct db_result *r)
{
    return mysql_num_rows(r->res);
}

bool db_next(struct db_result *r)
{
    r->row = mysql_fetch_row(r->res);
    if (!r->row) return false;
    r->lengths = mysql_fetch_lengths(r->res);
    return true;
}

struct db_cell db_cell(const struct db_result *r, unsigned column)
{
    return (struct db_cell){r->row[column], r->row[column] ? r->lengths[column] : 0};
}

uint64_t db_u64(const struct db_result *r, unsigned column)
{
    return r->row[column] ? strtoull(r->row[column], NULL, 10) : 0;
}

int64_t db_i64(const struct db_result *r, unsigned column)
{
    return r->row[column] ? strtoll(r->row[column], NULL, 10) : 0;
}

const char *db_text(const struct db_result *r, unsigned column)
{
    return r->row[column] ? r->row[column] : "";
}

void db_quote_bytes(struct db *db, struct buf *sql, const char *text, size_t len)
{
    if (!text) {
        buf_append_text(sql, "NULL");
        return;
    }
    if (!buf_reserve(sql, len * 2 + 3)) return;
    sql->data[sql->len++] = '\'';
    sql->len += mysql_real_escape_string(db->mysql, sql->data + sql->len, text, len);
    sql->data[sql->len++] = '\'';
}

void db_quote(struct db *db, struct buf *sql, const char *text)
{
    db_quote_bytes(db, sql, text, text ? strlen(text) : 0);
}

void db_quote_name(struct buf *sql, const char *name)
{
    buf_append_char(sql, '`');
    for (; *name; name++) {
        if (*name == '`') buf_append_char(sql, '`');
        buf_append_char(sql, *name);
    }
    buf_append_char(sql, '`');
}
