/* Many addresses onto the suppression list, from a file that other systems write: an export of
 * their bounces, or a bare list. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "console/bulk.h"
#include "console/csv_file.h"
#include "console/import_header.h"
#include "console/suppress.h"

static const char HEAD[] = "INSERT INTO suppression (email, reason, source, at) VALUES ";
/* An address that is there keeps what is known of it, unless the file gives another reason. */
static const char TAIL[] = " ON DUPLICATE KEY UPDATE"
                           " source = IF(VALUES(reason) IN ('', reason), source, VALUES(source)),"
                           " reason = IF(VALUES(reason) = '', reason, VALUES(reason))";

struct reading {
    struct db *db;
    struct csv_file *file;
    struct bulk bulk;
    unsigned n;        /* fields of the header; 0: there is none */
    int email, reason; /* columns; reason -1: none */
    uint64_t bad;
};

static void refuse(void *context, uint64_t line, const struct err *why)
{
    const struct reading *r = context;
    csv_file_complain(r->file, line, why->text);
}

/* Whether the first row is a header; then it says where the columns are. */
static bool take_header(struct reading *r)
{
    const struct csv *row = csv_file_row(r->file);
    r->reason = 1;
    for (unsigned i = 0; i < row->n; i++) {
        struct csv_field f = import_trim(csv_field(row, i));
        if (f.len == 5 && strncasecmp(f.text, "email", 5) == 0) r->email = (int)i, r->n = row->n;
    }
    if (!r->n) return false;
    r->reason = -1;
    for (unsigned i = 0; i < row->n; i++) {
        struct csv_field f = import_trim(csv_field(row, i));
        if (f.len == 6 && strncasecmp(f.text, "reason", 6) == 0) r->reason = (int)i;
    }
    return true;
}

static const char *take_row(struct reading *r, struct csv_field *reason, char key[ADDRESS_MAX + 1])
{
    const struct csv *row = csv_file_row(r->file);
    if (r->n ? row->n != r->n : row->n > 2)
        return r->n ? "the row has more or fewer fields than the header"
                    : "the row has more than an address and a reason";
    bool has_reason = r->reason >= 0 && (unsigned)r->reason < row->n;
    struct csv_field email = import_trim(csv_field(row, (unsigned)r->email));
    *reason =
        has_reason ? import_trim(csv_field(row, (unsigned)r->reason)) : (struct csv_field){"", 0};
    const char *problem = suppress_key(email.text, email.len, key);
    return problem ? problem : suppress_reason_problem(reason->text, reason->len);
}

static struct err add_row(struct reading *r)
{
    char key[ADDRESS_MAX + 1];
    struct csv_field reason;
    uint64_t line = csv_file_row(r->file)->first_line;
    const char *problem = take_row(r, &reason, key);
    if (problem) {
        r->bad++;
        csv_file_complain(r->file, line, problem);
        return err_none();
    }
    struct buf *values = bulk_begin(&r->bulk, line);
    buf_append_char(values, '(');
    db_quote(r->db, values, key);
    buf_append_char(values, ',');
    db_quote_bytes(r->db, values, reason.text, reason.len);
    buf_append_text(values, ",'import',UTC_TIMESTAMP(6))");
    return bulk_end(&r->bulk);
}

static struct err read_rows(struct reading *r)
{
    const struct csv *row = csv_file_row(r->file);
    for (bool first = true;; first = false) {
        enum csv_result result;
        TRY(csv_file_next(r->file, &result));
        if (result == CSV_END) return bulk_flush(&r->bulk);
        if (result == CSV_BAD) {
            r->bad++;
            csv_file_complain(r->file, row->first_line, row->problem);
        } else if (!first || !take_header(r)) {
            TRY(add_row(r));
        }
    }
}

static void report(const struct reading *r, int64_t took_us, bool json)
{
    uint64_t added = r->bulk.written, bad = r->bad + r->bulk.refused;
    const char *format = json ? "{\"rows\":%" PRIu64 ",\"imported\":%" PRIu64 ",\"bad\":%" PRIu64
                                ",\"seconds\":%.3f}\n"
                              : "suppress: rows=%" PRIu64 " imported=%" PRIu64 " bad=%" PRIu64
                                " seconds=%.1f\n";
    printf(format, added + bad, added, bad, (double)took_us / 1e6);
}

struct err suppress_import(struct db *db, const char *path, char separator, bool json, bool *bad)
{
    struct reading r = {.db = db};
    int64_t started = clock_boot_us();
    TRY(csv_file_open(&r.file, path, separator));
    bulk_init(&r.bulk, db, HEAD, TAIL);
    r.bulk.refuse = refuse;
    r.bulk.context = &r;
    struct err e = read_rows(&r);
    if (!e.code) report(&r, clock_boot_us() - started, json);
    *bad = r.bad || r.bulk.refused;
    bulk_fini(&r.bulk);
    csv_file_close(r.file);
    return e;
}
