/* One row a service, one short UPDATE a call: the row holds the next free moment. */
#include "common/service_pace.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/db_again.h"

enum { SQL_MAX = 4096 };

/* The session's time zone is UTC, and NOW is the same in all of a statement. */
#define NOW_US "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"

const char *service_pace_origin(const char *url, char out[SERVICE_ORIGIN_SIZE])
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t len = (size_t)(host - url) + strcspn(host, "/?#");
    if (len >= SERVICE_ORIGIN_SIZE) len = SERVICE_ORIGIN_SIZE - 1;
    for (size_t i = 0; i < len; i++) out[i] = (char)tolower((unsigned char)url[i]);
    out[len] = '\0';
    return out;
}

static struct err change(struct db *db, const char *origin, const char *what, uint64_t *matched)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    buf_append_format(&sql, "UPDATE service_pace SET %s WHERE origin = ", what);
    db_quote(db, &sql, origin);
    struct err e = db_again(db, &sql, matched);
    buf_fini(&sql);
    return e;
}

static struct err add(struct db *db, const char *origin)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    buf_append_text(&sql, "INSERT IGNORE INTO service_pace (origin) VALUES (");
    db_quote(db, &sql, origin);
    buf_append_char(&sql, ')');
    struct err e = db_again(db, &sql, NULL);
    buf_fini(&sql);
    return e;
}

/* The first call to a service makes its row. */
static struct err change_or_add(struct db *db, const char *origin, const char *what)
{
    uint64_t matched;
    TRY(change(db, origin, what, &matched));
    if (matched) return err_none();
    TRY(add(db, origin));
    return change(db, origin, what, &matched);
}

struct err service_pace_reserve(struct db *db, const char *origin, int64_t delay_us,
                                int64_t *wait_us)
{
    char what[320];
    /* LAST_INSERT_ID(x) is x, and what the client is told about the statement. */
    snprintf(what, sizeof what,
             "next_us = " NOW_US " + %" PRId64 " + LAST_INSERT_ID(GREATEST(next_us - " NOW_US
             ", held_us - " NOW_US ", 0))",
             delay_us);
    TRY(change_or_add(db, origin, what));
    *wait_us = (int64_t)db_last_id(db);
    return err_none();
}

struct err service_pace_hold(struct db *db, const char *origin, int64_t wait_us)
{
    char what[160];
    snprintf(what, sizeof what, "held_us = GREATEST(held_us, " NOW_US " + %" PRId64 ")", wait_us);
    return change_or_add(db, origin, what);
}

struct err service_pace_held(struct db *db, const char *origin, int64_t *wait_us)
{
    struct buf sql;
    struct db_result *r;
    *wait_us = 0;
    buf_init(&sql, SQL_MAX);
    buf_append_text(&sql,
                    "SELECT GREATEST(held_us - " NOW_US ", 0) FROM service_pace WHERE origin = ");
    db_quote(db, &sql, origin);
    struct err e = db_query(db, &sql, &r);
    buf_fini(&sql);
    if (e.code) return e;
    if (db_next(r)) *wait_us = db_i64(r, 0);
    db_result_free(r);
    return err_none();
}
