/* Brackets, commas and quotes are all that is looked at. */
#include "common/json_scan.h"

#include <string.h>

/* text[at] is behind the opening quote; returns where the closing one is, or len. */
static size_t skip_string(const char *text, size_t len, size_t at, bool *nul)
{
    for (; at < len && text[at] != '"'; at++) {
        if (!text[at] || (len - at > 5 && memcmp(text + at, "\\u0000", 6) == 0)) *nul = true;
        if (text[at] == '\\') at++;
    }
    return at;
}

struct json_extent json_extent_of(const char *text, size_t len)
{
    struct json_extent extent = {.values = 1};
    int depth = 0;
    for (size_t i = 0; i < len; i++) {
        switch (text[i]) {
        case '"':
            i = skip_string(text, len, i + 1, &extent.nul);
            break;
        case '{':
        case '[':
            extent.values++;
            if (++depth > extent.depth) extent.depth = depth;
            break;
        case '}':
        case ']':
            depth--;
            break;
        case ',':
            extent.values++;
            break;
        case '\0':
            extent.nul = true;
            break;
        default:
            break;
        }
    }
    return extent;
}
