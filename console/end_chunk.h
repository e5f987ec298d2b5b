/* Ending what is left of a chunk by the operator's word, for `skip` and `dead drop`. All of it is
 * within a transaction of the caller's. */
#ifndef MAILFLOCK_CONSOLE_END_CHUNK_H
#define MAILFLOCK_CONSOLE_END_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/chunk.h"
#include "common/db.h"
#include "common/err.h"

/* run and no say which. */
struct end_chunk {
    uint64_t run;
    uint32_t no;
    /* as it was read */
    char state[16];
    bool leased; /* and the lease lives */
    bool has_digest;
    uint64_t digest;
    uint32_t attempt, started, recipients;
    int64_t settled; /* recipients with a final outcome */
    /* what became of the others */
    int64_t skipped, unknown;
};

/* end_chunk_read: reads the row and, with lock, keeps it locked; *found is false where there is
 * none. */
struct err end_chunk_read(struct db *db, struct end_chunk *c, bool lock, bool *found) MUST_CHECK;

/* end_chunk_settle: after a read with lock: open positions become skipped, or unknown where they
 * may have been sent; the chunk is done, its seq moves, and skipped and unknown count. known: a
 * message with the recipients that are open; NULL: nobody knows who they were, and all positions
 * end. detail stands in their rows: a constant without quotes. */
struct err end_chunk_settle(struct db *db, struct end_chunk *c, const struct chunk_message *known,
                            const char *detail) MUST_CHECK;

#endif
