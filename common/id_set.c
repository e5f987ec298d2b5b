/* Open addressing over ids that lie one behind the other in a buffer. */
#include "common/id_set.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024, BYTES_MAX = 256 * 1024 * 1024 };

void id_set_init(struct id_set *s)
{
    *s = (struct id_set){.n_slots = FIRST_SLOTS};
    buf_init(&s->bytes, BYTES_MAX);
    s->slots = mem_alloc(FIRST_SLOTS * sizeof *s->slots);
}

void id_set_fini(struct id_set *s)
{
    buf_fini(&s->bytes);
    free(s->slots);
    *s = (struct id_set){0};
}

void id_set_reset(struct id_set *s)
{
    buf_reset(&s->bytes);
    memset(s->slots, 0, s->n_slots * sizeof *s->slots);
    s->n = 0;
}

/* The slot that holds the id, or the free one where it belongs. FNV-1a. */
static uint32_t find(const struct id_set *s, const char *id, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)id[i]) * 0x100000001b3u;
    uint32_t at = (uint32_t)(h ^ h >> 32) & (s->n_slots - 1);
    for (;; at = (at + 1) & (s->n_slots - 1)) {
        if (!s->slots[at]) return at;
        const char *have = s->bytes.data + s->slots[at] - 1;
        if ((unsigned char)have[0] == len && memcmp(have + 1, id, len) == 0) return at;
    }
}

static void grow(struct id_set *s)
{
    s->n_slots *= 2;
    free(s->slots);
    s->slots = mem_alloc(s->n_slots * sizeof *s->slots);
    for (size_t at = 0; at < s->bytes.len; at += 1 + (unsigned char)s->bytes.data[at]) {
        const char *id = s->bytes.data + at;
        s->slots[find(s, id + 1, (unsigned char)id[0])] = (uint32_t)at + 1;
    }
}

bool id_set_add(struct id_set *s, const char *id, size_t len)
{
    uint32_t slot = find(s, id, len);
    if (s->slots[slot]) return false;
    s->slots[slot] = (uint32_t)s->bytes.len + 1;
    buf_append_char(&s->bytes, (char)len);
    buf_append(&s->bytes, id, len);
    if (++s->n * 2 > s->n_slots) grow(s);
    return true;
}

bool id_set_has(const struct id_set *s, const char *id, size_t len)
{
    return s->slots[find(s, id, len)] != 0;
}
