/* A look at a file's text for what libconfig lets pass in silence or ends the program on. */
#include "common/config_scan.h"

#include <string.h>

enum { DIGITS_MAX = 9 };

#define DIGITS "0123456789"
#define WORD   DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-.*@"

static size_t text_len(const char *p)
{
    size_t len = 1;
    while (p[len] && p[len] != '"') len += p[len] == '\\' && p[len + 1] ? 2 : 1;
    return p[len] ? len + 1 : len;
}

/* The token at p, which is not at the end: a text, a comment, a word or number, or one byte. */
static size_t token_len(const char *p)
{
    if (*p == '"') return text_len(p);
    if (*p == '#' || (*p == '/' && p[1] == '/')) return strcspn(p, "\n");
    if (*p == '/' && p[1] == '*') {
        const char *end = strstr(p + 2, "*/");
        return end ? (size_t)(end + 2 - p) : strlen(p);
    }
    size_t len = *p == '-' ? 0 : strspn(p, WORD);
    return len ? len : 1;
}

struct err conf_scan(const char *file, const char *text)
{
    unsigned line = 1;
    for (const char *p = text; *p;) {
        size_t len = token_len(p);
        if (len == 8 && memcmp(p, "@include", 8) == 0)
            return err_make(ERR_CONFIG, 0, "%s:%u: @include is not supported; use one file", file,
                            line);
        if (strchr(DIGITS, *p) && len > DIGITS_MAX)
            return err_make(ERR_CONFIG, 0,
                            "%s:%u: a number has more than %d digits; a text needs quotes", file,
                            line, DIGITS_MAX);
        for (; len; len--, p++)
            if (*p == '\n') line++;
    }
    return err_none();
}
