/* What `check` and `preview` ask a campaign's contact service: as a run would, but with hardly any
 * patience. */
#ifndef MAILFLOCK_CONSOLE_ASK_H
#define MAILFLOCK_CONSOLE_ASK_H

#include <stdbool.h>

#include "common/enrich.h"

struct ask {
    struct campaign_enrich config; /* the campaign's, with retry_ms as its only delay */
    int64_t retry_ms;
    struct enrich *service;
    struct enrich_stream *stream;
};

/* ask_open: borrows all, and a stays where it is until ask_close. fresh: the cache is not looked
 * into, and nothing is kept. */
void ask_open(struct ask *a, const struct campaign_enrich *config, bool fresh, struct db *db,
              const struct recipient_columns *columns);
/* ask_close: harmless on a zeroed one. */
void ask_close(struct ask *a);

/* ask_next: after enrich_add to a->stream and enrich_end: the next row with its contact, waiting
 * for it; *row is NULL after the last. */
struct err ask_next(struct ask *a, const struct db_cell **row,
                    const struct contact **contact) MUST_CHECK;

#endif
