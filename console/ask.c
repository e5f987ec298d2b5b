/* The campaign's own settings for the service, but for what makes a run wait. */
#include "console/ask.h"

#include "common/clock.h"

enum { WAIT_MS = 200, RETRY_MS = 200 };

void ask_open(struct ask *a, const struct campaign_enrich *config, bool fresh, struct db *db,
              const struct recipient_columns *columns)
{
    a->config = *config;
    a->retry_ms = RETRY_MS;
    a->config.retry = (struct conf_durations){&a->retry_ms, 1};
    if (fresh) a->config.cache_ttl_ms = 0;
    a->service = enrich_new(&a->config, db, clock_boot_us());
    a->stream = enrich_stream_new(a->service, columns);
}

void ask_close(struct ask *a)
{
    enrich_stream_free(a->stream);
    enrich_free(a->service);
    *a = (struct ask){0};
}

struct err ask_next(struct ask *a, const struct db_cell **row, const struct contact **contact)
{
    while (!enrich_ready(a->stream) && !enrich_is_over(a->stream))
        TRY(enrich_step(a->stream, WAIT_MS));
    if (!enrich_next(a->stream, row, contact)) *row = NULL;
    return err_none();
}
