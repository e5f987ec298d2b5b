/* A byte buffer that cannot grow past a stated maximum. */
#ifndef MAILFLOCK_BUF_H
#define MAILFLOCK_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "common/err.h"

/* data is not NUL-terminated unless buf_text was called. too_big is set by the first write that
 * would pass max; that write and every later one adds nothing, so callers check once at the end. */
struct buf {
    char *data;
    size_t len, cap, max;
    bool too_big;
};

/* buf_init: empty, no memory yet; max in bytes. */
void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);

/* buf_reset: empty again, memory kept, too_big cleared. */
void buf_reset(struct buf *b);

/* buf_reserve: room for len more bytes at data + len, or false past max. */
bool buf_reserve_slow(struct buf *b, size_t len);
static inline bool buf_reserve(struct buf *b, size_t len)
{
    return (!b->too_big && b->cap - b->len >= len) || buf_reserve_slow(b, len);
}

static inline void buf_append(struct buf *b, const void *bytes, size_t len)
{
    if (len && buf_reserve(b, len)) {
        memcpy(b->data + b->len, bytes, len);
        b->len += len;
    }
}

static inline void buf_append_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

static inline void buf_append_text(struct buf *b, const char *text)
{
    buf_append(b, text, strlen(text));
}

void buf_append_format(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* buf_append_u64: decimal digits. */
void buf_append_u64(struct buf *b, unsigned long long value);

/* buf_text: borrows the bytes with a NUL behind them (not counted in len); "" when empty. */
const char *buf_text(struct buf *b);

/* buf_check: ERR_TOO_BIG naming what and the maximum, if any write did not fit. */
struct err buf_check(const struct buf *b, const char *what) MUST_CHECK;

#endif
