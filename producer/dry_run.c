/* The same path as a real run up to the message, then that of a worker: what is rendered here has
 * gone through the chunk message. */
#include "producer/dry_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/campaign_audience.h"
#include "common/campaign_content.h"
#include "common/clock.h"
#include "common/content_mail.h"
#include "common/start.h"
#include "producer/chunker.h"
#include "producer/feed.h"
#include "producer/run_row.h"

struct count {
    uint64_t recipients, undeliverable, chunks;
};

struct dry {
    const struct run_request *request;
    struct campaign campaign;
    struct audience *audience;
    struct db *control; /* for enrichment only, as the rest of these */
    struct enrich *enrich;
    struct enrich_stream *stream;
    struct message *message;
    int64_t scheduled_s;
};

/* The mail for one row of the audience. */
static struct err render(const struct dry *dry, const struct db_cell *row,
                         const struct contact *contact, struct buf *out)
{
    struct chunk_message m;
    TRY(recipient_read_back(audience_columns(dry->audience), row, contact, &m));
    struct err e = content_mail_for(dry->message, &m.recipients[0], dry->scheduled_s, out);
    chunk_fini(&m);
    return e;
}

static struct err take_row(const struct dry *dry, const struct db_cell *row,
                           const struct contact *contact, struct chunker *chunker,
                           struct count *count, struct buf *out)
{
    if (!count->recipients++) TRY(render(dry, row, contact, out));
    chunker_add(chunker, row, contact);
    return err_none();
}

static struct err read_page(const struct dry *dry, struct chunker *chunker, struct count *count,
                            uint64_t *rows, struct buf *out)
{
    const struct db_cell *row;
    TRY(audience_page(dry->audience, rows));
    for (uint64_t i = 0; i < *rows; i++) {
        TRY(audience_row(dry->audience, &row));
        TRY(take_row(dry, row, NULL, chunker, count, out));
    }
    if (!*rows) return err_none();
    return audience_row(dry->audience, &row); /* the end, with the checks that come there */
}

/* The service is asked for everybody, as it would be by a run. */
static struct err read_enriched(const struct dry *dry, struct chunker *chunker, struct count *count,
                                uint64_t *rows, struct buf *out)
{
    const struct db_cell *row;
    const struct contact *contact;
    if (enrich_wants_rows(dry->stream))
        TRY(feed_page(dry->audience, dry->stream));
    else
        TRY(feed_await(dry->stream, NULL));
    while (enrich_next(dry->stream, &row, &contact))
        TRY(take_row(dry, row, contact, chunker, count, out));
    *rows = !enrich_is_over(dry->stream);
    return err_none();
}

static struct err read_all(const struct dry *dry, struct count *count, struct buf *out)
{
    struct chunker chunker;
    uint64_t rows = 1;
    struct err e = err_none();
    chunker_init(&chunker, audience_columns(dry->audience), 0, 0,
                 (uint32_t)dry->campaign.audience.chunk_size);
    while (!e.code && rows) {
        e = dry->stream ? read_enriched(dry, &chunker, count, &rows, out)
                        : read_page(dry, &chunker, count, &rows, out);
        if (!rows) chunker_finish(&chunker);
        count->chunks += chunker.n;
        chunker_shift(&chunker);
    }
    count->undeliverable = chunker.undeliverable;
    chunker_fini(&chunker);
    return e;
}

static struct err find_time(struct dry *dry)
{
    struct db *db;
    struct db_config config = start_db_config(dry->request->settings, "mailflock-producer");
    dry->scheduled_s = dry->request->at_s;
    if (dry->request->has_at) return err_none();
    TRY(start_db(dry->request->settings, &config, &db));
    struct err e = run_row_now(db, &dry->scheduled_s);
    db_close(db);
    return e;
}

static struct err open_enrich(struct dry *dry)
{
    if (!*dry->campaign.enrich.url) return err_none();
    TRY(run_open_control(dry->request->settings, &dry->control));
    TRY(feed_open(&dry->campaign, dry->control, dry->scheduled_s, &dry->enrich));
    dry->stream = enrich_stream_new(dry->enrich, audience_columns(dry->audience));
    return err_none();
}

static struct err steps(struct dry *dry, struct buf *out)
{
    const struct settings *settings = dry->request->settings;
    TRY(campaign_content_load(settings, dry->request->campaign, &dry->campaign));
    struct content content = campaign_content(&dry->campaign);
    TRY(content_compile(&content, &dry->message));
    TRY(find_time(dry));
    TRY(campaign_audience_start(settings, &dry->campaign, dry->scheduled_s, &dry->audience));
    TRY(open_enrich(dry));
    struct count count = {0};
    TRY(read_all(dry, &count, out));
    char iso[CLOCK_ISO_SIZE];
    buf_append_format(out,
                      "dry_run=yes campaign=%s scheduled_at=%s chunks=%" PRIu64
                      " recipients=%" PRIu64 " undeliverable=%" PRIu64,
                      dry->campaign.name, clock_iso_format(dry->scheduled_s, iso), count.chunks,
                      count.recipients, count.undeliverable);
    return err_none();
}

struct err dry_run(const struct run_request *request, struct buf *out)
{
    struct dry dry = {.request = request};
    struct err e = steps(&dry, out);
    message_free(dry.message);
    enrich_stream_free(dry.stream);
    enrich_free(dry.enrich);
    db_close(dry.control);
    audience_close(dry.audience);
    campaign_free(&dry.campaign);
    return e;
}
