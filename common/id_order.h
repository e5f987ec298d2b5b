/* Whether the ids of an audience come each once and in order. Integers must ascend. The order of
 * texts is the database's to judge (its collation); here each may come once in a page and the page
 * before. Pure. */
#ifndef MAILFLOCK_ID_ORDER_H
#define MAILFLOCK_ID_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/id_set.h"

struct id_order {
    bool is_int;
    bool has_last, last_negative; /* integers: the last one, sign and magnitude */
    uint64_t last;
    struct id_set page, before; /* texts */
};

void id_order_init(struct id_order *o, bool is_int);
void id_order_fini(struct id_order *o);

/* id_order_start: what follows comes after that id; NULL: after nothing. */
void id_order_start(struct id_order *o, const char *after);

/* id_order_page: a new page begins. */
void id_order_page(struct id_order *o);

/* id_order_add: NULL, or a static reason why this id (of 1 to 255 bytes) cannot come next. */
const char *id_order_add(struct id_order *o, const char *id, size_t len);

/* id_order_is_int: the text is an integer of MySQL's range, signed or unsigned. */
bool id_order_is_int(const char *id);

#endif
