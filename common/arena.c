/* The arena: a list of blocks, filled from the front. */
#include "common/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

enum { BLOCK_BYTES = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_fini(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}

static void *take(struct arena *a, size_t size, size_t align)
{
    struct arena_block *b = a->blocks;
    if (size > a->max || a->used > a->max - size) return NULL;
    size_t at = b ? (b->used + align - 1) & ~(align - 1) : 0;
    if (!b || at > b->cap || b->cap - at < size) {
        size_t cap = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        struct arena_block *fresh = mem_alloc(sizeof *fresh + cap);
        fresh->cap = cap;
        fresh->next = b;
        a->blocks = b = fresh;
        at = 0;
    }
    b->used = at + size;
    a->used += size;
    return b->data + at;
}

void *arena_alloc(struct arena *a, size_t size)
{
    return take(a, size, alignof(max_align_t));
}

char *arena_copy(struct arena *a, const char *bytes, size_t len)
{
    char *copy = take(a, len + 1, 1);
    if (copy && len) memcpy(copy, bytes, len);
    return copy;
}
