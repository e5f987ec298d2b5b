/* What `due` reads and writes besides runs: the marks of all campaigns, and rows of missed runs. */
#ifndef MAILFLOCK_PRODUCER_SCHEDULE_ROW_H
#define MAILFLOCK_PRODUCER_SCHEDULE_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "common/campaign.h"
#include "common/db.h"
#include "producer/occurrence.h"

/* Sorted by campaign. */
struct schedule_rows {
    struct schedule_row {
        char campaign[CAMPAIGN_NAME_MAX + 1];
        struct occurrence_mark mark;
    } * items;
    size_t n;
};

/* schedule_rows_load: all of them; owned, freed with schedule_rows_free, also after an error. */
struct err schedule_rows_load(struct db *db, struct schedule_rows *out) MUST_CHECK;
void schedule_rows_free(struct schedule_rows *rows);

/* schedule_rows_find: borrows the row of a campaign, or NULL. */
const struct schedule_row *schedule_rows_find(const struct schedule_rows *rows,
                                              const char *campaign);

/* schedule_rows_save: creates and changes rows; a mark never moves back. */
struct err schedule_rows_save(struct db *db, const struct schedule_rows *rows) MUST_CHECK;

/* schedule_row_now: the database's clock, microseconds since 1970. */
struct err schedule_row_now(struct db *db, int64_t *utc_us) MUST_CHECK;

/* schedule_row_drop_settled: takes those out of at_s[0..*n) that have a row in run, started or
 * missed; the others keep their order. */
struct err schedule_row_drop_settled(struct db *db, const char *campaign, int64_t *at_s,
                                     unsigned *n) MUST_CHECK;

/* schedule_row_missed: records these occurrences as missed, but for those that have a row. */
struct err schedule_row_missed(struct db *db, const char *campaign, const int64_t *at_s,
                               unsigned n) MUST_CHECK;

#endif
