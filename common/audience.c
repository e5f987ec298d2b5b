/* Reads the audience and refuses what would break the accounts: an id that is missing, repeated or
 * out of order. Owns its connection, which can only read. Knows nothing of chunks. */
#include "common/audience.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/audience_sql.h"
#include "common/chunk.h"
#include "common/clock.h"
#include "common/id_order.h"

enum {
    PAGE_ROWS_FIRST = 100,
    PAGE_ROWS_MAX = 1000,    /* all of them may be large where those before were small */
    PAGE_BYTES = 768 * 1024, /* the aim, as the client library holds them */
    ROW_BYTES = 96,          /* about what it needs for a row, */
    CELL_BYTES = 16,         /* and for each cell, beside its text */
    SQL_MAX = 8 * 1024 * 1024,
    RANGE_ROWS_MAX = CHUNK_RECIPIENTS_MAX,
    CANNOT_WRITE = 1792, /* ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION of both servers */
};

struct audience {
    struct db *db;
    char *file, *sql;
    char scheduled_at[CLOCK_ISO_SIZE + 2]; /* quoted */
    struct db_column *columns;             /* their names are owned */
    struct recipient_columns shape;
    struct db_cell *row;
    struct id_order order;
    bool order_known;     /* the database's order of text ids was found to be the page's */
    bool order_unchecked; /* the current page is to be checked at its end */
    const char *start;    /* literal before every id */
    struct buf after, statement;
    char last_id[CHUNK_ID_MAX + 1]; /* "" before the first row */
    unsigned page_rows;
    uint64_t rows_read, bytes_read; /* of the current page */
    struct db_result *page;
};

/* Before every id. '' is before every text; MariaDB's type UUID compares with UUIDs only. */
static const char START_INT[] = "-9223372036854775808", START_TEXT[] = "''",
                  START_UUID[] = "'00000000-0000-0000-0000-000000000000'";

static struct err wrong(const struct audience *a, struct err e)
{
    bool writes = e.code == ERR_DB && e.native == CANNOT_WRITE;
    return err_wrap(e, "%s: audience.sql%s", a->file, writes ? " writes, and may only read" : "");
}

/* Makes the statement: the campaign's SELECT between head and tail. */
static void make_statement(struct audience *a, const char *head, const char *after, unsigned limit)
{
    char limit_text[16];
    snprintf(limit_text, sizeof limit_text, "%u", limit);
    struct audience_values values = {after, limit_text, a->scheduled_at};
    buf_reset(&a->statement);
    buf_append_text(&a->statement, head);
    audience_sql_fill(a->sql, &values, &a->statement);
}

/* A line break ends a comment that may stand at the end of the SELECT. */
static const char DERIVED_HEAD[] = "SELECT * FROM (", DERIVED_TAIL[] = "\n) a";

static struct err query(struct audience *a, struct db_result **out)
{
    struct err e = db_query(a->db, &a->statement, out);
    return e.code ? wrong(a, e) : e;
}

/* ---- what the SELECT gives */

static struct err lacks_column(const struct audience *a, const char *key, const char *name)
{
    struct buf names;
    buf_init(&names, 256);
    for (unsigned i = 0; i < a->shape.n; i++)
        buf_append_format(&names, "%s%.64s", i ? ", " : "", a->columns[i].name);
    struct err e = err_make(ERR_CONFIG, 0, "%s: %s: there is no column '%s'; its columns are: %s",
                            a->file, key, name, buf_text(&names));
    buf_fini(&names);
    return e;
}

static struct err find_column(const struct audience *a, const char *key, const char *name,
                              unsigned *at)
{
    for (unsigned i = 0; i < a->shape.n; i++) {
        *at = i;
        if (strcmp(a->columns[i].name, name) == 0) return err_none();
    }
    return lacks_column(a, key, name);
}

static struct err check_columns(struct audience *a, const struct audience_spec *spec)
{
    TRY(find_column(a, "audience.sql", "id", &a->shape.id));
    struct err e = find_column(a, "audience.sql", "email", &a->shape.email);
    if (e.code && !spec->email_elsewhere) return e;
    if (e.code) a->shape.email = a->shape.n;
    enum db_kind kind = a->columns[a->shape.id].kind;
    if (kind == DB_KIND_DECIMAL || kind == DB_KIND_JSON || kind == DB_KIND_BIT)
        return err_make(ERR_CONFIG, 0,
                        "%s: audience.sql: the column 'id' must be an integer or a text; CAST it",
                        a->file);
    return err_none();
}

