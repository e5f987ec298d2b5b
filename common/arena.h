/* An arena: many allocations, freed together, never more than a stated maximum. */
#ifndef MAILFLOCK_ARENA_H
#define MAILFLOCK_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *blocks;
    size_t used, max; /* bytes over all blocks */
};

void arena_init(struct arena *a, size_t max);
void arena_fini(struct arena *a);

/* arena_alloc: zeroed, aligned for any object; NULL once max would be passed. */
void *arena_alloc(struct arena *a, size_t size);

/* arena_copy: len bytes and a NUL behind them; NULL once max would be passed. */
char *arena_copy(struct arena *a, const char *bytes, size_t len);

#endif
