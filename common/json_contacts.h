/* The JSON of a contact service: the ids it is asked for, its answers, its events. The format is
 * docs/enrichment.md. Pure. */
#ifndef MAILFLOCK_JSON_CONTACTS_H
#define MAILFLOCK_JSON_CONTACTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/chunk.h"
#include "common/err.h"

/* A contact as its service wrote it. */
struct contact_text {
    char id[CHUNK_ID_MAX + 1]; /* a text, or an integer as text */
    uint64_t version;          /* greater is newer; 0 = it has none */
    const char *json;          /* the whole object, id and version included; valid JSON */
    size_t json_len;
};

/* contacts_write_start, contacts_write_id, contacts_write_end: {"ids":["1","2"]}. */
void contacts_write_start(struct buf *out);
void contacts_write_id(struct buf *out, const char *id, size_t len);
void contacts_write_end(struct buf *out);

/* contacts_read: calls take for each contact of an answer, {"contacts":[{"id":"1",...},...]}; what
 * it gets is borrowed. ERR_INPUT says what is wrong where; then some may have been taken. */
struct err contacts_read(const char *text, size_t len,
                         struct err (*take)(void *user, const struct contact_text *contact),
                         void *user) MUST_CHECK;

/* contact_read_event: one contact with a version; *out borrows from text. */
struct err contact_read_event(const char *text, size_t len, struct contact_text *out) MUST_CHECK;

#endif
