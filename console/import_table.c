/* What an import says to the database besides the rows. Owns the SQL around them. */
#include "console/import_table.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/schema.h"

/* ---- a new table */

static void append_column(struct buf *sql, const struct import_header *h, unsigned i)
{
    db_quote_name(sql, h->names[i]);
    if ((int)i == h->id)
        buf_append_text(sql, " VARCHAR(64) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY");
    else if ((int)i != h->email)
        buf_append_text(sql, " TEXT NULL");
    else
        buf_append_format(sql, " VARCHAR(320) COLLATE utf8mb4_bin NOT NULL%s",
                          h->id < 0 ? " UNIQUE" : "");
}

static struct err create(struct import_table *t, struct db *db, const char *name,
                         const struct import_header *h)
{
    struct buf sql;
    buf_init(&sql, IMPORT_SQL_MAX);
    buf_append_text(&sql, "CREATE TABLE ");
    db_quote_name(&sql, name);
    buf_append_text(&sql, " (");
    if (h->id < 0)
        buf_append_text(&sql, "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, ");
    for (unsigned i = 0; i < h->n; i++) {
        if (i) buf_append_text(&sql, ", ");
        append_column(&sql, h, i);
        t->nullable[i] = (int)i != h->id && (int)i != h->email;
    }
    buf_append_text(&sql, ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4");
    struct err e = db_exec(db, &sql, NULL);
    buf_fini(&sql);
    t->created = true;
    return e.code ? err_wrap(e, "the table '%.64s' cannot be created", name) : e;
}

/* ---- a table that is there */

static struct err query_of_table(struct db *db, const char *select, const char *name,
                                 const char *rest, struct db_result **out)
{
    struct buf sql;
    buf_init(&sql, IMPORT_SQL_MAX);
    buf_append_text(&sql, select);
    db_quote(db, &sql, name);
    buf_append_text(&sql, rest);
    struct err e = db_query(db, &sql, out);
    buf_fini(&sql);
    return e;
}

/* Sets nullable of the header's columns; *known tells which of them the table has. */
static struct err read_columns(struct import_table *t, struct db *db, const char *name,
                               const struct import_header *h, bool *known, uint64_t *columns)
{
    struct db_result *r;
    TRY(query_of_table(db,
                       "SELECT column_name, is_nullable FROM information_schema.columns"
                       " WHERE table_schema = DATABASE() AND table_name = ",
                       name, "", &r));
    *columns = db_rows(r);
    while (db_next(r)) {
        int i = import_header_find(h, db_text(r, 0));
        if (i < 0) continue;
        known[i] = true;
        t->nullable[i] = strcasecmp(db_text(r, 1), "YES") == 0;
    }
    db_result_free(r);
    return err_none();
}

static struct err check_key(struct db *db, const char *name, const char *key)
{
    struct db_result *r;
    bool found = false;
    TRY(query_of_table(db,
                       "SELECT MAX(column_name) FROM information_schema.statistics WHERE"
                       " non_unique = 0 AND table_schema = DATABASE() AND table_name = ",
                       name, " GROUP BY index_name HAVING COUNT(*) = 1", &r));
    while (db_next(r)) found = found || strcasecmp(db_text(r, 0), key) == 0;
    db_result_free(r);
    if (found) return err_none();
    return err_make(ERR_STATE, 0,
                    "the table '%.64s' has no unique key on %s alone, by which a row that is there "
                    "would be known: ALTER TABLE `%.64s` ADD UNIQUE (%s)",
                    name, key, name, key);
}

static struct err check(struct db *db, const char *name, const struct import_header *h,
                        const bool *known)
{
    for (unsigned i = 0; i < h->n; i++)
        if (!known[i])
            return err_make(
                ERR_STATE, 0,
                "the table '%.64s' has no column '%.64s': add it, or leave it out of the "
                "file",
                name, h->names[i]);
    return check_key(db, name, h->id >= 0 ? "id" : "email");
}

static struct err create_or_check(struct import_table *t, struct db *db, const char *name,
                                  const struct import_header *h)
{
    uint64_t columns;
    bool *known = mem_alloc(h->n * sizeof *known);
    struct err e = read_columns(t, db, name, h, known, &columns);
    if (!e.code) e = columns ? check(db, name, h, known) : create(t, db, name, h);
    free(known);
    return e;
}

/* ---- the INSERT */

/* ON DUPLICATE KEY takes any unique key, so a row may collide with one that is somebody else's (the
 * same email under another id). Then this is out of range, and the row is refused: 1690. */
static void append_guard(struct buf *sql, bool by_id)
{
    const char *key = by_id ? "id" : "email";
    const char *same =
        by_id ? "id <=> VALUES(id)"
              : "CAST(LOWER(email) AS BINARY) <=> CAST(LOWER(VALUES(email)) AS BINARY)";
    buf_append_format(sql, "%s = IF(%s, %s, 18446744073709551615 + LENGTH(VALUES(%s)))", key, same,
                      key, key);
}

static void write_insert(struct import_table *t, const char *name, const struct import_header *h)
{
    bool by_id = h->id >= 0;
    buf_append_text(&t->head, "INSERT INTO ");
    db_quote_name(&t->head, name);
    buf_append_text(&t->tail, " ON DUPLICATE KEY UPDATE ");
    append_guard(&t->tail, by_id);
    for (unsigned i = 0; i < h->n; i++) {
        buf_append_text(&t->head, i ? ", " : " (");
        db_quote_name(&t->head, h->names[i]);
        if ((int)i == (by_id ? h->id : h->email)) continue;
        buf_append_text(&t->tail, ", ");
        db_quote_name(&t->tail, h->names[i]);
        buf_append_text(&t->tail, " = VALUES(");
        db_quote_name(&t->tail, h->names[i]);
        buf_append_char(&t->tail, ')');
    }
    buf_append_text(&t->head, ") VALUES ");
}

struct err import_table_open(struct import_table *t, struct db *db, const char *name,
                             const struct import_header *h)
{
    *t = (struct import_table){.nullable = mem_alloc(h->n * sizeof *t->nullable)};
    buf_init(&t->head, IMPORT_SQL_MAX);
    buf_init(&t->tail, IMPORT_SQL_MAX);
    if (schema_has_table(name))
        return err_make(ERR_INPUT, 0, "the table '%s' is Mailflock's own", name);
    TRY(create_or_check(t, db, name, h));
    write_insert(t, name, h);
    TRY(buf_check(&t->head, "the names of the columns"));
    return buf_check(&t->tail, "the names of the columns");
}

void import_table_fini(struct import_table *t)
{
    buf_fini(&t->head);
    buf_fini(&t->tail);
    free(t->nullable);
    *t = (struct import_table){0};
}
