/* The loop over pages: read, cut, commit the chunks as planned, publish, mark what was confirmed.
 * The next page is read while the broker writes this one. */
#include "producer/publish.h"

#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "producer/chunker.h"
#include "producer/feed.h"
#include "producer/republish.h"
#include "producer/stop.h"

enum { MISSED_TRIES = 5, BACKOFF_BASE_MS = 100, BACKOFF_MAX_MS = 2000 };

/* Publishes what is planned until nothing is; gives up when the broker refuses it all again and
 * again. */
static struct err publish_planned(struct publish *p)
{
    struct publisher *out = p->publisher;
    struct republish r = {p->control, p->audience, p->enrich, out, UINT64_MAX};
    struct republished done;
    uint64_t published = out->published;
    TRY(publisher_settle(out));
    for (int tries = 0;; tries++) {
        out->missed = false;
        TRY(republish(&r, REPUBLISH_PLANNED, &done));
        p->unreadable = done.unreadable;
        TRY(publisher_settle(out));
        if (!out->missed) return err_none();
        if (out->published > published) tries = 0;
        published = out->published;
        if (tries == MISSED_TRIES - 1 && *out->refusal)
            return err_make(ERR_BROKER, 0, "RabbitMQ refuses chunks of run %" PRIu64 ": %s",
                            out->run, out->refusal);
        clock_sleep_ms(clock_backoff_ms(tries, BACKOFF_BASE_MS, BACKOFF_MAX_MS));
    }
}

static struct err cut_page(struct publish *p, struct chunker *chunker, uint64_t *rows)
{
    const struct db_cell *row;
    TRY(audience_page(p->audience, rows));
    while (*rows) {
        TRY(audience_row(p->audience, &row));
        if (!row) break;
        chunker_add(chunker, row, NULL);
    }
    if (!*rows) chunker_finish(chunker);
    return buf_check(&chunker->body, "a page of the audience");
}

/* The same by way of a contact service: pages go in as long as it has too few ids to ask for, and
 * what it has answered comes out. *rows is 0 when nothing is left. */
static struct err cut_enriched(struct publish *p, struct enrich_stream *stream,
                               struct chunker *chunker, uint64_t *rows)
{
    const struct db_cell *row;
    const struct contact *contact;
    if (enrich_wants_rows(stream))
        TRY(feed_page(p->audience, stream));
    else
        TRY(feed_await(stream, p->publisher));
    while (enrich_next(stream, &row, &contact)) chunker_add(chunker, row, contact);
    *rows = !enrich_is_over(stream);
    if (!*rows) chunker_finish(chunker);
    return buf_check(&chunker->body, "what a contact service answered at once");
}

static struct err put_chunks(struct publish *p, struct chunker *chunker)
{
    for (unsigned i = 0; i < chunker->n; i++) {
        const struct chunker_chunk *c = &chunker->chunks[i];
        TRY(publisher_put(p->publisher, c->no, 1, chunker->body.data + c->at, c->len));
    }
    chunker_shift(chunker);
    return publisher_poll(p->publisher);
}

/* After a refusal or a lost connection: the missed ones at once, or page after page would follow
 * them into the same hole. */
static struct err make_up(struct publish *p)
{
    char place[CHUNK_ID_MAX + 1];
    if (!p->publisher->missed) return err_none();
    memcpy(place, audience_place(p->audience), sizeof place);
    TRY(publish_planned(p));
    return audience_seek(p->audience, place);
}

/* Publishes page after page; *ended tells that the audience has no more. */
static struct err pages(struct publish *p, struct enrich_stream *stream, struct chunker *chunker,
                        bool *ended)
{
    uint64_t rows = 1;
    while (rows && !stop_requested()) {
        TRY(run_row_refresh(p->control, p->row));
        if (p->row->control == RUN_CANCELLED) return err_none();
        TRY(stream ? cut_enriched(p, stream, chunker, &rows) : cut_page(p, chunker, &rows));
        TRY(run_row_plan(p->control, p->row->id, chunker->chunks, chunker->n));
        TRY(put_chunks(p, chunker));
        TRY(make_up(p));
    }
    *ended = !rows;
    return err_none();
}

static struct err publish_rest(struct publish *p, bool *ended)
{
    struct chunker chunker;
    uint32_t next_no;
    char last_id[CHUNK_ID_MAX + 1];
    TRY(run_row_end(p->control, p->row->id, &next_no, last_id));
    TRY(audience_seek(p->audience, last_id));
    const struct recipient_columns *columns = audience_columns(p->audience);
    struct enrich_stream *stream = p->enrich ? enrich_stream_new(p->enrich, columns) : NULL;
    chunker_init(&chunker, columns, p->row->id, next_no, p->chunk_size);
    struct err e = pages(p, stream, &chunker, ended);
    chunker_fini(&chunker);
    enrich_stream_free(stream);
    return e;
}

static struct err all_steps(struct publish *p)
{
    bool ended = p->row->audience_over;
    TRY(publish_planned(p));
    if (!ended) TRY(publish_rest(p, &ended));
    TRY(publisher_settle(p->publisher));
    if (p->row->control == RUN_CANCELLED) return err_none();
    if (!ended) return err_make(ERR_STATE, 0, "stopped by a signal");
    if (p->publisher->missed) TRY(publish_planned(p));
    if (p->unreadable.code) return p->unreadable;
    return run_row_publishing_done(p->control, p->row->id);
}

struct err publish_run(struct publish *p)
{
    struct err e = all_steps(p);
    /* A bad row or a signal says nothing against what is on its way. */
    if (e.code && e.code != ERR_DB && e.code != ERR_BROKER) {
        struct err settled = publisher_settle(p->publisher);
        if (settled.code && !p->publisher->cancelled)
            e = err_wrap(settled, "%.200s, and then", e.text);
    }
    if (!p->publisher->cancelled) return e;
    p->row->control = RUN_CANCELLED;
    return err_none();
}
