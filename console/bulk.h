/* Many rows into a table, in INSERT statements of many rows. Where the database refuses a statement
 * because of a row in it, halves of it are tried until that row stands alone: it is handed back
 * with the reason, all others are in the table. */
#ifndef MAILFLOCK_CONSOLE_BULK_H
#define MAILFLOCK_CONSOLE_BULK_H

#include <stdint.h>

#include "common/buf.h"
#include "common/db.h"
#include "common/err.h"

enum { BULK_ROWS = 1000, BULK_BYTES = 512 * 1024, BULK_BYTES_MAX = 8 * 1024 * 1024 };

struct bulk_row {
    size_t at;     /* where its text begins in values */
    uint64_t line; /* the caller's name for it */
};

struct bulk {
    struct db *db;
    const char *head,
        *tail; /* borrowed: "INSERT INTO t (a, b) VALUES " and what follows the rows */
    struct buf values, sql;
    struct bulk_row rows[BULK_ROWS + 1]; /* one more says where the last one ends */
    unsigned n;
    uint64_t written, refused;
    void (*refuse)(void *context, uint64_t line, const struct err *why);
    void *context;
};

/* bulk_init: borrows db, head and tail. */
void bulk_init(struct bulk *b, struct db *db, const char *head, const char *tail);
void bulk_fini(struct bulk *b);

/* bulk_begin: the caller now appends the row, "(1, 'x')", to what is returned, and nothing else,
 * then calls bulk_end, which writes when there is enough. Errors are those that concern no single
 * row: what was given before may or may not be written then. */
struct buf *bulk_begin(struct bulk *b, uint64_t line);
struct err bulk_end(struct bulk *b) MUST_CHECK;

/* bulk_flush: writes what is left. */
struct err bulk_flush(struct bulk *b) MUST_CHECK;

#endif
