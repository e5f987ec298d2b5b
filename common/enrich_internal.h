/* What enrich.c (rows of a stream) and enrich_calls.c (calls of a service) share; nobody else. */
#ifndef MAILFLOCK_ENRICH_INTERNAL_H
#define MAILFLOCK_ENRICH_INTERNAL_H

#include "common/arena.h"
#include "common/contact_cache.h"
#include "common/enrich.h"
#include "common/http_client.h"
#include "common/service_pace.h"

/* One recipient; its cells and their bytes lie behind it. */
struct enrich_row {
    struct enrich_row *next;
    bool open; /* no answer yet */
    const char *fail;
    char *json;             /* of its contact, owned */
    size_t json_len, bytes; /* bytes: of all but the contact */
    struct db_cell cells[];
};

/* Ids for the service; rows in their order, borrowed from the stream. */
struct enrich_call {
    struct enrich_call *next;
    struct enrich_stream *stream;
    struct enrich_row **rows;
    unsigned n;
    bool sent;
    unsigned tries; /* that failed */
    int64_t patience_us;
    char asked_at[CONTACT_TIME_SIZE];
};

struct enrich {
    const struct campaign_enrich *config;
    struct db *db;
    struct http_client *http;
    char origin[SERVICE_ORIGIN_SIZE];
    int64_t deadline_us, hold_us;
    bool reserved; /* the next call has its moment: slot_us */
    int64_t slot_us;
    struct enrich_call *calls; /* complete ones, in the order in which they are to be sent */
    struct buf body;
    uint64_t n_calls, n_asked, n_cached, n_unknown;
    bool in_trouble;
};

struct enrich_stream {
    struct enrich *service;
    struct recipient_columns columns;
    struct enrich_row *first, **end, *current;
    struct enrich_row *unseen; /* the first that was not looked up yet */
    unsigned n_open;
    size_t row_bytes, found_bytes; /* rows, and the contacts that they have got */
    bool ended;
    struct enrich_call *gathering; /* NULL, or not full yet */
    struct contact contact;        /* of the current row */
    struct value vars;
    struct arena arena;
};

/* enrich_id: borrows the row's id. */
static inline struct db_cell enrich_id(const struct enrich_stream *s, const struct enrich_row *row)
{
    return row->cells[s->columns.id];
}

/* enrich_settle: the row has its answer: fail is why there can be no mail, static. */
void enrich_settle(struct enrich_stream *s, struct enrich_row *row, const char *fail);
/* enrich_settle_with: it is this contact; the JSON is copied. */
void enrich_settle_with(struct enrich_stream *s, struct enrich_row *row, const char *json,
                        size_t len);

/* enrich_call_free: NULL is fine. */
void enrich_call_free(struct enrich_call *call);

/* enrich_send_calls: as many as the pace allows now. */
struct err enrich_send_calls(struct enrich *e) MUST_CHECK;

/* enrich_take_answers: those that are there: rows are settled, calls end or are put off. */
struct err enrich_take_answers(struct enrich *e) MUST_CHECK;

/* enrich_wait_ms: until the next call may go, timeout_ms at most. */
int enrich_wait_ms(const struct enrich *e, int timeout_ms);

#endif
