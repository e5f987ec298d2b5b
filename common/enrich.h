/* Enrichment: recipients get what an HTTP service knows of them, many ids a call, never faster than
 * the campaign says. Rows of the audience go into a stream and come out in the same order, each
 * with its contact. docs/enrichment.md is the contract with the service. Belongs to one thread.
 *
 * Loop: enrich_add rows while enrich_wants_rows, enrich_end behind the last; enrich_step, and then
 * enrich_next until it has none; until enrich_is_over. */
#ifndef MAILFLOCK_ENRICH_H
#define MAILFLOCK_ENRICH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/campaign.h"
#include "common/db.h"
#include "common/err.h"
#include "common/recipient.h"

enum { ENRICH_ANSWER_MAX = 4 * 1024 * 1024 }; /* bytes of an answer */

struct enrich;        /* the calls of one run to its service */
struct enrich_stream; /* rows on their way */

/* enrich_new: borrows config, which has a url, and db, for cache and pace. Calls nobody.
 * deadline_us (CLOCK_BOOTTIME): until then a service that is down is waited for. */
struct enrich *enrich_new(const struct campaign_enrich *config, struct db *db, int64_t deadline_us);
/* enrich_free: takes e, NULL is fine; its streams are free already. Logs what was asked. */
void enrich_free(struct enrich *e);

/* enrich_stream_new: columns are those of the rows, borrowed. */
struct enrich_stream *enrich_stream_new(struct enrich *e, const struct recipient_columns *columns);
/* enrich_stream_free: drops what is on the way; NULL is fine. */
void enrich_stream_free(struct enrich_stream *s);

/* enrich_wants_rows: more rows would be of use, and there is room for a page of them. */
bool enrich_wants_rows(const struct enrich_stream *s);

/* enrich_add: copies the row, whose id has been checked. */
void enrich_add(struct enrich_stream *s, const struct db_cell *row);

/* enrich_end: no more rows follow. */
void enrich_end(struct enrich_stream *s);

/* enrich_step: looks into the cache, calls, and takes answers; waits up to timeout_ms unless the
 * next row is there. ERR_IO and ERR_TIMEOUT: the service was down for longer than is waited;
 * ERR_INPUT, ERR_TOO_BIG: it answers what cannot be used. Then all rows still in the stream are to
 * be read again another time. */
struct err enrich_step(struct enrich_stream *s, int timeout_ms) MUST_CHECK;

/* enrich_ready: enrich_next has a row. */
bool enrich_ready(const struct enrich_stream *s);

/* enrich_next: the next row with what is known of it, both borrowed until the next call; false
 * while its answer is not there, and at the end. */
bool enrich_next(struct enrich_stream *s, const struct db_cell **row,
                 const struct contact **contact);

/* enrich_is_over: every row has come out. */
bool enrich_is_over(const struct enrich_stream *s);

#endif
