/* Chunks lie one behind the other in one buffer, the open one last; nothing is allocated per row.
 */
#include "producer/chunker.h"

#include <stdlib.h>
#include <string.h>

/* A page's messages; audience.c bounds a page's rows, so this is never reached. */
enum { BODY_MAX = 256 * 1024 * 1024, FIRST_ROOM = 16 };

void chunker_init(struct chunker *c, const struct recipient_columns *columns, uint64_t run,
                  uint32_t next_no, uint32_t chunk_size)
{
    *c = (struct chunker){.columns = *columns,
                          .run = run,
                          .next_no = next_no,
                          .chunk_size = chunk_size,
                          .room = FIRST_ROOM};
    buf_init(&c->body, BODY_MAX);
    c->chunks = mem_alloc(FIRST_ROOM * sizeof *c->chunks);
}

void chunker_fini(struct chunker *c)
{
    buf_fini(&c->body);
    free(c->chunks);
    *c = (struct chunker){0};
}

/* Its number is its predecessor's + 1 (PROTOCOL P2): asked of the database, it would hide that
 * another producer is at work. */
static void open_chunk(struct chunker *c)
{
    if (c->n == c->room) c->chunks = mem_resize(c->chunks, (c->room *= 2) * sizeof *c->chunks);
    c->chunks[c->n] = (struct chunker_chunk){.no = c->next_no++, .at = c->body.len};
    c->digest = chunk_digest_start();
    c->open = true;
    chunk_write_start(&c->body, c->run, c->chunks[c->n].no, 1);
}

void chunker_finish(struct chunker *c)
{
    if (!c->open) return;
    chunk_write_end(&c->body, c->digest);
    c->chunks[c->n].len = c->body.len - c->chunks[c->n].at;
    c->n++;
    c->open = false;
}

static void copy_id(char out[CHUNK_ID_MAX + 1], struct db_cell id)
{
    memcpy(out, id.text, id.len);
    out[id.len] = '\0';
}

void chunker_add(struct chunker *c, const struct db_cell *row, const struct contact *contact)
{
    if (!c->open) open_chunk(c);
    struct chunker_chunk *chunk = &c->chunks[c->n];
    struct db_cell id = row[c->columns.id];
    if (!chunk->recipients) copy_id(chunk->first_id, id);
    copy_id(chunk->last_id, id);
    if (!recipient_write(&c->body, chunk->recipients++, &c->columns, row, contact))
        c->undeliverable++;
    c->digest = chunk_digest_add(c->digest, id.text, id.len);
    if (chunk->recipients >= c->chunk_size || c->body.len - chunk->at >= CHUNK_BODY_TARGET)
        chunker_finish(c);
}

void chunker_shift(struct chunker *c)
{
    if (!c->open) {
        buf_reset(&c->body);
    } else if (c->n) {
        struct chunker_chunk *open = &c->chunks[c->n];
        c->body.len -= open->at;
        memmove(c->body.data, c->body.data + open->at, c->body.len);
        open->at = 0;
        c->chunks[0] = *open;
    }
    c->n = 0;
}
