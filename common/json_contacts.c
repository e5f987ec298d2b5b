/* An answer is cut into its contacts first, and cJSON gets one of them at a time: so a large answer
 * needs no tree many times its size, and each contact is kept as its service wrote it. */
#include "common/json_contacts.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/encode.h"
#include "common/json_memory.h"
#include "common/json_scan.h"

static const double WHOLE_MAX = 9007199254740991.0; /* 2^53 - 1: what every JSON reader keeps */

void contacts_write_start(struct buf *out)
{
    buf_append_text(out, "{\"ids\":[");
}

void contacts_write_id(struct buf *out, const char *id, size_t len)
{
    if (out->len && out->data[out->len - 1] == '"') buf_append_char(out, ',');
    if (!chunk_write_text(out, id, len)) out->too_big = true;
}

void contacts_write_end(struct buf *out)
{
    buf_append_text(out, "]}");
}

/* ---- cutting: end is behind the text; NULL means that it ends too early */

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) p++;
    return p;
}

/* p is at the opening quote. */
static const char *skip_text(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\') p++;
    return p < end ? p + 1 : NULL;
}

/* Past a value of any kind, by its brackets and quotes alone. */
static const char *skip_value(const char *p, const char *end)
{
    size_t depth = 0;
    while (p && p < end) {
        if (*p == '"') {
            p = skip_text(p, end);
        } else if (*p == '{' || *p == '[') {
            depth++, p++;
        } else if (*p == '}' || *p == ']') {
            if (!depth) return p;
            depth--, p++;
        } else if (!depth && (*p == ',' || *p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) {
            return p;
        } else {
            p++;
            continue;
        }
        if (!depth) return p;
    }
    return NULL;
}

static struct err cut_short(size_t len)
{
    return err_make(ERR_INPUT, 0, "the answer is no JSON: it breaks off after %zu bytes", len);
}

static struct err no_json(const char *text, const char *at)
{
    return err_make(ERR_INPUT, 0, "the answer is no JSON at byte %td", at - text);
}

static struct err no_list(void)
{
    return err_make(ERR_INPUT, 0, "the answer has no list 'contacts'");
}

/* Finds the list among the members of the outermost object: *list is its bracket, *behind what
 * follows it. */
static struct err find_list(const char *text, size_t len, const char **list, const char **behind)
{
    static const char NAME[] = "\"contacts\"";
    const char *end = text + len, *p = skip_blanks(text, end);
    if (p == end) return cut_short(len);
    if (*p != '{') return err_make(ERR_INPUT, 0, "the answer is no JSON object");
    for (p = skip_blanks(p + 1, end); p < end && *p == '"'; p = skip_blanks(p + 1, end)) {
        const char *name = p, *value;
        p = skip_text(p, end);
        if (!p) return cut_short(len);
        size_t name_len = (size_t)(p - name);
        p = skip_blanks(p, end);
        if (p < end && *p != ':') return no_json(text, p);
        value = p < end ? skip_blanks(p + 1, end) : end;
        p = skip_value(value, end);
        if (!p) return cut_short(len);
        if (name_len == sizeof NAME - 1 && memcmp(name, NAME, name_len) == 0) {
            if (*value != '[') return no_list();
            *list = value;
            *behind = p;
            return err_none();
        }
        p = skip_blanks(p, end);
        if (p < end && *p != ',') break;
    }
    return p == end ? cut_short(len) : no_list();
}

static bool holds_too_many(const char *text, size_t len)
{
    return json_extent_of(text, len).values > CHUNK_VARS_VALUES_MAX;
}

/* Nothing is made of what holds too many values. */
static cJSON *parse(const char *text, size_t len)
{
    if (holds_too_many(text, len)) return NULL;
    const char *end = text;
    json_memory_use();
    cJSON *root = cJSON_ParseWithLengthOpts(text, len, &end, false);
    if (root && skip_blanks(end, text + len) == text + len) return root;
    cJSON_Delete(root);
    return NULL;
}

/* Whether everything around the list is JSON: with an empty one in its place. */
static bool is_frame(const char *text, size_t len, const char *list, const char *behind)
{
    struct buf frame;
    buf_init(&frame, len + 2);
    buf_append(&frame, text, (size_t)(list - text));
    buf_append_text(&frame, "[]");
    buf_append(&frame, behind, (size_t)(text + len - behind));
    cJSON *root = parse(frame.data, frame.len);
    buf_fini(&frame);
    bool whole = cJSON_IsObject(root);
    cJSON_Delete(root);
    return whole;
}

/* ---- one contact */

static bool is_whole(const cJSON *item, double from)
{
    return cJSON_IsNumber(item) && item->valuedouble >= from && item->valuedouble <= WHOLE_MAX &&
           floor(item->valuedouble) == item->valuedouble;
}

static bool read_id(const cJSON *root, char out[CHUNK_ID_MAX + 1])
{
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(root, "id");
    if (is_whole(id, -WHOLE_MAX))
        return snprintf(out, CHUNK_ID_MAX + 1, "%.0f", id->valuedouble) > 0;
    size_t len = cJSON_IsString(id) ? strlen(id->valuestring) : 0;
    if (len < 1 || len > CHUNK_ID_MAX) return false;
    memcpy(out, id->valuestring, len + 1);
    return true;
}

static struct err read_contact(const char *json, size_t len, struct contact_text *out)
{
    *out = (struct contact_text){.json = json, .json_len = len};
    cJSON *root = parse(json, len);
    struct err e = err_none();
    if (!root && holds_too_many(json, len))
        e = err_make(ERR_INPUT, 0, "it holds more than %d values", CHUNK_VARS_VALUES_MAX);
    else if (!root)
        e = err_make(ERR_INPUT, 0, "it is no JSON");
    else if (!cJSON_IsObject(root))
        e = err_make(ERR_INPUT, 0, "it is no object");
    else if (!read_id(root, out->id))
        e = err_make(ERR_INPUT, 0, "its id must be a text of 1 to %d bytes or an integer",
                     CHUNK_ID_MAX);
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "version");
    if (!e.code && is_whole(version, 0)) out->version = (uint64_t)version->valuedouble;
    cJSON_Delete(root);
    return e;
}

