/* Writing chunk messages: straight into a bounded buffer, no tree in between. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/chunk.h"
#include "common/encode.h"

/* FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923): enough to tell two readings of an audience apart.
 */
uint64_t chunk_digest_start(void)
{
    return 0xcbf29ce484222325u;
}

uint64_t chunk_digest_add(uint64_t digest, const char *id, size_t id_len)
{
    for (size_t i = 0; i < id_len; i++) digest = (digest ^ (unsigned char)id[i]) * 0x100000001b3u;
    return (digest ^ 0xff) * 0x100000001b3u; /* 0xff is in no UTF-8 text: it ends the id */
}

void chunk_write_start(struct buf *b, uint64_t run, uint32_t chunk, uint32_t attempt)
{
    buf_append_format(b,
                      "{\"v\":1,\"run\":%" PRIu64 ",\"chunk\":%u,\"attempt\":%u,\"recipients\":[",
                      run, chunk, attempt);
}

void chunk_write_recipient(struct buf *b, uint32_t position, const char *id, size_t id_len,
                           const char *to, size_t to_len)
{
    if (b->len && b->data[b->len - 1] == '}') buf_append_char(b, ',');
    buf_append_text(b, "{\"p\":");
    buf_append_u64(b, position);
    buf_append_text(b, ",\"id\":");
    if (!chunk_write_text(b, id, id_len)) b->too_big = true;
    buf_append_text(b, ",\"to\":");
    if (!chunk_write_text(b, to, to_len)) b->too_big = true;
    buf_append_text(b, ",\"vars\":{");
}

void chunk_write_var_name(struct buf *b, const char *name, size_t name_len)
{
    if (b->len && b->data[b->len - 1] != '{') buf_append_char(b, ',');
    if (!chunk_write_text(b, name, name_len)) b->too_big = true;
    buf_append_char(b, ':');
}

void chunk_write_recipient_end(struct buf *b, const char *fail)
{
    buf_append_char(b, '}');
    if (fail) {
        buf_append_text(b, ",\"fail\":");
        if (!chunk_write_text(b, fail, strnlen(fail, CHUNK_FAIL_MAX))) b->too_big = true;
    }
    buf_append_char(b, '}');
}

void chunk_write_end(struct buf *b, uint64_t digest)
{
    buf_append_format(b, "],\"digest\":\"%016" PRIx64 "\"}", digest);
}

static void write_escaped(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        buf_append_text(b, "\\\"");
        break;
    case '\\':
        buf_append_text(b, "\\\\");
        break;
    case '\n':
        buf_append_text(b, "\\n");
        break;
    case '\r':
        buf_append_text(b, "\\r");
        break;
    case '\t':
        buf_append_text(b, "\\t");
        break;
    default:
        buf_append_format(b, "\\u%04x", c);
    }
}

bool chunk_write_text(struct buf *b, const char *text, size_t len)
{
    size_t done = 0;
    if (memchr(text, '\0', len) || !encode_utf8_valid(text, len)) return false;
    buf_append_char(b, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        buf_append(b, text + done, i - done);
        write_escaped(b, c);
        done = i + 1;
    }
    buf_append(b, text + done, len - done);
    buf_append_char(b, '"');
    return true;
}

void chunk_write_value(struct buf *b, const struct value *v)
{
    switch (v->kind) {
    case VALUE_NULL:
        buf_append_text(b, "null");
        break;
    case VALUE_FALSE:
        buf_append_text(b, "false");
        break;
    case VALUE_TRUE:
        buf_append_text(b, "true");
        break;
    case VALUE_NUMBER:
        buf_append(b, v->text, v->len);
        break;
    case VALUE_TEXT:
        if (!chunk_write_text(b, v->text, v->len)) b->too_big = true;
        break;
    case VALUE_LIST:
        buf_append_char(b, '[');
        for (uint32_t i = 0; i < v->len; i++) {
            if (i) buf_append_char(b, ',');
            chunk_write_value(b, &v->items[i]);
        }
        buf_append_char(b, ']');
        break;
    case VALUE_MAP:
        buf_append_char(b, '{');
        for (uint32_t i = 0; i < v->len; i++) {
            chunk_write_var_name(b, v->fields[i].name, v->fields[i].name_len);
            chunk_write_value(b, &v->fields[i].value);
        }
        buf_append_char(b, '}');
        break;
    }
}

const char *chunk_message_id(char out[CHUNK_MESSAGE_ID_SIZE], uint64_t run, uint32_t chunk,
                             uint32_t attempt)
{
    snprintf(out, CHUNK_MESSAGE_ID_SIZE, "%" PRIu64 "/%u/%u", run, chunk, attempt);
    return out;
}
