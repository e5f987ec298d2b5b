/* Look-ups in a recipient's variables. Maps are short: a scan beats an index. */
#include "common/value.h"

#include <string.h>

const struct value *value_get(const struct value *map, const char *name, size_t name_len)
{
    if (map->kind != VALUE_MAP) return NULL;
    for (uint32_t i = 0; i < map->len; i++) {
        const struct value_field *f = &map->fields[i];
        if (f->name_len == name_len && memcmp(f->name, name, name_len) == 0) return &f->value;
    }
    return NULL;
}
