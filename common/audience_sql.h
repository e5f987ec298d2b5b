/* The placeholders of a campaign's audience SQL. Pure. */
#ifndef MAILFLOCK_AUDIENCE_SQL_H
#define MAILFLOCK_AUDIENCE_SQL_H

#include <stddef.h>

#include "common/buf.h"

/* What takes the placeholders' places, each as an SQL literal. */
struct audience_values {
    const char *after, *limit, *scheduled_at;
};

/* audience_sql_problem: NULL, or a static reason ("must be ...") why this cannot be an audience: it
 * is no single SELECT, would write to a file or variable or lock rows (a read-only transaction does
 * not forbid all of that), lacks :after, :limit or ORDER BY outside quotes and comments, has a
 * comment that the server executes, or leaves a quote or comment open. Whether it is right is the
 * server's to say. */
const char *audience_sql_problem(const char *sql);

/* audience_sql_fill: appends the statement with :after, :limit and :scheduled_at replaced, except
 * inside quotes (' " `) and comments (--, #, slash-star); blanks and semicolons at its end are left
 * out. */
void audience_sql_fill(const char *sql, const struct audience_values *values, struct buf *out);

#endif
