/* The invariants of the ledger, and the report of where they break. Pure; audit.c reads. */
#ifndef MAILFLOCK_CONSOLE_AUDIT_H
#define MAILFLOCK_CONSOLE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "console/tally.h"

enum { AUDIT_SHOWN = 50, AUDIT_TEXT_SIZE = 64 };

/* A chunk row. */
struct audit_chunk {
    uint64_t run;
    int64_t chunk_no;
    enum tally_chunk_state state;
    bool publishing; /* of its run: still open */
    bool has_token, has_lease, has_digest;
    int64_t recipients, attempt, seq, started;
    int64_t counts[TALLY_STATUSES];
};

/* What its delivery rows come to; zeroed where it has none. */
struct audit_rows {
    int64_t counts[TALLY_STATUSES];
    int64_t total, max_position, max_attempt;
    int64_t maybe_ended; /* rows with maybe that are failed, skipped or suppressed */
};

struct audit_breach {
    uint64_t run;
    int64_t chunk_no; /* -1: of the run itself */
    const char *rule; /* static text */
    char expected[AUDIT_TEXT_SIZE], found[AUDIT_TEXT_SIZE];
};

/* The totals, and the first AUDIT_SHOWN breaches. Starts zeroed. */
struct audit {
    int64_t runs, chunks, recipients, deliveries, breaches;
    struct audit_breach shown[AUDIT_SHOWN];
};

/* audit_check_chunk: counts the chunk and its rows, and adds a breach per broken rule:
 *   pending      outcomes are no more than recipients
 *   count-S      the counter of status S is the number of rows of that status
 *   position     each row's position is below recipients
 *   attempt      no row is of an attempt that has not begun
 *   done-open    a done chunk has nothing pending or deferred
 *   maybe        what may have been sent ends sent or unknown (docs/protocol.md C12)
 *   lease        a lease has a token, a token a lease
 *   over-token   nobody holds a chunk that is done or stuck
 *   started      the watermark is no higher than recipients
 *   commit       outcomes come with commits (seq) and a digest
 *   planned      no chunk is still planned when publishing is done */
void audit_check_chunk(struct audit *a, const struct audit_chunk *chunk,
                       const struct audit_rows *rows);

/* audit_check_dense: chunk numbers of a run are 0, 1, 2 ...; rule "dense". */
void audit_check_dense(struct audit *a, uint64_t run, int64_t expected, int64_t found);

/* audit_check_run: rule "completed": a run marked complete is. */
void audit_check_run(struct audit *a, uint64_t run, bool publishing, bool completed, int64_t open);

/* audit_orphans: rows of deliveries without a chunk row, or of a run that does not exist; rule is
 * "no-chunk" or "no-run". */
void audit_orphans(struct audit *a, uint64_t run, int64_t chunk_no, const char *rule, int64_t rows);

/* audit_report: the breaches, "... and N more", and the last line. */
void audit_report(const struct audit *a, struct buf *out);

#endif
