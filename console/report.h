/* What status prints, as text and as JSON. Pure: into a buffer, from what was read. */
#ifndef MAILFLOCK_CONSOLE_REPORT_H
#define MAILFLOCK_CONSOLE_REPORT_H

#include "common/buf.h"
#include "console/progress.h"
#include "console/tally.h"

enum { REPORT_MAX = 4 * 1024 * 1024 }; /* bytes; holds TALLY_LIST_MAX runs as JSON */

/* report_list: a table, one run a line, with a header. */
void report_list(const struct tally *runs, int count, struct buf *out);

/* report_detail: the block of one run. */
void report_detail(const struct tally *run, const struct tally_detail *detail, struct buf *out);

/* report_line: one line of key=value; per_s is -1 where not known. */
void report_line(const struct tally *run, double per_s, struct buf *out);

/* report_bar: one line with a progress bar, for a terminal of that many columns; no line end. */
void report_bar(const struct tally *run, double per_s, int columns, struct buf *out);

/* The same as JSON, in json_report.c, without a line end. The keys are those of report_json_run:
 *   run, campaign, scheduled_at, state (progress_word), publishing (open|done|missed), control
 *   (go|paused|cancelled), created_at, published_at, completed_at, recipients, sent, failed,
 *   deferred, suppressed, skipped, unknown, pending, percent,
 *   chunks {total, planned, queued, done, stuck, leased}
 * and with a detail also
 *   rate (mails/s from the first to the last accepted), rate_10s, first_accepted_at,
 *   last_accepted_at, seconds (between the two), eta_s,
 *   holders [{owner, chunks, lease_left_s}],
 *   oldest_open {chunk, state, attempt, pending, deferred, next_due}
 * Times are ISO 8601 UTC; what is not known is null. report_json_list: {"runs": [...]}. */
void report_json_run(const struct tally *run, const struct tally_detail *detail, double per_s,
                     struct buf *out);
void report_json_list(const struct tally *runs, int count, struct buf *out);

/* report_publishing: open | done | missed. */
const char *report_publishing(const struct tally *run);

/* report_control: go | paused | cancelled. */
const char *report_control(const struct tally *run);

#endif
