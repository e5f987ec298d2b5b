/* mailflock import: a CSV file becomes rows of a table that audiences can be read from. One row of
 * the file is in memory at a time, and one group of rows for the database. A row that is wrong is
 * named with its line, and all others are imported. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/address.h"
#include "common/clock.h"
#include "common/recipient.h"
#include "console/bulk.h"
#include "console/console.h"
#include "console/csv_file.h"
#include "console/import_header.h"
#include "console/import_table.h"

enum { COLLIDES = 1690 /* ER_DATA_OUT_OF_RANGE: import_table.c makes it */, FOLD_MAX = 2048 };

struct import {
    struct db *db;
    struct csv_file *file;
    struct import_header header;
    struct import_table table;
    struct bulk bulk;
    const char *table_name;
    uint64_t bad; /* rows that did not get as far as the database */
};

static void refuse(void *context, uint64_t line, const struct err *why)
{
    const struct import *in = context;
    const char *words = strstr(why->text, ": "); /* behind the statement's beginning */
    words = words ? words + 2 : why->text;
    if (why->native == COLLIDES) words = "another row of the table has the same unique value";
    csv_file_complain(in->file, line, words);
}

/* ---- one row */

static struct csv_field field(const struct import *in, int i)
{
    return import_trim(csv_field(csv_file_row(in->file), (unsigned)i));
}

static const char *row_problem(const struct import *in, char out[200])
{
    const struct csv *row = csv_file_row(in->file);
    char room[ADDRESS_MAX + 1];
    if (row->n != in->header.n) {
        snprintf(out, 200, "the row has %u fields, and the header %u", row->n, in->header.n);
        return out;
    }
    struct csv_field email = field(in, in->header.email);
    if (in->header.id >= 0) {
        struct csv_field id = field(in, in->header.id);
        const char *problem = recipient_id_problem((struct db_cell){id.text, id.len});
        snprintf(out, 200, "the id %s", problem ? problem : "");
        if (problem) return out;
    }
    return address_prepare(&email.text, &email.len, room);
}

static void append_value(struct import *in, struct buf *values, int i)
{
    struct csv_field f = csv_field(csv_file_row(in->file), (unsigned)i);
    char folded[FOLD_MAX];
    if (i == in->header.id || i == in->header.email) f = import_trim(f);
    if (i == in->header.email && in->header.id < 0 && f.len <= sizeof folded) {
        address_fold(f.text, f.len, folded);
        f.text = folded;
    }
    bool is_null = !f.len && in->table.nullable[i];
    db_quote_bytes(in->db, values, is_null ? NULL : f.text, f.len);
}

static struct err take_row(struct import *in)
{
    const struct csv *row = csv_file_row(in->file);
    char text[200];
    const char *problem = row_problem(in, text);
    if (problem) {
        in->bad++;
        csv_file_complain(in->file, row->first_line, problem);
        return err_none();
    }
    struct buf *values = bulk_begin(&in->bulk, row->first_line);
    buf_append_char(values, '(');
    for (unsigned i = 0; i < in->header.n; i++) {
        if (i) buf_append_char(values, ',');
        append_value(in, values, (int)i);
    }
    buf_append_char(values, ')');
    return bulk_end(&in->bulk);
}

/* ---- the file */

static struct err header_error(const struct import *in, struct err e)
{
    return err_wrap(e, "%s:%" PRIu64, csv_file_name(in->file), csv_file_row(in->file)->first_line);
}

static struct err take_header(struct import *in, const struct csv *row)
{
    if (row->n == 1 && strpbrk(csv_field(row, 0).text, ";,|\t"))
        return err_make(ERR_INPUT, 0,
                        "the header is a single name; say what separates them: --separator ';' or "
                        "--separator tab");
    TRY(import_header_read(&in->header, row));
    if (in->header.email >= 0) return err_none();
    return err_make(ERR_INPUT, 0, "the header has no column 'email'");
}

