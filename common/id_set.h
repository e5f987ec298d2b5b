/* A set of recipient ids: those of one page. Pure. */
#ifndef MAILFLOCK_ID_SET_H
#define MAILFLOCK_ID_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/* slots holds offsets into bytes plus one, 0 where free; each id is a length byte and its bytes. */
struct id_set {
    struct buf bytes;
    uint32_t *slots;
    uint32_t n_slots, n;
};

void id_set_init(struct id_set *s);
void id_set_fini(struct id_set *s);

/* id_set_reset: empty again, memory kept. */
void id_set_reset(struct id_set *s);

/* id_set_add: false if it was there already. len is at most 255. */
bool id_set_add(struct id_set *s, const char *id, size_t len);
bool id_set_has(const struct id_set *s, const char *id, size_t len);

#endif
