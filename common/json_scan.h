/* What a JSON text would need, before anything is made of it. Pure. */
#ifndef MAILFLOCK_JSON_SCAN_H
#define MAILFLOCK_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* depth: the deepest nesting of brackets outside strings, which bounds the recursion of everything
 * that reads the text. values: no fewer than a reader makes before it finds a fault: cJSON needs
 * some 80 bytes for each, where `0,` is two. nul: there is a NUL, as a byte or escaped, which cJSON
 * would take for a string's end, or for a blank. */
struct json_extent {
    int depth;
    size_t values;
    bool nul;
};

/* json_extent_of: one pass over the text, which may be no JSON at all. */
struct json_extent json_extent_of(const char *text, size_t len);

#endif