static void copy_columns(struct audience *a, const struct db_result *r)
{
    a->shape.n = db_columns(r);
    a->columns = mem_alloc(a->shape.n * sizeof *a->columns);
    a->row = mem_alloc(a->shape.n * sizeof *a->row);
    for (unsigned i = 0; i < a->shape.n; i++) {
        a->columns[i] = db_column(r, i);
        a->columns[i].name = mem_copy_text(a->columns[i].name);
    }
    a->shape.items = a->columns;
}

static struct err call_json(struct audience *a, const struct audience_spec *spec)
{
    unsigned at = 0;
    for (size_t i = 0; i < spec->n_json; i++) {
        TRY(find_column(a, "audience.json", spec->json[i], &at));
        a->columns[at].kind = DB_KIND_JSON;
    }
    return err_none();
}

/* The columns, and that the SELECT can stand in FROM (...), which reading a range again needs. The
 * latter comes first: the server takes nothing there but what reads. */
static struct err describe(struct audience *a, const struct audience_spec *spec)
{
    struct db_result *r;
    make_statement(a, DERIVED_HEAD, "NULL", 0);
    buf_append_text(&a->statement, DERIVED_TAIL);
    TRY(query(a, &r));
    db_result_free(r);
    make_statement(a, "", "NULL", 0);
    TRY(query(a, &r));
    copy_columns(a, r);
    db_result_free(r);
    TRY(call_json(a, spec));
    return check_columns(a, spec);
}

static struct err has_rows_after(struct audience *a, const char *start, bool *has)
{
    struct db_result *r;
    make_statement(a, "", start, 1);
    TRY(query(a, &r));
    *has = db_rows(r) > 0;
    db_result_free(r);
    return err_none();
}

static struct err find_start(struct audience *a)
{
    bool has;
    a->start = START_INT;
    if (a->order.is_int) return err_none();
    a->start = START_TEXT;
    TRY(has_rows_after(a, START_TEXT, &has));
    if (has) return err_none();
    TRY(has_rows_after(a, START_UUID, &has));
    if (has) a->start = START_UUID;
    return err_none();
}

/* ---- opening and closing */

static struct err open_with(struct audience *a, const struct audience_spec *spec)
{
    char iso[CLOCK_ISO_SIZE];
    clock_iso_format(spec->scheduled_s, iso);
    snprintf(a->scheduled_at, sizeof a->scheduled_at, "'%.10s %.8s'", iso, iso + 11);
    TRY(db_exec_text(a->db, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
                     NULL));
    TRY(describe(a, spec));
    id_order_init(&a->order, a->columns[a->shape.id].kind == DB_KIND_INT);
    TRY(find_start(a));
    return audience_seek(a, NULL);
}

struct err audience_open(struct audience **out, struct db *db, const struct audience_spec *spec)
{
    struct audience *a = mem_alloc(sizeof *a);
    *out = NULL;
    a->db = db;
    a->file = mem_copy_text(spec->file);
    a->sql = mem_copy_text(spec->sql);
    a->page_rows = PAGE_ROWS_FIRST;
    buf_init(&a->after, 4 * CHUNK_ID_MAX);
    buf_init(&a->statement, SQL_MAX);
    struct err e = open_with(a, spec);
    if (e.code)
        audience_close(a);
    else
        *out = a;
    return e;
}

void audience_close(struct audience *a)
{
    if (!a) return;
    db_result_free(a->page);
    for (unsigned i = 0; i < a->shape.n; i++) free((char *)a->columns[i].name);
    free(a->columns);
    free(a->row);
    free(a->file);
    free(a->sql);
    id_order_fini(&a->order);
    buf_fini(&a->after);
    buf_fini(&a->statement);
    db_close(a->db);
    free(a);
}

const struct recipient_columns *audience_columns(const struct audience *a)
{
    return &a->shape;
}

/* ---- reading */

/* Appends the id as an SQL literal that compares as the audience orders. */
static struct err write_literal(struct audience *a, const char *id, struct buf *sql)
{
    if (!a->order.is_int) {
        db_quote(a->db, sql, id);
        return err_none();
    }
    if (!id_order_is_int(id))
        return err_make(ERR_STATE, 0,
                        "%s: the column 'id' holds integers now, and '%s' when the run began: its "
                        "type must not change during a run",
                        a->file, id);
    buf_append_text(sql, id);
    return err_none();
}

static void end_page(struct audience *a)
{
    db_result_free(a->page);
    a->page = NULL;
    a->rows_read = a->bytes_read = 0;
    a->order_unchecked = false;
}

