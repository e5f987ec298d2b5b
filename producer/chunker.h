/* Cuts the rows of an audience into chunks and writes their messages. Pure. Where a chunk ends
 * depends on its rows alone, never on how many of them were read at a time. */
#ifndef MAILFLOCK_PRODUCER_CHUNKER_H
#define MAILFLOCK_PRODUCER_CHUNKER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/chunk.h"
#include "common/recipient.h"

/* A chunk that has all its recipients; its message is len bytes at body.data + at. */
struct chunker_chunk {
    uint32_t no, recipients;
    size_t at, len;
    char first_id[CHUNK_ID_MAX + 1], last_id[CHUNK_ID_MAX + 1];
};

/* chunks[0..n) are complete; where open is true, chunks[n] is being written at the body's end. */
struct chunker {
    struct recipient_columns columns; /* borrowed */
    uint64_t run;
    uint32_t chunk_size, next_no;
    uint64_t digest; /* of the open chunk */
    bool open;
    struct buf body;
    struct chunker_chunk *chunks;
    unsigned n, room;
    uint64_t undeliverable; /* recipients written with the reason why they fail */
};

/* chunker_init: the first chunk gets the number next_no. */
void chunker_init(struct chunker *c, const struct recipient_columns *columns, uint64_t run,
                  uint32_t next_no, uint32_t chunk_size);
void chunker_fini(struct chunker *c);

/* chunker_add: one row, whose id has been checked, and what a service says of it, or NULL. A chunk
 * closes with chunk_size recipients, or when its message has reached CHUNK_BODY_TARGET. */
void chunker_add(struct chunker *c, const struct db_cell *row, const struct contact *contact);

/* chunker_finish: closes the open chunk, if there is one: no more rows follow. */
void chunker_finish(struct chunker *c);

/* chunker_shift: forgets the complete chunks and keeps the open one. */
void chunker_shift(struct chunker *c);

#endif
