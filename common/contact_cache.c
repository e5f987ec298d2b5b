/* The SQL on table contact_cache. Each statement is a transaction of its own. */
#include "common/contact_cache.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/db_again.h"

enum { SQL_MAX = 32 * 1024 * 1024, STATEMENT_BYTES = 1024 * 1024, PURGE_ROWS = 5000 };

struct err contact_cache_find(struct db *db, const char *cache, int64_t ttl_ms,
                              const struct buf *ids, struct db_result **rows,
                              char now[CONTACT_TIME_SIZE])
{
    struct buf sql;
    struct db_result *r;
    TRY(db_queryf(db, &r, "SELECT UTC_TIMESTAMP(6)"));
    snprintf(now, CONTACT_TIME_SIZE, "%s", db_next(r) ? db_text(r, 0) : "");
    db_result_free(r);
    buf_init(&sql, SQL_MAX);
    buf_append_format(
        &sql,
        "SELECT id, deleted, json FROM contact_cache WHERE cache='%s' AND stored_at > '%s' "
        "- INTERVAL %" PRId64 " MICROSECOND AND id IN (",
        cache, now, ttl_ms * 1000);
    buf_append(&sql, ids->data, ids->len);
    buf_append_text(&sql, ") ORDER BY id");
    struct err e = db_query(db, &sql, rows);
    buf_fini(&sql);
    return e;
}

static void write_row(struct db *db, struct buf *sql, const char *cache,
                      const struct contact_entry *entry, const char *time)
{
    buf_append_format(sql, "('%s', ", cache);
    db_quote_bytes(db, sql, entry->id, entry->id_len);
    buf_append_format(sql, ", %" PRIu64 ", %d, ", entry->version, entry->deleted);
    if (entry->json)
        db_quote_bytes(db, sql, entry->json, entry->json_len);
    else
        buf_append_text(sql, "NULL");
    buf_append_format(sql, ", %s)", time);
}

/* An answer without a version is as new as the moment of the question. In this order: a column has
 * its new value in the expressions behind it. */
#define NEWER "IF(VALUES(version) > 0, VALUES(version) >= version, VALUES(stored_at) >= stored_at)"
static const char KEEP_NEWER[] =
    " ON DUPLICATE KEY UPDATE deleted=IF(" NEWER ", VALUES(deleted), deleted), json=IF(" NEWER
    ", VALUES(json), json), stored_at=IF(" NEWER ", VALUES(stored_at), stored_at),"
    " version=GREATEST(version, VALUES(version))";

struct err contact_cache_store(struct db *db, const char *cache,
                               const struct contact_entry *entries, size_t n, const char *asked_at)
{
    struct buf sql;
    struct err e = err_none();
    char time[CONTACT_TIME_SIZE + 2] = "UTC_TIMESTAMP(6)";
    if (asked_at) snprintf(time, sizeof time, "'%s'", asked_at);
    buf_init(&sql, SQL_MAX);
    for (size_t i = 0; i < n && !e.code;) {
        buf_reset(&sql);
        buf_append_text(
            &sql,
            "INSERT INTO contact_cache (cache, id, version, deleted, json, stored_at) VALUES ");
        for (size_t first = i; i < n && (i == first || sql.len < STATEMENT_BYTES); i++) {
            if (i > first) buf_append_text(&sql, ", ");
            write_row(db, &sql, cache, &entries[i], time);
        }
        buf_append_text(&sql, KEEP_NEWER);
        e = buf_check(&sql, "a statement with contacts");
        if (!e.code) e = db_again(db, &sql, NULL);
    }
    buf_fini(&sql);
    return e;
}

struct err contact_cache_purge(struct db *db, int64_t keep_ms, uint64_t *n)
{
    return db_execf(
        db, n,
        "DELETE FROM contact_cache WHERE stored_at < UTC_TIMESTAMP(6) - INTERVAL %" PRId64
        " MICROSECOND ORDER BY stored_at LIMIT %d",
        keep_ms * 1000, PURGE_ROWS);
}
