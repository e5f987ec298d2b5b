/* The first row of a CSV file that is to be imported: the names of its columns. Pure. */
#ifndef MAILFLOCK_CONSOLE_IMPORT_HEADER_H
#define MAILFLOCK_CONSOLE_IMPORT_HEADER_H

#include <stdbool.h>

#include "common/err.h"
#include "console/csv.h"

struct import_header {
    char **names; /* without blanks around them; "id" and "email" in lower case */
    unsigned n;
    int id, email; /* which of them; -1: there is none */
};

/* import_header_read: the names of the row; freed with import_header_fini, also on failure.
 * ERR_INPUT where a name cannot be a column's or a template's, or is there twice. */
struct err import_header_read(struct import_header *h, const struct csv *row) MUST_CHECK;
void import_header_fini(struct import_header *h);

/* import_header_find: the index of the column, whatever the case of its letters; -1: none. */
int import_header_find(const struct import_header *h, const char *name);

/* import_trim: the field without blanks around it. */
struct csv_field import_trim(struct csv_field f);

#endif
