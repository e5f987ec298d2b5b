/* A stream is a list of rows in the order of the audience. Rows whose contact is not in the cache
 * are gathered into calls; calls go out one after the other, as the pace allows, and come back in
 * any order; a row leaves the stream when it is the first and has its answer. */
#include "common/enrich_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/chunk.h"
#include "common/log.h"

enum {
    STREAM_BYTES = 1024 * 1024, /* of rows and contacts that wait, before another page */
    LOOK_UP_ROWS = 1000,        /* in one look into the cache */
    CONTACT_BYTES = 8 * 1024 * 1024,
    SQL_MAX = 1024 * 1024,
};

static const char DELETED[] = "the contact service has deleted this contact";
static const char UNUSABLE[] = "the contact is nested deeper than 16, too large, or holds a NUL";

/* ---- opening and closing */

struct enrich *enrich_new(const struct campaign_enrich *config, struct db *db, int64_t deadline_us)
{
    struct enrich *e = mem_alloc(sizeof *e);
    e->config = config;
    e->db = db;
    e->deadline_us = deadline_us;
    service_pace_origin(config->url, e->origin);
    buf_init(&e->body, ENRICH_ANSWER_MAX);
    e->http = http_client_new(
        &(struct http_config){.url = config->url,
                              .method = config->method,
                              .headers = {&config->headers, &config->secret_headers},
                              .ca_file = config->ca_file,
                              .timeout_ms = (int)config->timeout_ms,
                              .answer_max = ENRICH_ANSWER_MAX});
    return e;
}

void enrich_free(struct enrich *e)
{
    if (!e) return;
    if (e->n_calls || e->n_cached)
        log_info("enrich",
                 "msg=\"asked the contact service\" service=\"%s\" calls=%" PRIu64 " asked=%" PRIu64
                 " unknown=%" PRIu64 " cached=%" PRIu64,
                 e->origin, e->n_calls, e->n_asked, e->n_unknown, e->n_cached);
    http_client_free(e->http);
    buf_fini(&e->body);
    free(e);
}

struct enrich_stream *enrich_stream_new(struct enrich *e, const struct recipient_columns *columns)
{
    struct enrich_stream *s = mem_alloc(sizeof *s);
    s->service = e;
    s->columns = *columns;
    s->end = &s->first;
    arena_init(&s->arena, CONTACT_BYTES);
    return s;
}

static void free_row(struct enrich_row *row)
{
    if (!row) return;
    free(row->json);
    free(row);
}

void enrich_call_free(struct enrich_call *call)
{
    if (!call) return;
    free(call->rows);
    free(call);
}

void enrich_stream_free(struct enrich_stream *s)
{
    if (!s) return;
    struct enrich_call **at = &s->service->calls;
    while (*at) {
        struct enrich_call *call = *at;
        if (call->stream != s) {
            at = &call->next;
            continue;
        }
        *at = call->next;
        http_client_drop(s->service->http, call);
        enrich_call_free(call);
    }
    enrich_call_free(s->gathering);
    while (s->first) {
        struct enrich_row *next = s->first->next;
        free_row(s->first);
        s->first = next;
    }
    free_row(s->current);
    arena_fini(&s->arena);
    free(s);
}

/* ---- rows in */

bool enrich_wants_rows(const struct enrich_stream *s)
{
    const struct campaign_enrich *config = s->service->config;
    return !s->ended && s->row_bytes + s->found_bytes < STREAM_BYTES &&
           s->n_open < (unsigned)(config->batch * (config->concurrency + 1));
}

void enrich_add(struct enrich_stream *s, const struct db_cell *cells)
{
    unsigned n = s->columns.n;
    size_t bytes = sizeof(struct enrich_row) + n * sizeof *cells;
    for (unsigned i = 0; i < n; i++) bytes += cells[i].len + 1;
    struct enrich_row *row = mem_alloc(bytes);
    char *text = (char *)&row->cells[n];
    for (unsigned i = 0; i < n; i++) {
        if (!cells[i].text) continue;
        row->cells[i] = (struct db_cell){text, cells[i].len};
        memcpy(text, cells[i].text, cells[i].len);
        text += cells[i].len + 1;
    }
    row->open = true;
    row->bytes = bytes;
    *s->end = row;
    s->end = &row->next;
    if (!s->unseen) s->unseen = row;
    s->n_open++;
    s->row_bytes += bytes;
}

void enrich_end(struct enrich_stream *s)
{
    s->ended = true;
}

/* ---- what is known of a row */

void enrich_settle(struct enrich_stream *s, struct enrich_row *row, const char *fail)
{
    row->open = false;
    row->fail = fail;
    s->n_open--;
}

void enrich_settle_with(struct enrich_stream *s, struct enrich_row *row, const char *json,
                        size_t len)
{
    row->json = mem_alloc(len + 1);
    row->json_len = len;
    memcpy(row->json, json, len);
    s->found_bytes += len;
    enrich_settle(s, row, NULL);
}

/* ---- gathered to calls */

static void close_call(struct enrich_stream *s)
{
    struct enrich_call **at = &s->service->calls;
    while (*at) at = &(*at)->next;
    *at = s->gathering;
    s->gathering = NULL;
}

static void gather(struct enrich_stream *s, struct enrich_row *row, const char *now)
{
    struct enrich_call *call = s->gathering;
    unsigned batch = (unsigned)s->service->config->batch;
    if (!call) {
        call = s->gathering = mem_alloc(sizeof *call);
        call->stream = s;
        call->rows = mem_alloc(batch * sizeof *call->rows);
        snprintf(call->asked_at, sizeof call->asked_at, "%s", now);
    }
    call->rows[call->n++] = row;
    if (call->n == batch) close_call(s);
}

