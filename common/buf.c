/* The bounded buffer. */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->too_big = false;
}

bool buf_reserve_slow(struct buf *b, size_t len)
{
    if (b->too_big || len > b->max || b->len > b->max - len) {
        b->too_big = true;
        return false;
    }
    if (b->cap - b->len >= len) return true;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < b->len + len) cap *= 2;
    if (cap > b->max) cap = b->max;
    b->data = mem_resize(b->data, cap + 1); /* and a NUL */
    b->cap = cap;
    return true;
}

void buf_append_format(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    char small[256];
    int len = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (len < 0) {
        b->too_big = true;
    } else if ((size_t)len < sizeof small) {
        buf_append(b, small, (size_t)len);
    } else if (buf_reserve(b, (size_t)len)) {
        vsnprintf(b->data + b->len, (size_t)len + 1, format, again);
        b->len += (size_t)len;
    }
    va_end(again);
}

void buf_append_u64(struct buf *b, unsigned long long value)
{
    char digits[20];
    size_t n = sizeof digits;
    do digits[--n] = (char)('0' + value % 10);
    while (value /= 10);
    buf_append(b, digits + n, sizeof digits - n);
}

const char *buf_text(struct buf *b)
{
    if (!b->data) b->data = mem_resize(NULL, 1);
    b->data[b->len] = '\0';
    return b->data;
}

struct err buf_check(const struct buf *b, const char *what)
{
    if (!b->too_big) return err_none();
    return err_make(ERR_TOO_BIG, 0, "%s is larger than %zu bytes", what, b->max);
}
