/* The ledger's side of dead letters (PROTOCOL C11). A stuck chunk has no holder: its token is NULL,
 * and nobody claims it. Each change names the state it expects, and moves seq, so that whoever
 * still believes to hold the chunk is fenced off (C5). */
#include <inttypes.h>
#include <string.h>

#include "common/db_again.h"
#include "common/start.h"
#include "console/dead.h"
#include "console/end_chunk.h"

enum { DUE_MINUTES = 10 }; /* as after any publish: then the producer publishes it again (P6) */

/* The row that the letter speaks of, by the same reading of the audience. */
#define OF_LETTER                                                                                  \
    " WHERE run_id = %" PRIu64 " AND chunk_no = %u AND attempt = %u"                               \
    " AND (digest IS NULL OR digest = %" PRIu64 ")"
#define LETTER(m) (m)->run, (m)->chunk, (m)->attempt, (m)->digest

static void judge(const struct end_chunk *chunk, const struct chunk_message *m,
                  struct dead_finding *out)
{
    bool stuck = strcmp(chunk->state, "stuck") == 0;
    out->verdict = DEAD_OVER;
    if (strcmp(chunk->state, "done") == 0) {
        out->why = "its chunk is done";
    } else if (m->attempt < chunk->attempt) {
        out->why = "its attempt is over";
    } else if (chunk->has_digest && chunk->digest != m->digest) {
        out->why = "its chunk was made of another reading of the audience";
    } else if (stuck && m->attempt > chunk->attempt) {
        out->why = "its chunk is stuck at an earlier attempt, which comes first";
    } else {
        out->verdict = stuck ? DEAD_STUCK : DEAD_OPEN;
        out->why = stuck ? "its chunk is stuck" : "its chunk is open";
    }
}

static struct err find(struct db *db, const struct chunk_message *m, bool lock,
                       struct end_chunk *chunk, struct dead_finding *out)
{
    bool found;
    *chunk = (struct end_chunk){.run = m->run, .no = m->chunk};
    *out = (struct dead_finding){DEAD_NO_CHUNK, "the ledger has no such chunk", 0, 0};
    TRY(end_chunk_read(db, chunk, lock, &found));
    if (found) judge(chunk, m, out);
    return err_none();
}

/* claims goes back to 0: the operator says that the cause is gone. The watermark stays: when the
 * chunk became stuck, what lay below it got its outcome. */
struct err dead_ledger_requeue(struct db *db, const struct chunk_message *m,
                               struct dead_finding *out)
{
    uint64_t matched;
    struct end_chunk chunk;
    *out = (struct dead_finding){DEAD_STUCK, "its chunk is stuck", 0, 0};
    TRY(db_execf(db, &matched,
                 "UPDATE chunk SET state = 'queued', claims = 0, seq = seq + 1, token = NULL,"
                 " owner = NULL, lease_until = NULL,"
                 " next_due = UTC_TIMESTAMP(6) + INTERVAL %d MINUTE" OF_LETTER
                 " AND state = 'stuck'",
                 DUE_MINUTES, LETTER(m)));
    return matched ? err_none() : find(db, m, false, &chunk, out);
}

/* Only if every position has its outcome then. */
static struct err settle(struct db *db, const struct chunk_message *m, struct end_chunk *chunk,
                         struct dead_finding *out)
{
    TRY(end_chunk_settle(db, chunk, m, "dropped by the operator"));
    out->skipped = chunk->skipped;
    out->unknown = chunk->unknown;
    if (chunk->settled + chunk->skipped + chunk->unknown == chunk->recipients) return err_none();
    return err_make(ERR_STATE, 0,
                    "chunk %" PRIu64
                    "/%u has recipients that the letter does not name: nothing was "
                    "changed; 'mailflock audit %" PRIu64 "' shows the accounts",
                    m->run, m->chunk, m->run);
}

struct err dead_ledger_key(struct db *db, uint64_t run, char out[BROKER_KEY_SIZE])
{
    struct db_result *r;
    *out = '\0';
    TRY(db_queryf(db, &r,
                  "SELECT " START_LANE_OF("content") ", " START_TRANSPORT_OF(
                      "content") " FROM run WHERE id = %" PRIu64 " AND publishing <> 'missed'",
                  run));
    if (db_next(r)) start_key(out, db_text(r, 0), db_text(r, 1));
    db_result_free(r);
    return err_none();
}

struct drop {
    const struct chunk_message *m;
    struct dead_finding *out;
};

static struct err drop(struct db *db, void *context)
{
    const struct drop *d = context;
    struct end_chunk chunk;
    TRY(find(db, d->m, true, &chunk, d->out));
    return d->out->verdict == DEAD_STUCK ? settle(db, d->m, &chunk, d->out) : err_none();
}

struct err dead_ledger_drop(struct db *db, const struct chunk_message *m, struct dead_finding *out)
{
    struct drop d = {m, out};
    return db_transaction(db, drop, &d);
}