static bool has_calls(const struct enrich_stream *s)
{
    for (const struct enrich_call *call = s->service->calls; call; call = call->next)
        if (call->stream == s) return true;
    return false;
}

/* As long as there is room for what is found; and in any case for the first row. */
static bool may_look_up(const struct enrich_stream *s)
{
    return s->unseen && (s->found_bytes < STREAM_BYTES || s->unseen == s->first);
}

/* A call that is not full goes out when nothing can fill it: the rows are at their end, or there is
 * no room for more until it is answered. */
static void flush(struct enrich_stream *s)
{
    if (!s->gathering || may_look_up(s)) return;
    bool stuck = !enrich_wants_rows(s) && !has_calls(s) && !enrich_ready(s);
    if (stuck || (s->ended && !s->unseen)) close_call(s);
}

/* ---- the cache */

/* Rows that are looked up together. */
struct seen {
    struct enrich_row *row;
    struct db_cell id;
};

static int compare_bytes(struct db_cell a, struct db_cell b)
{
    int order = memcmp(a.text, b.text, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* As the database sorts bytes. */
static int compare_seen(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    return compare_bytes(x->id, y->id);
}

/* The rows found come by id: walks both side by side. */
static void take_cached(struct enrich_stream *s, struct seen *seen, unsigned n,
                        struct db_result *rows)
{
    unsigned at = 0;
    qsort(seen, n, sizeof *seen, compare_seen);
    while (db_next(rows)) {
        struct db_cell id = db_cell(rows, 0), json = db_cell(rows, 2);
        while (at < n && compare_bytes(seen[at].id, id) < 0) at++;
        if (at == n) break;
        if (compare_bytes(seen[at].id, id) != 0) continue;
        if (db_u64(rows, 1) || !json.text)
            enrich_settle(s, seen[at].row, DELETED);
        else
            enrich_settle_with(s, seen[at].row, json.text, json.len);
        s->service->n_cached++;
    }
}

static struct err look_up(struct enrich_stream *s, struct enrich_row *until, struct seen *seen,
                          unsigned n)
{
    struct enrich *e = s->service;
    char now[CONTACT_TIME_SIZE] = "";
    if (e->config->cache_ttl_ms) {
        struct db_result *rows;
        struct buf ids;
        buf_init(&ids, SQL_MAX);
        for (unsigned i = 0; i < n; i++) {
            if (i) buf_append_char(&ids, ',');
            db_quote_bytes(e->db, &ids, seen[i].id.text, seen[i].id.len);
        }
        struct err failed =
            contact_cache_find(e->db, e->config->cache, e->config->cache_ttl_ms, &ids, &rows, now);
        buf_fini(&ids);
        if (failed.code) return failed;
        take_cached(s, seen, n, rows);
        db_result_free(rows);
    }
    for (struct enrich_row *row = s->unseen; row != until; row = row->next)
        if (row->open) gather(s, row, now);
    s->unseen = until;
    return err_none();
}

static struct err look_up_some(struct enrich_stream *s)
{
    struct seen *seen = may_look_up(s) ? mem_alloc(LOOK_UP_ROWS * sizeof *seen) : NULL;
    struct err e = err_none();
    while (may_look_up(s) && !e.code) {
        struct enrich_row *row = s->unseen;
        unsigned n = 0;
        for (; row && n < LOOK_UP_ROWS; row = row->next)
            seen[n++] = (struct seen){row, enrich_id(s, row)};
        e = look_up(s, row, seen, n);
    }
    free(seen);
    return e;
}

static struct err go_on(struct enrich_stream *s)
{
    TRY(enrich_take_answers(s->service));
    flush(s);
    return enrich_send_calls(s->service);
}

struct err enrich_step(struct enrich_stream *s, int timeout_ms)
{
    TRY(look_up_some(s));
    TRY(go_on(s));
    if (enrich_ready(s) || enrich_is_over(s)) return err_none();
    http_client_wait(s->service->http, enrich_wait_ms(s->service, timeout_ms));
    return go_on(s);
}

/* ---- rows out */

bool enrich_ready(const struct enrich_stream *s)
{
    return s->first && !s->first->open;
}

bool enrich_is_over(const struct enrich_stream *s)
{
    return s->ended && !s->first;
}

static void forget_current(struct enrich_stream *s)
{
    if (!s->current) return;
    s->row_bytes -= s->current->bytes;
    s->found_bytes -= s->current->json_len;
    free_row(s->current);
    s->current = NULL;
}

static void decode_contact(struct enrich_stream *s, const struct enrich_row *row)
{
    arena_fini(&s->arena);
    s->contact = (struct contact){.fail = row->fail};
    if (row->fail) return;
    if (chunk_value_decode(&s->arena, row->json, row->json_len, &s->vars))
        s->contact.vars = &s->vars;
    else
        s->contact.fail = UNUSABLE;
}

bool enrich_next(struct enrich_stream *s, const struct db_cell **row,
                 const struct contact **contact)
{
    forget_current(s);
    if (!enrich_ready(s)) return false;
    s->current = s->first;
    s->first = s->first->next;
    if (!s->first) s->end = &s->first;
    decode_contact(s, s->current);
    *row = s->current->cells;
    *contact = &s->contact;
    return true;
}