struct err audience_seek(struct audience *a, const char *after)
{
    end_page(a);
    id_order_start(&a->order, after);
    snprintf(a->last_id, sizeof a->last_id, "%s", after ? after : "");
    return err_none();
}

/* The place to go on from, as an SQL literal in a->after. */
static struct err make_after(struct audience *a, const char *after)
{
    buf_reset(&a->after);
    if (after && *after) return write_literal(a, after, &a->after);
    buf_append_text(&a->after, a->start);
    return err_none();
}

/* As many rows as have about PAGE_BYTES, judged by the page before. */
static void fit_page_rows(struct audience *a)
{
    if (!a->rows_read) return;
    uint64_t fit = PAGE_BYTES / (a->bytes_read / a->rows_read + 1), most = a->page_rows * 2;
    if (fit > most) fit = most;
    if (fit > PAGE_ROWS_MAX) fit = PAGE_ROWS_MAX;
    a->page_rows = fit ? (unsigned)fit : 1;
}

/* Statements that must see the same rows stand between these two. */
static struct err begin_snapshot(struct audience *a)
{
    return db_exec_text(a->db, "START TRANSACTION", NULL);
}

static struct err end_snapshot(struct audience *a)
{
    return db_exec_text(a->db, "COMMIT", NULL);
}

static struct err take_page(struct audience *a, unsigned limit)
{
    TRY(query(a, &a->page));
    if (db_columns(a->page) != a->shape.n)
        return err_make(ERR_INPUT, 0, "%s: the audience's columns changed during the run", a->file);
    if (db_rows(a->page) > limit)
        return err_make(ERR_CONFIG, 0, "%s: audience.sql gave more rows than :limit", a->file);
    return err_none();
}

struct err audience_page(struct audience *a, uint64_t *rows)
{
    *rows = 0;
    fit_page_rows(a);
    end_page(a);
    TRY(make_after(a, a->last_id));
    if (!a->order.is_int && !a->order_known) {
        TRY(begin_snapshot(a)); /* of the page and the check at its end */
        a->order_unchecked = true;
    }
    make_statement(a, "", buf_text(&a->after), a->page_rows);
    TRY(take_page(a, a->page_rows));
    *rows = db_rows(a->page);
    id_order_page(&a->order);
    if (*rows || !a->order_unchecked) return err_none();
    a->order_unchecked = false;
    return end_snapshot(a);
}

const char *audience_place(const struct audience *a)
{
    return a->last_id;
}

/* MySQL 9 prints a tree unless it is asked for a table. MariaDB knows no other than the table, and
 * no such word; it reads no comment for MySQL from 5.7 on. */
#define EXPLAIN "EXPLAIN /*!80000 FORMAT=TRADITIONAL */ "

struct err audience_explain(struct audience *a, struct db_result **out)
{
    TRY(make_after(a, a->last_id));
    make_statement(a, EXPLAIN, buf_text(&a->after), a->page_rows);
    return query(a, out);
}

/* The last id before first among the next rows after a->after; "" where there is none. */
static struct err last_before(struct audience *a, const char *first, unsigned limit,
                              char id[CHUNK_ID_MAX + 1])
{
    struct db_result *r;
    const char *problem = NULL;
    id[0] = '\0';
    make_statement(a, "SELECT a.id FROM (", buf_text(&a->after), limit);
    buf_append_text(&a->statement, DERIVED_TAIL);
    buf_append_text(&a->statement, " WHERE a.id < ");
    TRY(write_literal(a, first, &a->statement));
    buf_append_text(&a->statement, " ORDER BY a.id DESC LIMIT 1");
    TRY(query(a, &r));
    if (db_next(r)) {
        problem = recipient_id_problem(db_cell(r, 0));
        if (!problem) snprintf(id, CHUNK_ID_MAX + 1, "%s", db_text(r, 0));
    }
    db_result_free(r);
    if (!problem) return err_none();
    return err_make(ERR_INPUT, 0, "%s: audience.sql: an id before '%s' %s", a->file, first,
                    problem);
}

/* Any number of rows may have come between the chunk before and this one. Goes past them: they must
 * not use up the limit of those who are in the range. */
static struct err skip_gap(struct audience *a, const struct audience_range *range)
{
    char id[CHUNK_ID_MAX + 1];
    for (unsigned limit = 1;; limit = limit < PAGE_ROWS_MAX ? limit * 4 : limit) {
        TRY(last_before(a, range->first, limit, id));
        if (!id[0]) return err_none();
        if (strcmp(id, a->last_id) == 0)
            return err_make(ERR_INPUT, 0, "%s: audience.sql gave the id '%s' as one after itself",
                            a->file, id);
        TRY(audience_seek(a, id));
        TRY(make_after(a, id));
    }
}

