/* Each statement is a transaction of its own: what was written stays written when a later one
 * fails. */
#include "console/bulk.h"

#include "common/db_again.h"

void bulk_init(struct bulk *b, struct db *db, const char *head, const char *tail)
{
    *b = (struct bulk){.db = db, .head = head, .tail = tail};
    buf_init(&b->values, BULK_BYTES_MAX);
    buf_init(&b->sql, BULK_BYTES_MAX);
}

void bulk_fini(struct bulk *b)
{
    buf_fini(&b->values);
    buf_fini(&b->sql);
}

struct buf *bulk_begin(struct bulk *b, uint64_t line)
{
    if (b->n) buf_append_char(&b->values, ',');
    b->rows[b->n] = (struct bulk_row){b->values.len, line};
    return &b->values;
}

/* Whether the statement failed because of what a row holds, and not of what the table, the account
 * or the server is. The numbers are those of both servers. */
static bool concerns_rows(const struct err *e)
{
    static const int others[] = {
        1044, 1142, 1143, 1227, 1370, /* not allowed to */
        1049, 1054, 1064, 1146,       /* no such database, column, statement, table */
        1036, 1099, 1100, 1290, 1792, /* nothing can be written here */
        1153, 1364,                   /* max_allowed_packet; a column without a default */
    };
    if (e->code != ERR_DB || db_failure_of(e) != DB_FAILURE_STATEMENT) return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (e->native == others[i]) return false;
    return true;
}

static struct err write_rows(struct bulk *b, unsigned first, unsigned end)
{
    size_t from = b->rows[first].at, to = b->rows[end].at - 1; /* without the comma behind it */
    buf_reset(&b->sql);
    buf_append_text(&b->sql, b->head);
    buf_append(&b->sql, b->values.data + from, to - from);
    buf_append_text(&b->sql, b->tail);
    struct err e = db_again(b->db, &b->sql, NULL);
    if (!e.code) b->written += end - first;
    if (!e.code || !concerns_rows(&e)) return e;
    if (end - first == 1) {
        b->refused++;
        b->refuse(b->context, b->rows[first].line, &e);
        return err_none();
    }
    unsigned middle = first + (end - first) / 2;
    TRY(write_rows(b, first, middle));
    return write_rows(b, middle, end);
}

struct err bulk_flush(struct bulk *b)
{
    if (!b->n) return err_none();
    TRY(buf_check(&b->values, "a group of rows"));
    b->rows[b->n].at = b->values.len + 1;
    struct err e = write_rows(b, 0, b->n);
    buf_reset(&b->values);
    b->n = 0;
    return e;
}

struct err bulk_end(struct bulk *b)
{
    b->n++;
    return b->n == BULK_ROWS || b->values.len >= BULK_BYTES ? bulk_flush(b) : err_none();
}
