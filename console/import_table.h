/* The table that a CSV file goes into: created when it is not there, else checked. */
#ifndef MAILFLOCK_CONSOLE_IMPORT_TABLE_H
#define MAILFLOCK_CONSOLE_IMPORT_TABLE_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/db.h"
#include "common/err.h"
#include "console/import_header.h"

enum { IMPORT_SQL_MAX = 1024 * 1024 };

struct import_table {
    bool created;
    bool *nullable;        /* by column of the header */
    struct buf head, tail; /* of the INSERT that updates rows which are there, by id or email */
};

/* import_table_open: the header has an email. Rows are known by id where the header has one, else
 * by email. ERR_INPUT for a table of Mailflock's own, ERR_STATE where the table lacks a column or a
 * unique key on id or email alone. Freed with import_table_fini, also on failure. */
struct err import_table_open(struct import_table *t, struct db *db, const char *name,
                             const struct import_header *header) MUST_CHECK;
void import_table_fini(struct import_table *t);

#endif