/* p is behind the list's opening bracket. */
static struct err read_items(const char *text, const char *p, const char *behind,
                             struct err (*take)(void *user, const struct contact_text *contact),
                             void *user)
{
    p = skip_blanks(p, behind);
    for (unsigned n = 1; *p != ']'; n++) {
        struct contact_text contact;
        const char *item = p;
        p = skip_value(item, behind);
        if (!p || p == item) return no_json(text, item);
        struct err e = read_contact(item, (size_t)(p - item), &contact);
        if (!e.code) e = take(user, &contact);
        if (e.code) return err_wrap(e, "contact %u of the answer", n);
        p = skip_blanks(p, behind);
        if (*p == ']') break;
        if (*p != ',') return no_json(text, p);
        p = skip_blanks(p + 1, behind);
        if (*p == ']') return no_json(text, p);
    }
    return p + 1 == behind ? err_none() : no_json(text, p);
}

struct err contacts_read(const char *text, size_t len,
                         struct err (*take)(void *user, const struct contact_text *contact),
                         void *user)
{
    const char *list = NULL, *behind = NULL;
    size_t good = encode_utf8_prefix(text, len);
    if (good < len) return err_make(ERR_INPUT, 0, "the answer is not UTF-8 at byte %zu", good);
    TRY(find_list(text, len, &list, &behind));
    if (!is_frame(text, len, list, behind))
        return err_make(ERR_INPUT, 0, "the answer is no JSON around its list 'contacts'");
    return read_items(text, list + 1, behind, take, user);
}

struct err contact_read_event(const char *text, size_t len, struct contact_text *out)
{
    if (!encode_utf8_valid(text, len)) return err_make(ERR_INPUT, 0, "it is not UTF-8");
    if (len && memchr(text, '\0', len)) return err_make(ERR_INPUT, 0, "it holds a NUL character");
    TRY(read_contact(text, len, out));
    if (out->version) return err_none();
    return err_make(ERR_INPUT, 0, "its version must be an integer from 1 to 2^53 - 1");
}
