/* A chunk of attempt 1 is its range of ids as the audience is today; a range that has become empty
 * is published empty. A later attempt is the deferred positions of the ledger, with what the
 * audience says of them today. */
#include "producer/republish.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/id_set.h"
#include "common/log.h"
#include "producer/feed.h"
#include "producer/run_row.h"
#include "producer/stop.h"

enum { BATCH = 50, BODY_MAX = CHUNK_BODY_MAX, OVERDUE_AGAIN_MINUTES = 60, SAID_MAX = 20 };

struct lost_chunk {
    uint32_t no, attempt, recipients;
    bool has_digest, has_before, unreadable;
    uint64_t digest;
    char first_id[CHUNK_ID_MAX + 1], last_id[CHUNK_ID_MAX + 1], before_id[CHUNK_ID_MAX + 1];
    char next_due[32]; /* as the database writes it; "" for NULL */
};

static const char *const CONDITIONS[] = {
    [REPUBLISH_PLANNED] = "c.state='planned'",
    [REPUBLISH_OVERDUE] = REPUBLISH_OVERDUE_SINCE("0 SECOND"),
    [REPUBLISH_LONG_OVERDUE] = REPUBLISH_OVERDUE_SINCE("6 HOUR"),
};

static void copy_text(char *out, size_t size, struct db_cell cell)
{
    snprintf(out, size, "%s", cell.text ? cell.text : "");
}

/* The next such chunks from number from on, with the last id of the chunk before each. */
static struct err find_lost(const struct republish *r, enum republish_which which, uint32_t from,
                            struct lost_chunk lost[BATCH], unsigned *n)
{
    struct db_result *rows;
    *n = 0;
    TRY(db_queryf(
        r->control, &rows,
        "SELECT c.chunk_no, c.attempt, c.digest, c.first_id, c.last_id, b.last_id, c.recipients,"
        " c.next_due FROM chunk c LEFT JOIN chunk b ON b.run_id=c.run_id"
        " AND b.chunk_no=CAST(c.chunk_no AS SIGNED)-1"
        " WHERE c.run_id=%" PRIu64 " AND c.chunk_no>=%u AND %s"
        " ORDER BY c.chunk_no LIMIT %d",
        r->publisher->run, from, CONDITIONS[which], BATCH));
    while (db_next(rows)) {
        struct lost_chunk *c = &lost[(*n)++];
        *c = (struct lost_chunk){
            .no = (uint32_t)db_u64(rows, 0),
            .attempt = (uint32_t)db_u64(rows, 1),
            .has_digest = db_cell(rows, 2).text != NULL,
            .digest = db_u64(rows, 2),
            .has_before = db_cell(rows, 5).text != NULL,
            .recipients = (uint32_t)db_u64(rows, 6),
        };
        copy_text(c->first_id, sizeof c->first_id, db_cell(rows, 3));
        copy_text(c->last_id, sizeof c->last_id, db_cell(rows, 4));
        copy_text(c->before_id, sizeof c->before_id, db_cell(rows, 5));
        copy_text(c->next_due, sizeof c->next_due, db_cell(rows, 7));
    }
    db_result_free(rows);
    return err_none();
}

/* ---- its rows, as they are today */

struct rows {
    struct audience *audience;
    struct enrich_stream *stream; /* NULL: as the audience has them */
    struct publisher *publisher;
};

static struct err fill_stream(struct rows *rows, const struct id_set *only)
{
    const struct db_cell *row;
    unsigned id = audience_columns(rows->audience)->id;
    for (;;) {
        TRY(audience_row(rows->audience, &row));
        if (!row) break;
        if (!only || id_set_has(only, row[id].text, row[id].len)) enrich_add(rows->stream, row);
    }
    enrich_end(rows->stream);
    return err_none();
}

/* Begins to read the chunk's range; a service is asked for all of it, or only for some ids. */
static struct err open_rows(const struct republish *r, const struct lost_chunk *c,
                            const struct id_set *only, struct rows *rows)
{
    struct audience_range range = {c->has_before ? c->before_id : NULL, c->first_id, c->last_id,
                                   c->recipients};
    *rows = (struct rows){r->audience, NULL, r->publisher};
    TRY(audience_range(r->audience, &range));
    if (!r->enrich) return err_none();
    rows->stream = enrich_stream_new(r->enrich, audience_columns(r->audience));
    struct err e = fill_stream(rows, only);
    if (e.code) enrich_stream_free(rows->stream);
    return e;
}

static void close_rows(struct rows *rows)
{
    enrich_stream_free(rows->stream);
}

