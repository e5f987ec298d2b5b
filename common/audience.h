/* The audience of one run: the campaign's SELECT, read page by page in the order of its ids, each
 * page beginning after the last id of the one before (PROTOCOL P2).
 *
 * Loop: audience_page, then audience_row until it gives NULL; the end is a page without rows. */
#ifndef MAILFLOCK_AUDIENCE_H
#define MAILFLOCK_AUDIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/recipient.h"

struct audience;

struct audience_spec {
    const char *file;        /* the campaign's, for errors */
    const char *sql;         /* audience_sql_problem has none */
    int64_t scheduled_s;     /* :scheduled_at, UTC */
    const char *const *json; /* columns to be taken as JSON although the database says otherwise */
    size_t n_json;
    bool email_elsewhere; /* the column email may be missing: a contact service knows it */
};

/* audience_open: takes db (a connection for nothing else; read-only from now on), also on failure.
 * Runs the SELECT without rows: an error with the file's name and the server's words where that
 * fails or would write; ERR_CONFIG where it lacks id, email or one of spec->json, or has an id that
 * is neither integer nor text. spec is copied. */
struct err audience_open(struct audience **out, struct db *db,
                         const struct audience_spec *spec) MUST_CHECK;
void audience_close(struct audience *a);

/* audience_columns: borrows; the same for the whole life of a. */
const struct recipient_columns *audience_columns(const struct audience *a);

/* audience_seek: the next page begins after that id, which comes from a chunk row or
 * audience_place; NULL or "": at the start. */
struct err audience_seek(struct audience *a, const char *after) MUST_CHECK;

/* audience_page: reads the next page; *rows may be 0 only at the end. */
struct err audience_page(struct audience *a, uint64_t *rows) MUST_CHECK;

/* audience_place: borrows the id of the last row read, "" before the first. */
const char *audience_place(const struct audience *a);

/* audience_explain: what the server plans for the next page; *out as db_query. */
struct err audience_explain(struct audience *a, struct db_result **out) MUST_CHECK;

/* A chunk's part of the audience, as it is today. */
struct audience_range {
    const char *after;        /* the last id of the chunk before, NULL for the first */
    const char *first, *last; /* ids, both included */
    uint32_t recipients;      /* about how many there are; a guess that saves work */
};

/* audience_range: makes those rows the current page, all of them: ERR_TOO_BIG where they are more
 * than a chunk can hold. The place of audience_page is lost: seek. */
struct err audience_range(struct audience *a, const struct audience_range *range) MUST_CHECK;

/* audience_row: *row borrows the next row of the page until the next call; NULL after the last.
 * ERR_INPUT, with the id before it, where a row's id is no id, is there twice, or does not ascend:
 * then nothing of the page may be used. */
struct err audience_row(struct audience *a, const struct db_cell **row) MUST_CHECK;

#endif
