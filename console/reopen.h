/* Gives recipients that have an outcome another attempt (docs/protocol.md O1), or settles unknown
 * ones. Each chunk is one transaction; a chunk in a worker's hands is left alone. */
#ifndef MAILFLOCK_CONSOLE_REOPEN_H
#define MAILFLOCK_CONSOLE_REOPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "console/tally.h"

/* Which recipients: of one status, and of reply codes from code_least to code_most. */
struct reopen_choice {
    enum tally_status status;
    int code_least, code_most; /* 0 to 65535: any */
};

/* reopen_parse_code: "550", "55x", "4xx" into the two ends; false for anything else. Pure. */
bool reopen_parse_code(const char *text, int *least, int *most);

struct reopen_result {
    int64_t recipients, chunks;
    int64_t refused; /* chunks that a worker took up meanwhile: unchanged */
};

/* reopen_resend: the chosen become deferred, their chunks planned for attempt + 1, and the run open
 * for publishing again; mailflock-producer due publishes them. ERR_STATE, and nothing is changed,
 * where a chunk concerned is leased, stuck, or in the middle of an attempt. published_at stays: it
 * says that the audience has been read to its end. After an error of the database, result has the
 * chunks that were changed until then. Whatever the answer, reopen_publishing comes last. */
struct err reopen_resend(struct db *db, uint64_t run, const struct reopen_choice *choice,
                         struct reopen_result *result) MUST_CHECK;

/* reopen_publishing: the run is open as long as one of its chunks is planned. A producer that
 * published the first of several reopened chunks may have closed it on what it saw before the last
 * of them was planned. */
struct err reopen_publishing(struct db *db, uint64_t run) MUST_CHECK;

/* reopen_mark_sent: the unknown ones count as sent. The same conditions, but for attempts. */
struct err reopen_mark_sent(struct db *db, uint64_t run, struct reopen_result *result) MUST_CHECK;

#endif
