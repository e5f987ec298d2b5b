/* The chunk message: what travels from the producer to a consumer, and back to the broker as a
 * retry. The contract in full is docs/chunk-format.md. Pure: no I/O, no clock. */
#ifndef MAILFLOCK_CHUNK_H
#define MAILFLOCK_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/value.h"

enum {
    CHUNK_VERSION = 1,
    CHUNK_RECIPIENTS_MAX = 10000,
    CHUNK_BODY_MAX = 4 * 1024 * 1024, /* bytes of a message; a larger one is a dead letter */
    CHUNK_BODY_TARGET = 256 * 1024,   /* the producer closes a chunk that has reached this */
    CHUNK_ID_MAX = 64,                /* bytes of a recipient id: delivery.recipient_id */
    CHUNK_TO_MAX = 320,               /* bytes of an address: delivery.email */
    CHUNK_FAIL_MAX = 200,             /* bytes of a recipient's fail reason */
    CHUNK_VARS_DEPTH_MAX = 16,
    CHUNK_VARS_VALUES_MAX =
        50000, /* values of one recipient's variables, those in others counted */
    /* Values of a message: what a chunk holds that the producer closes at CHUNK_BODY_TARGET, two
     * bytes a value, and one recipient more. */
    CHUNK_VALUES_MAX = 200000,
    CHUNK_MESSAGE_ID_SIZE = 48, /* "run/chunk/attempt" */
};

struct chunk_recipient {
    uint32_t position;
    uint32_t id_len, to_len;
    const char *id, *to;
    const char *fail;  /* why the producer found it undeliverable, or NULL */
    struct value vars; /* a map */
};

/* A decoded message; everything it points to is in its arena. digest is of the whole chunk, also
 * in a retry that carries only some of its positions; positions ascend. */
struct chunk_message {
    uint64_t run;
    uint64_t digest;
    uint32_t chunk;
    uint32_t attempt;
    uint32_t n;
    struct chunk_recipient *recipients;
    struct arena arena;
};

/* chunk_decode: ERR_INPUT says what is wrong where, ERR_TOO_BIG which limit was passed. On success
 * the caller owns *out until chunk_fini. */
struct err chunk_decode(const void *body, size_t len, struct chunk_message *out) MUST_CHECK;
void chunk_fini(struct chunk_message *m);

/* The digest of a chunk: over the ids of all its positions, in order. It ties a position to its
 * recipient: a message with another digest must not be mixed with the ledger's rows. */
uint64_t chunk_digest_start(void);
uint64_t chunk_digest_add(uint64_t digest, const char *id, size_t id_len);

/* Writing a message: chunk_write_start, then per recipient chunk_write_recipient followed by its
 * variables (each chunk_write_var_name and a value: chunk_write_text, chunk_write_value, or JSON
 * that chunk_json_valid takes) and chunk_write_recipient_end, then chunk_write_end. The caller
 * checks the buffer's too_big once at the end. */
void chunk_write_start(struct buf *b, uint64_t run, uint32_t chunk, uint32_t attempt);
void chunk_write_recipient(struct buf *b, uint32_t position, const char *id, size_t id_len,
                           const char *to, size_t to_len);
void chunk_write_var_name(struct buf *b, const char *name, size_t name_len);
/* fail: NULL, or the reason why this recipient is to be recorded as failed and not sent. */
void chunk_write_recipient_end(struct buf *b, const char *fail);
void chunk_write_end(struct buf *b, uint64_t digest);

/* chunk_write_text: a JSON string; bytes that are not UTF-8, or a NUL (which a C string cannot
 * carry to the other side), make it false and add nothing. */
bool chunk_write_text(struct buf *b, const char *text, size_t len);
/* chunk_write_value: any value as JSON. */
void chunk_write_value(struct buf *b, const struct value *v);
/* chunk_json_valid: whether text is one JSON document that may stand as a variable: with the map of
 * variables around it, no deeper than CHUNK_VARS_DEPTH_MAX, and of at most CHUNK_VARS_VALUES_MAX.
 */
bool chunk_json_valid(const char *text, size_t len);

/* chunk_value_decode: one JSON document as a value whose memory is a's. False where it is none, is
 * nested deeper than CHUNK_VARS_DEPTH_MAX, has more than CHUNK_VARS_VALUES_MAX values, holds a NUL,
 * or is too much for a. */
bool chunk_value_decode(struct arena *a, const char *text, size_t len, struct value *out);

/* chunk_message_id: "run/chunk/attempt". */
const char *chunk_message_id(char out[CHUNK_MESSAGE_ID_SIZE], uint64_t run, uint32_t chunk,
                             uint32_t attempt);

#endif