/* *row is NULL after the last. A service that answers wrongly is no trouble of this chunk: it must
 * not be asked again for each of the others. */
static struct err next_row(const struct rows *rows, const struct db_cell **row,
                           const struct contact **contact)
{
    *contact = NULL;
    if (!rows->stream) return audience_row(rows->audience, row);
    struct err e = feed_await(rows->stream, rows->publisher);
    if (e.code == ERR_INPUT || e.code == ERR_TOO_BIG) e.code = ERR_IO;
    if (e.code) return e;
    if (!enrich_next(rows->stream, row, contact)) *row = NULL;
    return err_none();
}

/* ---- attempt 1 */

static struct err write_rows(const struct republish *r, const struct rows *rows, struct buf *body,
                             uint64_t *digest)
{
    const struct recipient_columns *columns = audience_columns(r->audience);
    const struct db_cell *row;
    const struct contact *contact;
    for (uint32_t position = 0;; position++) {
        TRY(next_row(rows, &row, &contact));
        if (!row) return err_none();
        recipient_write(body, position, columns, row, contact);
        *digest = chunk_digest_add(*digest, row[columns->id].text, row[columns->id].len);
    }
}

static struct err write_range(const struct republish *r, const struct lost_chunk *c,
                              struct buf *body, uint64_t *digest)
{
    struct rows rows;
    *digest = chunk_digest_start();
    TRY(open_rows(r, c, NULL, &rows));
    chunk_write_start(body, r->publisher->run, c->no, c->attempt);
    struct err e = write_rows(r, &rows, body, digest);
    close_rows(&rows);
    chunk_write_end(body, *digest);
    return e.code ? e : buf_check(body, "the message of a chunk whose range of ids has grown");
}

/* ---- later attempts */

static struct err read_deferred(const struct republish *r, const struct lost_chunk *c,
                                struct db_result **out)
{
    return db_queryf(r->control, out,
                     "SELECT position, recipient_id, email FROM delivery WHERE run_id=%" PRIu64
                     " AND chunk_no=%u AND status='deferred' ORDER BY position",
                     r->publisher->run, c->no);
}

static void collect_ids(struct db_result *deferred, struct id_set *ids)
{
    while (db_next(deferred)) {
        struct db_cell id = db_cell(deferred, 1);
        id_set_add(ids, id.text, id.len);
    }
}

/* Writes the deferred ones up to the row's (NULL: all the rest). One who has left the audience is
 * in the message all the same, as failed: nobody is lost. */
static struct err write_up_to(const struct republish *r, const struct db_cell *row,
                              const struct contact *contact, struct db_result *deferred,
                              struct buf *body)
{
    const struct recipient_columns *columns = audience_columns(r->audience);
    while (db_next(deferred)) {
        struct db_cell id = db_cell(deferred, 1);
        uint32_t position = (uint32_t)db_u64(deferred, 0);
        if (row && row[columns->id].len == id.len &&
            memcmp(row[columns->id].text, id.text, id.len) == 0) {
            recipient_write(body, position, columns, row, contact);
            return err_none();
        }
        recipient_write_failed(body, position, id, db_cell(deferred, 2),
                               "the recipient is no longer in the audience");
    }
    if (!row) return err_none();
    return err_make(ERR_STATE, 0, "the ids of the audience have changed their order");
}

/* Both the range and the deferred are in the order of the audience: walks them side by side. */
static struct err merge(const struct republish *r, const struct rows *rows,
                        const struct id_set *ids, struct db_result *deferred, struct buf *body)
{
    unsigned id = audience_columns(r->audience)->id;
    const struct db_cell *row;
    const struct contact *contact;
    do {
        TRY(next_row(rows, &row, &contact));
        if (!row || id_set_has(ids, row[id].text, row[id].len))
            TRY(write_up_to(r, row, contact, deferred, body));
    } while (row);
    return err_none();
}

static struct err write_deferred(const struct republish *r, const struct lost_chunk *c,
                                 struct buf *body)
{
    struct id_set ids;
    struct rows rows;
    struct db_result *deferred = NULL;
    id_set_init(&ids);
    struct err e = read_deferred(r, c, &deferred);
    if (!e.code) {
        collect_ids(deferred, &ids);
        db_result_free(deferred);
        e = read_deferred(r, c, &deferred);
    }
    if (!e.code) e = open_rows(r, c, &ids, &rows);
    if (!e.code) {
        chunk_write_start(body, r->publisher->run, c->no, c->attempt);
        e = merge(r, &rows, &ids, deferred, body);
        chunk_write_end(body, c->digest);
        close_rows(&rows);
    }
    if (!e.code) e = buf_check(body, "the message of a chunk's deferred recipients");
    db_result_free(deferred);
    id_set_fini(&ids);
    return e;
}

