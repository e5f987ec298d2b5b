/* The placeholders of a campaign's audience SQL. Pure. */
#ifndef MAILFLOCK_AUDIENCE_SQL_H
#define MAILFLOCK_AUDIENCE_SQL_H

#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"

/* What takes the placeholders' places, each as an SQL literal. */
struct audience_values {
    const char *after, *limit, *scheduled_at;
};

/* audience_sql_check: ERR_CONFIG where :after or :limit is missing outside quotes and comments, or
 * a quote or comment is left open. */
struct err audience_sql_check(const char *sql) MUST_CHECK;

/* audience_sql_fill: appends the statement with :after, :limit and :scheduled_at replaced, except
 * inside quotes (' " `) and comments (--, #, slash-star); blanks and semicolons at its end are left
 * out. */
void audience_sql_fill(const char *sql, const struct audience_values *values, struct buf *out);

#endif
