/* Lists of recipients. One page at a time is read and written before the next. Reads only. */
#include "console/recipients.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "console/console.h"

enum { PAGE_ROWS = 1000, PAGE_BYTES_MAX = 8 * 1024 * 1024, REASONS_MAX = 1000 };

static const char *const COLUMNS[] = {"chunk",   "position", "recipient", "email",
                                      "attempt", "code",     "enhanced",  "detail",
                                      "maybe",   "at",       "message_id"};
enum { N_COLUMNS = sizeof COLUMNS / sizeof COLUMNS[0] };
static const char *const REASON_COLUMNS[] = {"recipients", "code", "enhanced", "example"};
enum { N_REASON_COLUMNS = sizeof REASON_COLUMNS / sizeof REASON_COLUMNS[0] };

void recipients_csv_field(struct buf *out, const char *text, size_t len)
{
    bool plain = true;
    for (size_t i = 0; i < len && plain; i++) plain = !strchr(",\"\r\n", text[i]) || !text[i];
    if (plain) {
        buf_append(out, text, len);
        return;
    }
    buf_append_char(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"') buf_append_char(out, '"');
        buf_append_char(out, text[i]);
    }
    buf_append_char(out, '"');
}

static void append_header(struct buf *out, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) buf_append_format(out, "%s%s", i ? "," : "", names[i]);
    buf_append_text(out, "\r\n");
}

static void append_csv(struct buf *out, const struct db_result *r)
{
    for (unsigned i = 0; i < db_columns(r); i++) {
        if (i) buf_append_char(out, ',');
        struct db_cell cell = db_cell(r, i);
        recipients_csv_field(out, cell.text ? cell.text : "", cell.len);
    }
    buf_append_text(out, "\r\n");
}

static void append_line(struct buf *out, const struct db_result *r)
{
    char id[300], email[1300], detail[1100];
    buf_append_format(out, "%s/%s %s %s attempt=%s code=%s", db_text(r, 0), db_text(r, 1),
                      console_text(id, sizeof id, db_text(r, 2)),
                      console_text(email, sizeof email, db_text(r, 3)), db_text(r, 4),
                      db_text(r, 5));
    if (*db_text(r, 6)) buf_append_format(out, " %s", db_text(r, 6));
    buf_append_format(out, " %s\n", console_text(detail, sizeof detail, db_text(r, 7)));
}

static struct err write_out(struct buf *out)
{
    TRY(buf_check(out, "a page of recipients"));
    size_t written = fwrite(out->data, 1, out->len, stdout);
    bool whole = written == out->len;
    buf_reset(out);
    return whole ? err_none() : err_make(ERR_IO, 0, "cannot write the answer");
}

/* Where the next page begins: behind this position. */
struct place {
    int64_t chunk, position;
};

static struct err print_page(struct db *db, uint64_t run, enum tally_status status, bool csv,
                             struct place *after, struct buf *out, uint64_t *rows)
{
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT chunk_no, position, recipient_id, email, attempt, code, enhanced, detail,"
                  " maybe, DATE_FORMAT(at, '%%Y-%%m-%%dT%%H:%%i:%%s.%%fZ'), message_id"
                  " FROM delivery WHERE run_id = %" PRIu64 " AND (chunk_no > %" PRId64
                  " OR (chunk_no = %" PRId64 " AND position > %" PRId64 ")) AND status = '%s'"
                  " ORDER BY chunk_no, position LIMIT %d",
                  run, after->chunk, after->chunk, after->position, TALLY_STATUS_NAMES[status],
                  PAGE_ROWS));
    *rows = db_rows(r);
    while (db_next(r)) {
        after->chunk = db_i64(r, 0);
        after->position = db_i64(r, 1);
        if (csv)
            append_csv(out, r);
        else
            append_line(out, r);
    }
    db_result_free(r);
    return write_out(out);
}

struct err recipients_print(struct db *db, uint64_t run, enum tally_status status, bool csv)
{
    struct place after = {-1, -1};
    struct buf out;
    uint64_t rows;
    struct err e;
    buf_init(&out, PAGE_BYTES_MAX);
    if (csv) append_header(&out, COLUMNS, N_COLUMNS);
    do e = print_page(db, run, status, csv, &after, &out, &rows);
    while (!e.code && rows == PAGE_ROWS);
    buf_fini(&out);
    return e;
}

static void append_reasons(struct buf *out, struct db_result *r, bool csv)
{
    char detail[1100];
    if (csv) append_header(out, REASON_COLUMNS, N_REASON_COLUMNS);
    while (db_next(r)) {
        if (csv)
            append_csv(out, r);
        else
            buf_append_format(out, "%10s  %3s %-8s %s\n", db_text(r, 0), db_text(r, 1),
                              db_text(r, 2), console_text(detail, sizeof detail, db_text(r, 3)));
    }
}

struct err recipients_print_reasons(struct db *db, uint64_t run, enum tally_status status, bool csv)
{
    struct db_result *r;
    struct buf out;
    /* Replies hold queue ids and addresses; code and enhanced code say what they have in common.
     * Without a reply the detail is our own words, and few. */
    TRY(db_queryf(db, &r,
                  "SELECT COUNT(*) AS n, code, enhanced, MIN(detail) FROM delivery"
                  " WHERE run_id = %" PRIu64 " AND status = '%s'"
                  " GROUP BY code, enhanced, IF(code = 0, detail, '')"
                  " ORDER BY n DESC, code, enhanced LIMIT %d",
                  run, TALLY_STATUS_NAMES[status], REASONS_MAX));
    buf_init(&out, PAGE_BYTES_MAX);
    append_reasons(&out, r, csv);
    db_result_free(r);
    struct err e = write_out(&out);
    buf_fini(&out);
    return e;
}