/* ---- one chunk, all chunks */

/* A message with another digest than the claimed one would be dropped (C2): it is not sent. */
static bool changed(const struct republish *r, const struct lost_chunk *c, uint64_t digest)
{
    if (!c->has_digest || c->digest == digest) return false;
    log_warn("republish",
             "msg=\"the audience has changed since the chunk was begun; it cannot be "
             "published again\" run=%" PRIu64 " chunk=%u attempt=%u",
             r->publisher->run, c->no, c->attempt);
    return true;
}

static struct err publish(const struct republish *r, const struct lost_chunk *c, struct buf *body,
                          uint64_t *n)
{
    uint64_t digest = c->digest;
    buf_reset(body);
    if (c->attempt == 1)
        TRY(write_range(r, c, body, &digest));
    else
        TRY(write_deferred(r, c, body));
    if (changed(r, c, digest)) return err_none();
    ++*n;
    return publisher_put(r->publisher, c->no, c->attempt, body->data, body->len);
}

/* As it was read: reading all ranges may have taken long, and who has set next_due meanwhile knows
 * more of the chunk than we do. */
static struct err postpone(const struct republish *r, const struct lost_chunk *c)
{
    return db_execf(r->control, NULL,
                    "UPDATE chunk c SET next_due=UTC_TIMESTAMP(6) + INTERVAL %d MINUTE"
                    " WHERE run_id=%" PRIu64 " AND chunk_no=%u AND attempt=%u AND next_due='%s'"
                    " AND %s",
                    OVERDUE_AGAIN_MINUTES, r->publisher->run, c->no, c->attempt, c->next_due,
                    CONDITIONS[REPUBLISH_OVERDUE]);
}

/* Only when the broker has them all: it may die with what is on its way, and a chunk postponed for
 * nothing would wait that long. */
static struct err postpone_confirmed(const struct republish *r, const struct lost_chunk lost[BATCH],
                                     unsigned n)
{
    TRY(publisher_settle(r->publisher));
    if (r->publisher->missed)
        return err_make(ERR_BROKER, 0,
                        "RabbitMQ did not take every overdue chunk; they are published again next "
                        "time");
    for (unsigned i = 0; i < n; i++)
        if (!lost[i].unreadable) TRY(postpone(r, &lost[i]));
    return err_none();
}

/* Whether the error is about this one chunk, and no reason to leave the others alone. */
static bool is_of_chunk(const struct republish *r, const struct err *e)
{
    if (stop_requested() || r->publisher->cancelled) return false;
    return e->code == ERR_INPUT || e->code == ERR_TOO_BIG || e->code == ERR_STATE;
}

static struct err publish_or_set_aside(const struct republish *r, struct lost_chunk *c,
                                       struct buf *body, struct republished *done, unsigned *said)
{
    struct err e = publish(r, c, body, &done->n);
    if (!e.code) return e;
    e = err_wrap(e, "chunk %u", c->no);
    if (!is_of_chunk(r, &e)) return e;
    c->unreadable = true;
    if (!done->unreadable.code) done->unreadable = e;
    log_write((*said)++ < SAID_MAX ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "republish",
              "msg=\"cannot be published again now; the others can\" run=%" PRIu64 " err=\"%s\"",
              r->publisher->run, e.text);
    return err_none();
}

static struct err publish_all(const struct republish *r, enum republish_which which,
                              struct lost_chunk lost[BATCH], struct buf *body,
                              struct republished *done)
{
    unsigned found, said = 0;
    for (uint32_t from = 0;; from = lost[found - 1].no + 1) {
        TRY(find_lost(r, which, from, lost, &found));
        if (found > r->most - done->n) found = (unsigned)(r->most - done->n);
        for (unsigned i = 0; i < found; i++) {
            if (stop_requested()) return err_make(ERR_STATE, 0, "stopped by a signal");
            TRY(publish_or_set_aside(r, &lost[i], body, done, &said));
        }
        if (which != REPUBLISH_PLANNED) TRY(postpone_confirmed(r, lost, found));
        if (found < BATCH) return err_none();
    }
}

struct err republish(const struct republish *r, enum republish_which which,
                     struct republished *done)
{
    struct buf body;
    struct lost_chunk *lost = mem_alloc(BATCH * sizeof *lost);
    buf_init(&body, BODY_MAX);
    *done = (struct republished){0};
    struct err e = publish_all(r, which, lost, &body, done);
    buf_fini(&body);
    free(lost);
    return e;
}
