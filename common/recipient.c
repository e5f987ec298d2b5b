/* From the bytes of a database row to JSON, straight into the message. Decides which of its values
 * a mail can use; whether the address exists is not its business. */
#include "common/recipient.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/chunk.h"
#include "common/encode.h"
#include "common/json_scan.h"

const char *recipient_id_problem(struct db_cell id)
{
    if (!id.text) return "is NULL";
    if (!id.len) return "is empty";
    if (id.len > CHUNK_ID_MAX) return "is longer than 64 bytes";
    if (memchr(id.text, '\0', id.len) || !encode_utf8_valid(id.text, id.len))
        return "is not UTF-8 text; select HEX(...) of a binary id";
    return NULL;
}

/* JSON has one way to write an integer, and readers keep 53 bits of it. */
static bool is_json_integer(struct db_cell cell)
{
    size_t sign = cell.len && cell.text[0] == '-', digits = cell.len - sign;
    if (digits < 1 || digits > 16 || strspn(cell.text + sign, "0123456789") != digits) return false;
    if (cell.text[sign] == '0') return cell.len == 1;
    return digits < 16 || strtoll(cell.text + sign, NULL, 10) < 1LL << 53;
}

/* Appends a JSON document as it is. Inside the map of variables it is one level deeper than it says
 * of itself, and the depth counts from there. */
static bool write_json(struct buf *body, struct db_cell cell)
{
    size_t start = body->len;
    buf_append_char(body, '[');
    buf_append(body, cell.text, cell.len);
    buf_append_char(body, ']');
    bool valid = !body->too_big && encode_utf8_valid(cell.text, cell.len) &&
                 chunk_json_valid(cell.text, cell.len) &&
                 chunk_json_valid(body->data + start, cell.len + 2);
    if (!body->too_big) body->len = start;
    if (valid) buf_append(body, cell.text, cell.len);
    return valid;
}

static void write_bits(struct buf *body, struct db_cell cell)
{
    unsigned long long value = 0;
    for (size_t i = 0; i < cell.len; i++) value = value << 8 | (unsigned char)cell.text[i];
    bool is_number = value < 1ULL << 53;
    if (!is_number) buf_append_char(body, '"');
    buf_append_u64(body, value);
    if (!is_number) buf_append_char(body, '"');
}

/* A value takes two bytes at least. */
static bool holds_too_many(const char *json, size_t len)
{
    return len > 2 * CHUNK_VARS_VALUES_MAX &&
           json_extent_of(json, len).values > CHUNK_VARS_VALUES_MAX;
}

/* Appends one variable; else the reason why it cannot be one. */
static const char *write_value(struct buf *body, enum db_kind kind, struct db_cell cell)
{
    if (!cell.text) {
        buf_append(body, "null", 4);
    } else if (kind == DB_KIND_INT && is_json_integer(cell)) {
        buf_append(body, cell.text, cell.len);
    } else if (kind == DB_KIND_BIT) {
        write_bits(body, cell);
    } else if (kind == DB_KIND_JSON) {
        if (holds_too_many(cell.text, cell.len)) return "holds more than 50,000 values";
        if (!write_json(body, cell)) return "is not JSON, or is nested too deep";
    } else if (!chunk_write_text(body, cell.text, cell.len)) {
        return "is not UTF-8 text, or holds a NUL byte";
    }
    return NULL;
}

static const char TOO_MUCH[] = "brings the variables past 1 MiB";

/* False, with the reason, for a variable that has a problem. */
static bool is_usable(const char *name, const char *problem, char reason[CHUNK_FAIL_MAX])
{
    if (!problem) return true;
    snprintf(reason, CHUNK_FAIL_MAX, "the variable '%.*s' %s",
             (int)encode_utf8_prefix(name, strnlen(name, 64)), name, problem);
    return false;
}

static bool write_columns(struct buf *body, const struct recipient_columns *columns,
                          const struct db_cell *row, const struct value *known, size_t start,
                          char reason[CHUNK_FAIL_MAX])
{
    for (unsigned i = 0; i < columns->n; i++) {
        const struct db_column *column = &columns->items[i];
        if (known && i != columns->id && value_get(known, column->name, strlen(column->name)))
            continue;
        chunk_write_var_name(body, column->name, strlen(column->name));
        const char *problem = NULL;
        if (row[i].len <= RECIPIENT_VARS_MAX) problem = write_value(body, column->kind, row[i]);
        if (row[i].len > RECIPIENT_VARS_MAX || body->len - start > RECIPIENT_VARS_MAX)
            problem = TOO_MUCH;
        if (!is_usable(column->name, problem, reason)) return false;
    }
    return true;
}

