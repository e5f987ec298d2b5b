/* What EXPLAIN says of a page of an audience, judged. Pure. */
#ifndef MAILFLOCK_CONSOLE_CHECK_PLAN_H
#define MAILFLOCK_CONSOLE_CHECK_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A row of EXPLAIN; texts are "" where it says nothing. */
struct check_plan_row {
    const char *table, *type, *key, *extra;
    uint64_t rows; /* the server's estimate */
    bool leads;    /* the first table of the outermost SELECT: the one that is paged through */
};

enum { CHECK_PLAN_FEW = 1000, CHECK_PLAN_TEXT = 300 }; /* rows that cost nothing to speak of */

/* check_plan_problem: writes why each page would read or sort much more than a page of rows; false
 * where it would not. A page ought to be a range scan of the id's index. */
bool check_plan_problem(const struct check_plan_row *row, char out[CHECK_PLAN_TEXT]);

/* check_hold_ms: how long a mail may take, in ms, before the last of prefetch chunks has been in a
 * worker's hands for hold_ms, with every connection at work. */
int64_t check_hold_ms(int prefetch, int chunk, int connections, int64_t hold_ms);

#endif
