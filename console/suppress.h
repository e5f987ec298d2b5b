/* The suppression list: its keys and reasons, and many of them from a file. */
#ifndef MAILFLOCK_CONSOLE_SUPPRESS_H
#define MAILFLOCK_CONSOLE_SUPPRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/address.h"
#include "common/db.h"
#include "common/err.h"

enum { SUPPRESS_REASON_MAX = 255 }; /* characters */

/* suppress_key: the address as the list has it, with a NUL behind it; NULL, or the static reason
 * why it is no address. */
const char *suppress_key(const char *address, size_t len, char out[ADDRESS_MAX + 1]);

/* suppress_reason_problem: NULL, or the static reason why the text cannot be a reason. Pure. */
const char *suppress_reason_problem(const char *reason, size_t len);

/* suppress_import: every row of a CSV file (path "-": standard input) onto the list, and a report
 * to stdout. The first row names the columns, email and perhaps reason, others are passed over;
 * where it has no email, it is a row too: an address and perhaps a reason. Rows that are wrong are
 * named on stderr, and *bad tells that there are some. */
struct err suppress_import(struct db *db, const char *path, char separator, bool json,
                           bool *bad) MUST_CHECK;

#endif
