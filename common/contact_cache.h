/* What contact services have said: table contact_cache, by the name of a cache and a recipient's
 * id. Filled by runs from answers, kept fresh by `mailflock-consumer --contacts` from events. */
#ifndef MAILFLOCK_CONTACT_CACHE_H
#define MAILFLOCK_CONTACT_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

enum { CONTACT_TIME_SIZE = 32, CONTACT_CACHE_MAX = 64 };

/* Borrowed. */
struct contact_entry {
    const char *id;
    size_t id_len;
    uint64_t version; /* greater is newer; 0: it has none */
    bool deleted;
    const char *json; /* NULL where it is deleted */
    size_t json_len;
};

/* contact_cache_find: of these ids, a list of SQL literals, *rows gets those that are no older than
 * ttl_ms: id, deleted, json; in the order of the ids' bytes. now is the database's time, for
 * contact_cache_store. */
struct err contact_cache_find(struct db *db, const char *cache, int64_t ttl_ms,
                              const struct buf *ids, struct db_result **rows,
                              char now[CONTACT_TIME_SIZE]) MUST_CHECK;

/* contact_cache_store: keeps the entries, but never an older one over a newer one: by version, or
 * where the entry has none, by whether the stored one is from after asked_at (a time from
 * contact_cache_find, or NULL for now). An equal version replaces: duplicates are harmless. */
struct err contact_cache_store(struct db *db, const char *cache,
                               const struct contact_entry *entries, size_t n,
                               const char *asked_at) MUST_CHECK;

/* contact_cache_purge: deletes some of what was stored more than keep_ms ago; *n counts. */
struct err contact_cache_purge(struct db *db, int64_t keep_ms, uint64_t *n) MUST_CHECK;

#endif
