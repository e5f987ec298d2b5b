/* The name of a lock is the database's as the server has it: it may have made it lower case. */
#include "common/db_lock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/sha1.h"

enum { PLAIN_MAX = 28 }; /* characters */

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += (*text & 0xc0) != 0x80;
    return n;
}

void db_lock_database(const char *name, char out[DB_LOCK_DATABASE_SIZE])
{
    char hash[SHA1_HEX_SIZE];
    sha1_hex(name, strlen(name), hash);
    if (characters(name) <= PLAIN_MAX)
        snprintf(out, DB_LOCK_DATABASE_SIZE, "%s", name);
    else
        snprintf(out, DB_LOCK_DATABASE_SIZE, "%.*s", PLAIN_MAX, hash);
}

static struct err append_name(struct db *db, const char *what, uint64_t id, struct buf *sql)
{
    char database[DB_LOCK_DATABASE_SIZE], name[DB_LOCK_DATABASE_SIZE + 64];
    struct db_result *r;
    TRY(db_queryf(db, &r, "SELECT DATABASE()"));
    db_lock_database(db_next(r) ? db_text(r, 0) : "", database);
    db_result_free(r);
    snprintf(name, sizeof name, "mailflock.%.16s.%s", what, database);
    size_t len = strlen(name);
    if (id) snprintf(name + len, sizeof name - len, ".%" PRIu64, id);
    db_quote(db, sql, name);
    return err_none();
}

struct err db_lock(struct db *db, const char *what, uint64_t id, int wait_s, bool *locked)
{
    struct buf sql;
    struct db_result *r;
    buf_init(&sql, 1024);
    buf_append_text(&sql, "SELECT GET_LOCK(");
    struct err e = append_name(db, what, id, &sql);
    buf_append_format(&sql, ", %d)", wait_s);
    if (!e.code) e = db_query(db, &sql, &r);
    buf_fini(&sql);
    if (e.code) return e;
    *locked = db_next(r) && db_i64(r, 0) == 1;
    db_result_free(r);
    return err_none();
}

struct err db_unlock(struct db *db, const char *what, uint64_t id)
{
    struct buf sql;
    buf_init(&sql, 1024);
    buf_append_text(&sql, "DO RELEASE_LOCK(");
    struct err e = append_name(db, what, id, &sql);
    buf_append_char(&sql, ')');
    if (!e.code) e = db_exec(db, &sql, NULL);
    buf_fini(&sql);
    return e;
}
