/* CSV as RFC 4180 has it, fed piece by piece: rows end in CRLF or LF, a field in quotes may hold
 * separators, line breaks and doubled quotes. UTF-8, with or without a byte order mark. A row that
 * is not so is reported with its lines and the reason, and reading goes on with the next one. Lines
 * with nothing in them are no rows. Pure; memory is bounded by CSV_ROW_MAX. */
#ifndef MAILFLOCK_CONSOLE_CSV_H
#define MAILFLOCK_CONSOLE_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum { CSV_ROW_MAX = 1024 * 1024, CSV_FIELDS_MAX = 1000 }; /* bytes and fields of a row */

enum csv_result {
    CSV_MORE, /* feed more, or say that there is none */
    CSV_ROW,  /* csv_field reads it */
    CSV_BAD,  /* problem says why; its fields are not to be used */
    CSV_END,
};

struct csv {
    char separator;
    unsigned state; /* enum state of csv.c */
    const char *input;
    size_t left;
    bool at_end;
    unsigned mark;                  /* bytes of the byte order mark seen */
    struct buf row;                 /* the fields' bytes, a NUL behind each */
    size_t at[CSV_FIELDS_MAX];      /* where in row each begins */
    unsigned n;                     /* fields of the row; the open one not counted */
    uint64_t line;                  /* of the next byte, from 1 */
    uint64_t first_line, last_line; /* of the row just given */
    const char *problem;            /* static */
    bool begun;                     /* something of the row was seen */
    bool given;
};

struct csv_field {
    const char *text; /* NUL-terminated */
    size_t len;
};

void csv_init(struct csv *c, char separator);
void csv_fini(struct csv *c);

/* csv_feed: the next bytes, borrowed until csv_next answers CSV_MORE; only after that it may be
 * called again. No bytes: the end. */
void csv_feed(struct csv *c, const char *bytes, size_t len);

/* csv_next: CSV_MORE at first. What a row gave is valid until the next call. */
enum csv_result csv_next(struct csv *c);

/* csv_field: field i < n of the row; borrowed until the next csv_next. */
struct csv_field csv_field(const struct csv *c, unsigned i);

#endif
