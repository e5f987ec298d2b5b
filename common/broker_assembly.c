/* Assembles a message from its frames within a stated maximum: a larger body is drained without
 * being held. Pure; broker_events.c feeds one of these per channel. */
#include "common/broker_assembly.h"

enum { KEEP_CAPACITY = 1024 * 1024 }; /* a larger buffer is given back before the next message */

void broker_assembly_init(struct broker_assembly *a, size_t max_body)
{
    *a = (struct broker_assembly){.state = ASSEMBLY_IDLE};
    buf_init(&a->whole, max_body);
}

void broker_assembly_fini(struct broker_assembly *a)
{
    buf_fini(&a->whole);
}

enum broker_assembly_step broker_assembly_begin(struct broker_assembly *a)
{
    if (a->state != ASSEMBLY_IDLE) return ASSEMBLY_BAD;
    a->state = ASSEMBLY_HEADER;
    a->body = NULL;
    a->size = a->got = 0;
    if (a->whole.cap > KEEP_CAPACITY) {
        size_t max = a->whole.max;
        buf_fini(&a->whole);
        buf_init(&a->whole, max);
    }
    buf_reset(&a->whole);
    return ASSEMBLY_MORE;
}

static enum broker_assembly_step finish(struct broker_assembly *a)
{
    a->state = ASSEMBLY_IDLE;
    if (a->keep && !a->body) a->body = a->whole.len ? a->whole.data : "";
    return ASSEMBLY_DONE;
}

enum broker_assembly_step broker_assembly_header(struct broker_assembly *a, uint64_t size)
{
    if (a->state != ASSEMBLY_HEADER) return ASSEMBLY_BAD;
    a->state = ASSEMBLY_BODY;
    a->size = size;
    a->keep = size <= a->whole.max;
    return size ? ASSEMBLY_MORE : finish(a);
}

enum broker_assembly_step broker_assembly_add(struct broker_assembly *a, const void *bytes,
                                              size_t len)
{
    if (a->state != ASSEMBLY_BODY || len > a->size - a->got) return ASSEMBLY_BAD;
    a->got += len;
    if (a->keep && len == a->size) {
        a->body = bytes;
    } else if (a->keep) {
        buf_reserve(&a->whole, a->size - a->whole.len);
        buf_append(&a->whole, bytes, len);
    }
    return a->got == a->size ? finish(a) : ASSEMBLY_MORE;
}
