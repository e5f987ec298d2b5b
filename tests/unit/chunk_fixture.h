/* Chunk messages for tests, and a way to decode that notices a read past their end. */
#ifndef MAILFLOCK_CHUNK_FIXTURE_H
#define MAILFLOCK_CHUNK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "common/chunk.h"

#define HEAD                                                                                       \
    "{\"v\":1,\"run\":12,\"chunk\":7,\"attempt\":1,\"digest\":\"0123456789abcdef\","               \
    "\"recipients\":["
#define ONE(p, id, to, vars) "{\"p\":" p ",\"id\":\"" id "\",\"to\":\"" to "\",\"vars\":{" vars "}}"
#define WITH_VARS(vars)      HEAD ONE("0", "81", "a@b.example", vars) "]}"

/* One of everything. */
static const char MESSAGE[] =
    "{\"v\":1,\"run\":9007199254740991,\"chunk\":4294967295,\"attempt\":1000,\"recipients\":["
    "{\"p\":0,\"id\":\"81\",\"to\":\"a@b.example\",\"vars\":{\"name\":\"\xed\x99\x8d \\\"q\\\" "
    "\\\\ "
    "\\n\\u001f\",\"n\":-7,\"price\":3.5,\"ok\":true,\"no\":false,\"none\":null,\"list\":[1,[],{}],"
    "\"map\":{\"deep\":{\"er\":\"x\"}}}},"
    "{\"p\":9998,\"id\":\"82\",\"to\":\"\",\"vars\":{},\"fail\":\"the address is empty\"},"
    "{\"p\":9999,\"id\":\"83\",\"to\":\"c@d.example\",\"vars\":{\"\":0}}"
    "],\"digest\":\"00000000000000ff\"}";

/* Decodes a copy that ends where readable memory ends, so that a read past it is noticed. */
static inline struct err decode_bytes(const char *text, size_t len, struct chunk_message *m)
{
    enum { SIZE = CHUNK_BODY_MAX + 8192 };
    static char *end;
    if (!end) {
        char *pages = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(pages != MAP_FAILED);
        end = pages + SIZE - 4096;
        assert_int_equal(mprotect(pages, SIZE - 4096, PROT_READ | PROT_WRITE), 0);
    }
    return chunk_decode(memcpy(end - len, text, len), len, m);
}

/* As the worker writes a retry: every recipient with its variables. */
static inline void encode(const struct chunk_message *m, struct buf *b)
{
    chunk_write_start(b, m->run, m->chunk, m->attempt);
    for (uint32_t i = 0; i < m->n; i++) {
        const struct chunk_recipient *r = &m->recipients[i];
        chunk_write_recipient(b, r->position, r->id, r->id_len, r->to, r->to_len);
        for (uint32_t v = 0; v < r->vars.len; v++) {
            chunk_write_var_name(b, r->vars.fields[v].name, r->vars.fields[v].name_len);
            chunk_write_value(b, &r->vars.fields[v].value);
        }
        chunk_write_recipient_end(b, r->fail);
    }
    chunk_write_end(b, m->digest);
}

#endif
