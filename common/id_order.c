/* The check of ids, one by one, without memory of more than two pages. */
#include "common/id_order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void id_order_init(struct id_order *o, bool is_int)
{
    *o = (struct id_order){.is_int = is_int};
    id_set_init(&o->page);
    id_set_init(&o->before);
}

void id_order_fini(struct id_order *o)
{
    id_set_fini(&o->page);
    id_set_fini(&o->before);
}

static bool parse_int(const char *id, bool *negative, uint64_t *magnitude)
{
    *negative = id[0] == '-';
    const char *digits = id + *negative;
    char *end;
    if (*digits < '0' || *digits > '9') return false;
    errno = 0;
    *magnitude = strtoull(digits, &end, 10);
    if (*negative && *magnitude > (uint64_t)INT64_MAX + 1) return false;
    return *end == '\0' && errno == 0;
}

bool id_order_is_int(const char *id)
{
    bool negative;
    uint64_t magnitude;
    return parse_int(id, &negative, &magnitude);
}

void id_order_start(struct id_order *o, const char *after)
{
    id_set_reset(&o->page);
    id_set_reset(&o->before);
    o->has_last = false;
    if (!after || !*after) return;
    if (o->is_int)
        o->has_last = parse_int(after, &o->last_negative, &o->last);
    else
        id_set_add(&o->page, after, strlen(after));
}

void id_order_page(struct id_order *o)
{
    struct id_set swap = o->before;
    o->before = o->page;
    o->page = swap;
    id_set_reset(&o->page);
}

static const char *add_int(struct id_order *o, const char *id)
{
    bool negative;
    uint64_t magnitude;
    if (!parse_int(id, &negative, &magnitude)) return "is no integer";
    bool equal = o->has_last && negative == o->last_negative && magnitude == o->last;
    bool less = o->has_last && (negative != o->last_negative ? negative
                                : negative                   ? magnitude > o->last
                                                             : magnitude < o->last);
    if (equal) return "is a duplicate";
    if (less) return "is smaller: the rows are not in the order of their ids; add ORDER BY id";
    o->has_last = true;
    o->last_negative = negative;
    o->last = magnitude;
    return NULL;
}

const char *id_order_add(struct id_order *o, const char *id, size_t len)
{
    if (o->is_int) return add_int(o, id);
    if (id_set_has(&o->before, id, len) || !id_set_add(&o->page, id, len)) return "is a duplicate";
    return NULL;
}