/* The id is the column's: it was checked, and the digest covers it. */
static bool write_known(struct buf *body, const struct value *known, size_t start,
                        char reason[CHUNK_FAIL_MAX])
{
    for (uint32_t i = 0; i < known->len; i++) {
        const struct value_field *field = &known->fields[i];
        if (field->name_len == 2 && memcmp(field->name, "id", 2) == 0) continue;
        chunk_write_var_name(body, field->name, field->name_len);
        chunk_write_value(body, &field->value);
        const char *problem = body->len - start > RECIPIENT_VARS_MAX ? TOO_MUCH : NULL;
        if (!is_usable(field->name, problem, reason)) return false;
    }
    return true;
}

static bool write_vars(struct buf *body, const struct recipient_columns *columns,
                       const struct db_cell *row, const struct value *known,
                       char reason[CHUNK_FAIL_MAX])
{
    size_t start = body->len;
    if (!write_columns(body, columns, row, known, start, reason)) return false;
    if (known && !write_known(body, known, start, reason)) return false;
    if (!holds_too_many(body->data + start, body->len - start)) return true;
    snprintf(reason, CHUNK_FAIL_MAX, "the variables hold more than 50,000 values");
    return false;
}

static struct db_cell find_address(const struct recipient_columns *columns,
                                   const struct db_cell *row, const struct value *known)
{
    const struct value *email = known ? value_get(known, "email", 5) : NULL;
    if (email && email->kind == VALUE_TEXT) return (struct db_cell){email->text, email->len};
    if (email || columns->email >= columns->n) return (struct db_cell){0};
    return row[columns->email];
}

/* Copies an address for the record; returns its length. */
static size_t clean_address(struct db_cell to, char out[CHUNK_TO_MAX])
{
    size_t n = 0, at = 0;
    while (at < to.len && n < CHUNK_TO_MAX) {
        size_t good = encode_utf8_prefix(to.text + at, to.len - at);
        for (; good && n < CHUNK_TO_MAX; good--, at++) {
            unsigned char c = (unsigned char)to.text[at];
            out[n++] = c < ' ' || c == 0x7f ? '?' : (char)c;
        }
        if (at < to.len && n < CHUNK_TO_MAX) out[n++] = '?', at++;
    }
    return encode_utf8_prefix(out, n); /* the cut may have gone through a character */
}

void recipient_write_failed(struct buf *body, uint32_t position, struct db_cell id,
                            struct db_cell to, const char *reason)
{
    char address[CHUNK_TO_MAX];
    size_t len = clean_address(to, address);
    chunk_write_recipient(body, position, id.text, id.len, address, len);
    chunk_write_recipient_end(body, reason);
}

bool recipient_write(struct buf *body, uint32_t position, const struct recipient_columns *columns,
                     const struct db_cell *row, const struct contact *contact)
{
    const struct value *known = contact ? contact->vars : NULL;
    struct db_cell id = row[columns->id], to = find_address(columns, row, known);
    size_t start = body->len;
    char reason[CHUNK_FAIL_MAX], room[ADDRESS_MAX + 1];
    const char *address = to.text ? to.text : "";
    size_t address_len = to.len;
    const char *problem = contact ? contact->fail : NULL;
    if (!problem) problem = address_prepare(&address, &address_len, room);
    if (problem) {
        recipient_write_failed(body, position, id, to, problem);
        return false;
    }
    chunk_write_recipient(body, position, id.text, id.len, address, address_len);
    if (write_vars(body, columns, row, known, reason)) {
        chunk_write_recipient_end(body, NULL);
        return true;
    }
    if (!body->too_big) {
        body->len = start;
        recipient_write_failed(body, position, id, to, reason);
    }
    return false;
}

struct err recipient_read_back(const struct recipient_columns *columns, const struct db_cell *row,
                               const struct contact *contact, struct chunk_message *out)
{
    struct buf body;
    buf_init(&body, CHUNK_BODY_MAX);
    chunk_write_start(&body, 0, 0, 1);
    recipient_write(&body, 0, columns, row, contact);
    chunk_write_end(&body, 0);
    struct err e = buf_check(&body, "the recipient");
    if (!e.code) e = chunk_decode(body.data, body.len, out);
    buf_fini(&body);
    return e;
}
