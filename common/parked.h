/* Messages of paused runs. A worker that meets one puts it into queue mailflock.parked.<run>, where
 * nothing consumes it; the row in table parked says that there may be such a queue. Once the run
 * goes on, or is cancelled, they are moved back to the run's own queue (docs/protocol.md O2). */
#ifndef MAILFLOCK_PARKED_H
#define MAILFLOCK_PARKED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/settings.h"

/* parked_record: before each message is parked: writes the row. */
struct err parked_record(struct db *db, uint64_t run) MUST_CHECK;

/* parked_postpone: before a paused run goes on: if it has a row, next_due of its queued chunks is
 * set at least START_OVERDUE_S ahead, so that `due` publishes none of them again while they are
 * moved back. Without it there are more messages than chunks, which is harmless. */
struct err parked_postpone(struct db *db, uint64_t run) MUST_CHECK;

/* Whether to end early; NULL: never. */
typedef bool parked_enough(void);

/* parked_move: moves the messages of a run that is not paused back, each with a confirmed publish
 * and then its ack, until none is left. Where one was parked in the last seconds it waits for those
 * that a worker is parking just now. Ends early, without an error, when the run is paused again and
 * when it is enough. *moved is set in any case; after an error what was not
 * moved is parked as before. Any number of movers may work at once, and be killed at any moment:
 * what is then in both queues is a second message of its chunk, which workers drop or put off. */
struct err parked_move(const struct settings *settings, struct db *db, uint64_t run,
                       parked_enough *enough, uint64_t *moved) MUST_CHECK;

/* parked_sweep: for `due`: parked_move for each run that goes on or is cancelled, and an end to
 * queue and row of those that are complete and had nothing parked for ten minutes: by then no
 * worker is about to park a message of it. */
struct err parked_sweep(const struct settings *settings, struct db *db, parked_enough *enough,
                        uint64_t *moved) MUST_CHECK;

#endif