static struct err read_header(struct import *in)
{
    enum csv_result result;
    TRY(csv_file_next(in->file, &result));
    const struct csv *row = csv_file_row(in->file);
    if (result == CSV_END)
        return err_make(ERR_INPUT, 0, "%s has no header: the first row has to name the columns",
                        csv_file_name(in->file));
    struct err e = err_none();
    if (result == CSV_BAD)
        e = err_make(ERR_INPUT, 0, "the header cannot be read: %s; the file has to be UTF-8 text",
                     row->problem);
    if (!e.code) e = take_header(in, row);
    return e.code ? header_error(in, e) : e;
}

static struct err read_rows(struct import *in)
{
    const struct csv *row = csv_file_row(in->file);
    for (;;) {
        enum csv_result result;
        TRY(csv_file_next(in->file, &result));
        if (result == CSV_END) return bulk_flush(&in->bulk);
        if (result == CSV_ROW) {
            TRY(take_row(in));
        } else {
            in->bad++;
            csv_file_complain(in->file, row->first_line, row->problem);
        }
    }
}

static struct err import_file(struct import *in)
{
    TRY(read_header(in));
    TRY(import_table_open(&in->table, in->db, in->table_name, &in->header));
    bulk_init(&in->bulk, in->db, buf_text(&in->table.head), buf_text(&in->table.tail));
    in->bulk.refuse = refuse;
    in->bulk.context = in;
    struct err e = read_rows(in);
    if (!e.code) return e;
    return err_wrap(e, "%" PRIu64 " rows are imported; import the file again, that updates them",
                    in->bulk.written);
}

/* ---- the command */

static void report(const struct import *in, int64_t took_us, bool json)
{
    uint64_t imported = in->bulk.written, bad = in->bad + in->bulk.refused;
    double seconds = (double)took_us / 1e6;
    if (json)
        printf("{\"table\":\"%s\",\"created\":%s,\"rows\":%" PRIu64 ",\"imported\":%" PRIu64
               ",\"bad\":%" PRIu64 ",\"seconds\":%.3f}\n",
               in->table_name, in->table.created ? "true" : "false", imported + bad, imported, bad,
               seconds);
    else
        printf("import: table=%s%s rows=%" PRIu64 " imported=%" PRIu64 " bad=%" PRIu64
               " seconds=%.1f rows_per_s=%.0f\n",
               in->table_name, in->table.created ? " created=yes" : "", imported + bad, imported,
               bad, seconds, seconds > 0 ? (double)imported / seconds : 0);
}

/* What can stand in a report and in backquotes without a thought. */
static bool table_name_valid(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

int command_import(struct console *c, int argc, char **argv)
{
    struct import in = {0};
    const char *separator = NULL;
    char separator_char;
    bool json = false;
    const struct console_option options[] = {{"--table", NULL, &in.table_name},
                                             {"--separator", NULL, &separator},
                                             {"--json", &json, NULL}};
    if (!console_options(&argc, argv, options, 3, 1, 1)) return CONSOLE_USAGE;
    if (!in.table_name) return console_usage(argv[0], "--table NAME says where the rows go");
    if (!table_name_valid(in.table_name))
        return console_usage(argv[0], "a table's name has letters, digits, _ and -, at most 64");
    if (!csv_file_separator(separator, &separator_char))
        return console_usage(argv[0], "--separator takes , ; | or tab");
    int64_t started = clock_boot_us();
    struct err e = csv_file_open(&in.file, argv[1], separator_char);
    if (!e.code) e = console_open(c);
    in.db = c->db;
    if (!e.code) e = import_file(&in);
    if (!e.code) report(&in, clock_boot_us() - started, json);
    bool bad = in.bad || in.bulk.refused;
    bulk_fini(&in.bulk);
    import_table_fini(&in.table);
    import_header_fini(&in.header);
    csv_file_close(in.file);
    if (e.code) return console_fail(&e);
    return bad ? CONSOLE_FAILED : CONSOLE_DONE;
}
