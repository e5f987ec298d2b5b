/* The window of publishes that wait for an event: matches basic.return, basic.ack and basic.nack to
 * tags, and hands out each answered tag once. Pure; broker_events.c feeds it. */
#include "common/broker_window.h"

#include <stdlib.h>

#include "common/err.h"

enum slot_state { SLOT_FREE, SLOT_WAITING, SLOT_ACKED, SLOT_NACKED };

void broker_window_init(struct broker_window *w, uint32_t size)
{
    *w = (struct broker_window){.size = size, .oldest = 1, .next = 1};
    w->slots = mem_alloc(size * sizeof *w->slots);
    w->resolved = mem_alloc(size * sizeof *w->resolved);
}

void broker_window_fini(struct broker_window *w)
{
    free(w->slots);
    free(w->resolved);
    *w = (struct broker_window){0};
}

bool broker_window_full(const struct broker_window *w)
{
    return w->next - w->oldest >= w->size;
}

/* FNV-1a, the terminating NUL included so that the parts cannot run into each other. */
static uint64_t mix(uint64_t hash, const char *text)
{
    do hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    while (*text++);
    return hash;
}

uint64_t broker_window_key(const char *exchange, const char *routing_key, const char *message_id)
{
    return mix(mix(mix(0xcbf29ce484222325u, exchange), routing_key), message_id);
}

static struct broker_slot *slot_of(const struct broker_window *w, uint64_t tag)
{
    return &w->slots[tag % w->size];
}

uint64_t broker_window_add(struct broker_window *w, uint64_t key)
{
    if (broker_window_full(w)) abort();
    *slot_of(w, w->next) = (struct broker_slot){.key = key, .state = SLOT_WAITING};
    w->waiting++;
    return w->next++;
}

void broker_window_sent(struct broker_window *w, uint64_t tag, int64_t now_us)
{
    slot_of(w, tag)->sent_us = now_us;
}

bool broker_window_oldest(const struct broker_window *w, uint64_t *tag, int64_t *sent_us)
{
    for (*tag = w->oldest; *tag < w->next; ++*tag) {
        const struct broker_slot *slot = slot_of(w, *tag);
        if (slot->state != SLOT_WAITING) continue;
        *sent_us = slot->sent_us;
        return true;
    }
    return false;
}

bool broker_window_return(struct broker_window *w, uint64_t key, uint16_t code)
{
    for (uint64_t tag = w->oldest; tag < w->next; tag++) {
        struct broker_slot *slot = slot_of(w, tag);
        if (slot->state == SLOT_WAITING && slot->key == key && !slot->returned) {
            slot->returned = code;
            return true;
        }
    }
    return false;
}

static bool resolve_one(struct broker_window *w, uint64_t tag, bool acked)
{
    struct broker_slot *slot = slot_of(w, tag);
    if (slot->state != SLOT_WAITING) return false;
    slot->state = acked ? SLOT_ACKED : SLOT_NACKED;
    w->resolved[w->resolved_end++ % w->size] = tag;
    return true;
}

bool broker_window_resolve(struct broker_window *w, uint64_t tag, bool multiple, bool acked)
{
    if (multiple && tag == 0) tag = w->next - 1;
    if (tag < w->oldest || tag >= w->next) return false;
    if (!multiple) return resolve_one(w, tag, acked);
    bool any = false;
    for (uint64_t t = w->oldest; t <= tag; t++) any |= resolve_one(w, t, acked);
    return any;
}

bool broker_window_take(struct broker_window *w, uint64_t *tag, uint16_t *refusal)
{
    if (w->resolved_first == w->resolved_end) return false;
    *tag = w->resolved[w->resolved_first++ % w->size];
    struct broker_slot *slot = slot_of(w, *tag);
    *refusal = BROKER_WINDOW_CONFIRMED;
    if (slot->state == SLOT_NACKED) *refusal = BROKER_WINDOW_NACKED;
    if (slot->returned) *refusal = slot->returned;
    slot->state = SLOT_FREE;
    w->waiting--;
    while (w->oldest < w->next && slot_of(w, w->oldest)->state == SLOT_FREE) w->oldest++;
    return true;
}
