/* Which recipient meets which fault, by hash and seed, so that it is the same in every run; how
 * often it met it already; and which message ids were accepted. Both memories are open-addressed
 * tables of 64-bit hashes: nothing is allocated per mail. */
#include "fakesmtp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
    uint64_t *keys; /* 0 = free */
    uint32_t *counts;
    size_t size, used; /* size: a power of two */
};

static struct table encounters, accepted_ids;

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 33;
}

static uint64_t hash_text(const char *text, size_t len, uint64_t salt)
{
    uint64_t h = 0xcbf29ce484222325ULL ^ mix(salt + 1);
    for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)text[i]) * 0x100000001b3ULL;
    h = mix(h);
    return h ? h : 1;
}

static uint32_t *table_slot(struct table *t, uint64_t key)
{
    size_t at = key & (t->size - 1);
    while (t->keys[at] && t->keys[at] != key) at = (at + 1) & (t->size - 1);
    if (!t->keys[at]) {
        t->keys[at] = key;
        t->used++;
    }
    return &t->counts[at];
}

static void table_grow(struct table *t)
{
    struct table bigger = {.size = t->size ? t->size * 2 : 65536};
    bigger.keys = calloc(bigger.size, sizeof *bigger.keys);
    bigger.counts = calloc(bigger.size, sizeof *bigger.counts);
    if (!bigger.keys || !bigger.counts) {
        fprintf(stderr, "fakesmtp: out of memory\n");
        abort();
    }
    for (size_t i = 0; i < t->size; i++)
        if (t->keys[i]) *table_slot(&bigger, t->keys[i]) = t->counts[i];
    free(t->keys);
    free(t->counts);
    *t = bigger;
}

/* How often key was counted before. */
static uint32_t table_count(struct table *t, uint64_t key)
{
    if (t->used * 2 >= t->size) table_grow(t);
    return (*table_slot(t, key))++;
}

static uint64_t fault_hash(enum fault fault, const char *rcpt)
{
    return hash_text(rcpt, strlen(rcpt), options.seed * 64 + fault);
}

bool fault_hits(enum fault fault, const char *rcpt, int times)
{
    if (options.share[fault] <= 0) return false;
    uint64_t hash = fault_hash(fault, rcpt);
    if ((double)(hash >> 11) * 0x1p-53 >= options.share[fault]) return false;
    return times == 0 || table_count(&encounters, hash) < (uint32_t)times;
}

bool fault_coin(enum fault fault, const char *rcpt)
{
    return mix(fault_hash(fault, rcpt) + 0x9e3779b97f4a7c15ULL) & 1;
}

bool seen_before(const char *id, size_t len)
{
    return table_count(&accepted_ids, hash_text(id, len, 0)) > 0;
}