static struct err make_range(struct audience *a, const struct audience_range *range, unsigned limit)
{
    make_statement(a, DERIVED_HEAD, buf_text(&a->after), limit);
    buf_append_text(&a->statement, DERIVED_TAIL);
    buf_append_text(&a->statement, " WHERE a.id >= ");
    TRY(write_literal(a, range->first, &a->statement));
    buf_append_text(&a->statement, " AND a.id <= ");
    TRY(write_literal(a, range->last, &a->statement));
    buf_append_text(&a->statement, " ORDER BY a.id");
    return err_none();
}

/* The inner SELECT begins in the range or behind it, and reads up to a limit. So the range is
 * complete once fewer than limit are in it: there was a row behind it, or no more at all. */
static struct err read_range(struct audience *a, const struct audience_range *range)
{
    uint64_t rows;
    TRY(audience_seek(a, range->after));
    TRY(make_after(a, range->after));
    TRY(skip_gap(a, range));
    for (unsigned limit = range->recipients + 1;; limit *= 4) {
        if (limit > RANGE_ROWS_MAX + 1) limit = RANGE_ROWS_MAX + 1;
        TRY(make_range(a, range, limit));
        TRY(take_page(a, limit));
        rows = db_rows(a->page);
        if (rows < limit) break;
        end_page(a);
        if (rows > RANGE_ROWS_MAX)
            return err_make(ERR_TOO_BIG, 0,
                            "%s: the audience has more than %d recipients from id '%.80s' to "
                            "'%.80s' now, which no chunk can hold",
                            a->file, RANGE_ROWS_MAX, range->first, range->last);
    }
    id_order_page(&a->order);
    return err_none();
}

struct err audience_range(struct audience *a, const struct audience_range *range)
{
    TRY(begin_snapshot(a));
    struct err e = read_range(a, range);
    struct err ended = end_snapshot(a);
    return e.code ? e : ended;
}

/* Text ids are in the column's own order, which only the database knows: after the page's last id
 * there must be none of the page. */
static struct err check_order(struct audience *a)
{
    struct db_result *r;
    a->order_unchecked = false;
    a->order_known = true;
    make_statement(a, "SELECT COUNT(*) FROM (", buf_text(&a->after), a->page_rows);
    buf_append_text(&a->statement, DERIVED_TAIL);
    buf_append_text(&a->statement, " WHERE a.id > ");
    db_quote(a->db, &a->statement, a->last_id);
    TRY(query(a, &r));
    bool ordered = db_next(r) && db_u64(r, 0) == 0;
    db_result_free(r);
    TRY(end_snapshot(a));
    if (ordered) return err_none();
    return err_make(ERR_INPUT, 0,
                    "%s: audience.sql: the rows are not in the order of their ids; "
                    "add ORDER BY id",
                    a->file);
}

static struct err check_id(struct audience *a, struct db_cell id)
{
    const char *problem = recipient_id_problem(id);
    if (!problem) problem = id_order_add(&a->order, id.text, id.len);
    if (!problem) {
        memcpy(a->last_id, id.text, id.len);
        a->last_id[id.len] = '\0';
        return err_none();
    }
    if (!a->last_id[0])
        return err_make(ERR_INPUT, 0, "%s: audience.sql: the id of the first row %s", a->file,
                        problem);
    return err_make(ERR_INPUT, 0, "%s: audience.sql: the id%s%.*s%s of the row after id '%s' %s",
                    a->file, id.len ? " '" : "", (int)strnlen(id.text ? id.text : "", 64),
                    id.text ? id.text : "", id.len ? "'" : "", a->last_id, problem);
}

struct err audience_row(struct audience *a, const struct db_cell **row)
{
    *row = NULL;
    if (!a->page) return err_none();
    if (!db_next(a->page)) {
        db_result_free(a->page);
        a->page = NULL;
        return a->order_unchecked ? check_order(a) : err_none();
    }
    size_t bytes = ROW_BYTES;
    for (unsigned i = 0; i < a->shape.n; i++) {
        a->row[i] = db_cell(a->page, i);
        bytes += a->row[i].len + CELL_BYTES;
    }
    TRY(check_id(a, a->row[a->shape.id]));
    a->rows_read++;
    a->bytes_read += bytes;
    *row = a->row;
    return err_none();
}
