/* Lists of recipients by what became of them, read in pages of the key: memory stays flat. */
#ifndef MAILFLOCK_CONSOLE_RECIPIENTS_H
#define MAILFLOCK_CONSOLE_RECIPIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/db.h"
#include "common/err.h"
#include "console/tally.h"

/* recipients_print: each recipient of that status to stdout, as a line for people, or as CSV with
 * a header (RFC 4180). */
struct err recipients_print(struct db *db, uint64_t run, enum tally_status status,
                            bool csv) MUST_CHECK;

/* recipients_print_reasons: how many per reply code, most frequent first, each with an example. */
struct err recipients_print_reasons(struct db *db, uint64_t run, enum tally_status status,
                                    bool csv) MUST_CHECK;

/* recipients_csv_field: appends text as one field, quoted where it must be. Pure. */
void recipients_csv_field(struct buf *out, const char *text, size_t len);

#endif
