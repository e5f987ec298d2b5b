/* The producer's side of enrichment. Knows nothing of chunks. */
#include "producer/feed.h"

#include "common/clock.h"
#include "producer/run_row.h"
#include "producer/stop.h"

enum { WAIT_MS = 200 };

struct err feed_open(const struct campaign *campaign, struct db *control, int64_t scheduled_s,
                     struct enrich **out)
{
    int64_t now_s;
    *out = NULL;
    if (!*campaign->enrich.url) return err_none();
    TRY(run_row_now(control, &now_s));
    int64_t left_s = scheduled_s + campaign->schedule.start_within_ms / 1000 - now_s;
    *out = enrich_new(&campaign->enrich, control, clock_boot_us() + left_s * 1000000);
    return err_none();
}

struct err feed_page(struct audience *a, struct enrich_stream *stream)
{
    uint64_t rows;
    const struct db_cell *row;
    TRY(audience_page(a, &rows));
    if (!rows) enrich_end(stream);
    while (rows) {
        TRY(audience_row(a, &row));
        if (!row) break;
        enrich_add(stream, row);
    }
    return enrich_step(stream, 0);
}

struct err feed_await(struct enrich_stream *stream, struct publisher *p)
{
    for (;;) {
        if (enrich_ready(stream) || enrich_is_over(stream)) return err_none();
        if (stop_requested()) return err_make(ERR_STATE, 0, "stopped by a signal");
        TRY(enrich_step(stream, WAIT_MS));
        if (p) TRY(publisher_tend(p));
    }
}
