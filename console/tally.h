/* The tally of a run: its row, and the sums over its chunk rows. */
#ifndef MAILFLOCK_CONSOLE_TALLY_H
#define MAILFLOCK_CONSOLE_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/campaign.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/err.h"

/* In the order of the counters of a chunk row. */
enum tally_status {
    TALLY_SENT,
    TALLY_FAILED,
    TALLY_DEFERRED,
    TALLY_SUPPRESSED,
    TALLY_SKIPPED,
    TALLY_UNKNOWN,
    TALLY_STATUSES
};
/* The words of the ledger, also the names of the counter columns. */
extern const char *const TALLY_STATUS_NAMES[TALLY_STATUSES];

enum tally_chunk_state { TALLY_PLANNED, TALLY_QUEUED, TALLY_DONE, TALLY_STUCK, TALLY_CHUNK_STATES };
extern const char *const TALLY_CHUNK_STATE_NAMES[TALLY_CHUNK_STATES];

enum tally_control { TALLY_GO, TALLY_PAUSED, TALLY_CANCELLED };

enum {
    TALLY_LIST_MAX = 1000,
    TALLY_HOLDERS_MAX = 32,
    TALLY_OWNER_MAX = 64 * 4 + 1,
    TALLY_TIME_SIZE = 28 /* "2026-01-02T03:04:05.678901Z" and a NUL */
};

/* Times are ISO 8601 in UTC, "" where not set. */
struct tally {
    uint64_t id;
    char campaign[CAMPAIGN_NAME_MAX + 1];
    char scheduled_at[CLOCK_ISO_SIZE];
    char created_at[TALLY_TIME_SIZE], published_at[TALLY_TIME_SIZE], completed_at[TALLY_TIME_SIZE];
    bool publishing; /* still open */
    bool missed;     /* an occurrence that was not begun in time: it has nothing else */
    enum tally_control control;
    int64_t recipients;
    int64_t counts[TALLY_STATUSES];
    int64_t chunks[TALLY_CHUNK_STATES];
    int64_t leased;  /* chunks with a live lease */
    int64_t waiting; /* queued chunks with pending positions */
};

/* tally_find: by number, by campaign (its newest run), or the newest of all where name is NULL; the
 * latter two pass over those that were missed.
 * ERR_STATE where there is none. */
struct err tally_find(struct db *db, const char *name, struct tally *out) MUST_CHECK;

/* tally_reread: the same run as it is now. */
struct err tally_reread(struct db *db, struct tally *run) MUST_CHECK;

/* tally_list: up to limit (TALLY_LIST_MAX at most) runs, newest first, into the caller's array. */
struct err tally_list(struct db *db, int limit, struct tally *out, int *count) MUST_CHECK;

struct tally_holder {
    char owner[TALLY_OWNER_MAX];
    int64_t chunks;
    int64_t lease_left_us; /* of its oldest lease; negative: passed */
};

/* What costs more than the sums: read when a single run is looked at. */
struct tally_detail {
    bool has_accepted; /* the delivery rows were looked at; without it the next six are unset */
    int64_t accepted;  /* rows that are sent */
    char first_at[TALLY_TIME_SIZE], last_at[TALLY_TIME_SIZE];
    int64_t span_us;  /* from the first to the last */
    int64_t since_us; /* from the first to now */
    int64_t last_10s; /* accepted in the last 10 s of the database's clock */
    struct tally_holder holders[TALLY_HOLDERS_MAX];
    int n_holders;
    bool has_oldest; /* the first chunk with pending or deferred positions */
    struct {
        int64_t chunk, attempt, pending, deferred;
        char state[16];
        char next_due[TALLY_TIME_SIZE];
    } oldest;
};

/* tally_read_detail: with accepted the delivery rows of the run are scanned (about half a second
 * for a million). */
struct err tally_read_detail(struct db *db, const struct tally *run, bool accepted,
                             struct tally_detail *out) MUST_CHECK;

#endif
