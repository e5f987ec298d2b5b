/* Making errors, and the allocations that end the program when they fail. */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void make_safe(char *text)
{
    for (char *p = text; *p; p++) {
        if (*p == '"')
            *p = '\'';
        else if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    }
}

struct err err_make(enum err_code code, int native, const char *format, ...)
{
    struct err e = {.code = code, .native = native};
    va_list args;
    va_start(args, format);
    vsnprintf(e.text, sizeof e.text, format, args);
    va_end(args);
    make_safe(e.text);
    return e;
}

struct err err_wrap(struct err inner, const char *format, ...)
{
    struct err e = {.code = inner.code, .native = inner.native};
    va_list args;
    va_start(args, format);
    int len = vsnprintf(e.text, sizeof e.text, format, args);
    va_end(args);
    if (len >= 0 && (size_t)len < sizeof e.text)
        snprintf(e.text + len, sizeof e.text - (size_t)len, ": %s", inner.text);
    make_safe(e.text);
    return e;
}

static void *require(void *p, unsigned long size)
{
    if (!p) {
        fprintf(stderr, "level=fatal mod=mem msg=\"out of memory\" bytes=%lu\n", size);
        abort();
    }
    return p;
}

void *mem_alloc(unsigned long size)
{
    return require(calloc(1, size ? size : 1), size);
}

void *mem_resize(void *old, unsigned long size)
{
    return require(realloc(old, size ? size : 1), size);
}

char *mem_copy_text(const char *text)
{
    return require(strdup(text), strlen(text) + 1);
}
