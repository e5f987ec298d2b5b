/* Each statement is a transaction of its own. Nothing here needs a lock: what is started or missed
 * is decided by the key of run, and a mark that is behind costs another look (PROTOCOL P7). */
#include "producer/schedule_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/db_again.h"

enum { SQL_MAX = 4 * 1024 * 1024 };

struct err schedule_row_now(struct db *db, int64_t *utc_us)
{
    struct db_result *r;
    *utc_us = 0;
    TRY(db_queryf(db, &r, "SELECT CAST(UNIX_TIMESTAMP(UTC_TIMESTAMP(6)) * 1000000 AS SIGNED)"));
    if (db_next(r)) *utc_us = db_i64(r, 0);
    db_result_free(r);
    return err_none();
}

/* ---- marks */

struct err schedule_rows_load(struct db *db, struct schedule_rows *out)
{
    struct db_result *r;
    *out = (struct schedule_rows){0};
    TRY(db_queryf(db, &r,
                  "SELECT campaign, digest, UNIX_TIMESTAMP(settled_until) FROM schedule"
                  " ORDER BY campaign"));
    out->items = mem_alloc((db_rows(r) + 1) * sizeof *out->items);
    while (db_next(r)) {
        struct schedule_row *row = &out->items[out->n++];
        snprintf(row->campaign, sizeof row->campaign, "%s", db_text(r, 0));
        row->mark = (struct occurrence_mark){true, db_u64(r, 1), db_i64(r, 2)};
    }
    db_result_free(r);
    return err_none();
}

void schedule_rows_free(struct schedule_rows *rows)
{
    free(rows->items);
    *rows = (struct schedule_rows){0};
}

static int compare_name(const void *name, const void *row)
{
    return strcmp(name, ((const struct schedule_row *)row)->campaign);
}

const struct schedule_row *schedule_rows_find(const struct schedule_rows *rows,
                                              const char *campaign)
{
    return rows->n ? bsearch(campaign, rows->items, rows->n, sizeof *rows->items, compare_name)
                   : NULL;
}

/* A quoted DATETIME. */
static void append_time(struct buf *sql, int64_t utc_s)
{
    char iso[CLOCK_ISO_SIZE];
    clock_iso_format(utc_s, iso);
    buf_append_format(sql, "'%.10s %.8s'", iso, iso + 11);
}

struct err schedule_rows_save(struct db *db, const struct schedule_rows *rows)
{
    struct buf sql;
    if (!rows->n) return err_none();
    buf_init(&sql, SQL_MAX);
    buf_append_text(&sql, "INSERT INTO schedule (campaign, digest, settled_until) VALUES ");
    for (size_t i = 0; i < rows->n; i++) {
        const struct schedule_row *row = &rows->items[i];
        buf_append_format(&sql, "%s('%s', %" PRIu64 ", ", i ? ", " : "", row->campaign,
                          row->mark.digest);
        append_time(&sql, row->mark.until_s);
        buf_append_char(&sql, ')');
    }
    buf_append_text(&sql, " ON DUPLICATE KEY UPDATE digest=VALUES(digest),"
                          " settled_until=GREATEST(settled_until, VALUES(settled_until))");
    struct err e = db_again(db, &sql, NULL);
    buf_fini(&sql);
    return e;
}

/* ---- occurrences in run */

static unsigned take_out(int64_t *at_s, unsigned n, int64_t settled_s)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++)
        if (at_s[i] != settled_s) at_s[kept++] = at_s[i];
    return kept;
}

struct err schedule_row_drop_settled(struct db *db, const char *campaign, int64_t *at_s,
                                     unsigned *n)
{
    struct buf sql;
    struct db_result *r;
    if (!*n) return err_none();
    buf_init(&sql, SQL_MAX);
    buf_append_format(&sql,
                      "SELECT UNIX_TIMESTAMP(scheduled_at) FROM run WHERE campaign='%s'"
                      " AND scheduled_at IN (",
                      campaign);
    for (unsigned i = 0; i < *n; i++) {
        if (i) buf_append_text(&sql, ", ");
        append_time(&sql, at_s[i]);
    }
    buf_append_char(&sql, ')');
    struct err e = db_query(db, &sql, &r);
    buf_fini(&sql);
    if (e.code) return e;
    while (db_next(r)) *n = take_out(at_s, *n, db_i64(r, 0));
    db_result_free(r);
    return err_none();
}

struct err schedule_row_missed(struct db *db, const char *campaign, const int64_t *at_s, unsigned n)
{
    struct buf sql;
    if (!n) return err_none();
    buf_init(&sql, SQL_MAX);
    buf_append_text(&sql,
                    "INSERT INTO run (campaign, scheduled_at, publishing, created_at, content)"
                    " VALUES ");
    for (unsigned i = 0; i < n; i++) {
        buf_append_format(&sql, "%s('%s', ", i ? ", " : "", campaign);
        append_time(&sql, at_s[i]);
        buf_append_text(&sql, ", 'missed', UTC_TIMESTAMP(6), '')");
    }
    buf_append_text(&sql, " ON DUPLICATE KEY UPDATE id=id");
    struct err e = db_again(db, &sql, NULL);
    buf_fini(&sql);
    return e;
}
