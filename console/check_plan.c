/* The words are those of EXPLAIN, the same in MySQL and MariaDB. */
#include "console/check_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(word, *words) == 0) return true;
    return false;
}

static const char *row_problem(const struct check_plan_row *row)
{
    static const char *const whole[] = {"ALL", "index", NULL};
    static const char *const narrow[] = {"range", "const", "system", "eq_ref", NULL};
    if (is_one_of(row->type, whole)) return "reads it from end to end";
    if (row->leads && !is_one_of(row->type, narrow))
        return "reads it by another index than the id's";
    if (strstr(row->extra, "filesort")) return "sorts what it reads";
    if (strstr(row->extra, "temporary")) return "makes a temporary table of what it reads";
    return NULL;
}

bool check_plan_problem(const struct check_plan_row *row, char out[CHECK_PLAN_TEXT])
{
    const char *problem = *row->type && row->rows > CHECK_PLAN_FEW ? row_problem(row) : NULL;
    if (!problem) return false;
    snprintf(out, CHECK_PLAN_TEXT,
             "table %.64s: each page %s (type=%.20s key=%.64s, about %" PRIu64
             " rows): page by an index whose order is the id's",
             row->table, problem, row->type, *row->key ? row->key : "none", row->rows);
    return true;
}

int64_t check_hold_ms(int prefetch, int chunk, int connections, int64_t hold_ms)
{
    int64_t mails = (int64_t)prefetch * chunk;
    int64_t of_one = (mails + connections - 1) / connections;
    return hold_ms / (of_one ? of_one : 1);
}
