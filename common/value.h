/* The variables of one recipient: what a JSON document holds, read-only, in somebody's arena. */
#ifndef MAILFLOCK_VALUE_H
#define MAILFLOCK_VALUE_H

#include <stddef.h>
#include <stdint.h>

enum value_kind {
    VALUE_NULL,
    VALUE_FALSE,
    VALUE_TRUE,
    VALUE_NUMBER, /* text holds it as the message writes it: "7", "3.5" */
    VALUE_TEXT,   /* UTF-8, may hold any byte but is NUL-terminated too */
    VALUE_LIST,
    VALUE_MAP
};

struct value_field;

/* len counts the bytes of text, the items of a list, or the fields of a map. */
struct value {
    enum value_kind kind;
    uint32_t len;
    union {
        const char *text;
        const struct value *items;
        const struct value_field *fields;
    };
};

struct value_field {
    const char *name; /* NUL-terminated */
    uint32_t name_len;
    struct value value;
};

/* value_get: borrows the field of that name, or NULL where map is no map or has none. */
const struct value *value_get(const struct value *map, const char *name, size_t name_len);

#endif
