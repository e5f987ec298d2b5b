/* Runs as a worker knows them: content read once from the ledger, compiled once, shared by all the
 * run's jobs. Owned by the ledger thread; the sender reads what never changes. */
#ifndef MAILFLOCK_RUN_H
#define MAILFLOCK_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/content.h"
#include "common/db.h"
#include "common/err.h"
#include "common/mime.h"
#include "consumer/failing.h"

struct run {
    uint64_t id;
    int64_t scheduled_s; /* UTC */
    struct content content;
    struct message *mail;
    const char *domain; /* of message ids; in mail */
    size_t bytes;       /* roughly what it takes */
    struct failing failing;
    int refs; /* atomic by __atomic builtins: jobs are freed by the broker thread */
};

/* run_load: reads and compiles run id. ERR_INPUT where there is no such run or its content is
 * not readable, ERR_NEWER where a newer program can read it. The caller holds one reference. */
struct err run_load(struct db *db, uint64_t id, struct run **out) MUST_CHECK;
struct run *run_ref(struct run *run);
void run_unref(struct run *run); /* NULL is fine */

/* A small cache: the runs that were needed last. Ledger thread only. */
enum { RUN_CACHE_SIZE = 8, RUN_CACHE_BYTES = 32 * 1024 * 1024 };
struct run_cache {
    struct run *runs[RUN_CACHE_SIZE]; /* most recent first */
};
/* run_cache_get: a reference for the caller. */
struct err run_cache_get(struct run_cache *cache, struct db *db, uint64_t id,
                         struct run **out) MUST_CHECK;
/* run_cache_trim: forgets runs past RUN_CACHE_BYTES in all, those first that were not needed for
 * the longest time. The most recent stays, and so do runs that jobs still refer to: to forget one
 * of these would free nothing, and the next job would load it a second time. */
void run_cache_trim(struct run_cache *cache);
void run_cache_fini(struct run_cache *cache);

#endif
