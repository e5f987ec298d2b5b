/* Reading chunk messages: cJSON parses, then what is needed is copied into the message's arena and
 * every limit of docs/chunk-format.md is checked. cJSON's tree lives only inside chunk_decode. */
#include "common/chunk.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/encode.h"
#include "common/json_memory.h"
#include "common/json_scan.h"

enum { ARENA_MAX = 8 * CHUNK_BODY_MAX };

static struct err bad(const char *where, const char *want)
{
    return err_make(ERR_INPUT, 0, "chunk message: %s must be %s", where, want);
}

static struct err no_room(void)
{
    return err_make(ERR_TOO_BIG, 0, "chunk message: decoded it needs more than %d bytes",
                    ARENA_MAX);
}

static struct err read_whole(const cJSON *object, const char *name, double max, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    char want[64];
    if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= max &&
        floor(item->valuedouble) == item->valuedouble) {
        *out = item->valuedouble;
        return err_none();
    }
    snprintf(want, sizeof want, "a whole number from 0 to %.0f", max);
    return bad(name, want);
}

/* A number keeps its digits: whole ones without a fraction, others as the shortest exact form. One
 * past all doubles stays past them, as JSON can say it. */
static bool copy_number(struct arena *a, double number, struct value *out)
{
    char text[40];
    int len = isinf(number) ? snprintf(text, sizeof text, number > 0 ? "1e999" : "-1e999")
              : fabs(number) < 9007199254740992.0 && floor(number) == number
                  ? snprintf(text, sizeof text, "%.0f", number)
                  : snprintf(text, sizeof text, "%.17g", number);
    for (int digits = 15; digits < 17 && strchr(text, '.'); digits++) {
        char shorter[40];
        int n = snprintf(shorter, sizeof shorter, "%.*g", digits, number);
        if (strtod(shorter, NULL) == number) {
            memcpy(text, shorter, (size_t)n + 1);
            len = n;
            break;
        }
    }
    out->kind = VALUE_NUMBER;
    out->text = arena_copy(a, text, (size_t)len);
    out->len = (uint32_t)len;
    return out->text != NULL;
}

static bool copy_value(struct arena *a, const cJSON *item, struct value *out);

static bool copy_fields(struct arena *a, const cJSON *item, struct value *out)
{
    uint32_t n = (uint32_t)cJSON_GetArraySize(item), i = 0;
    struct value_field *fields = arena_alloc(a, n * sizeof *fields);
    if (!fields) return false;
    for (const cJSON *child = item->child; child; child = child->next, i++) {
        fields[i].name_len = (uint32_t)strlen(child->string);
        fields[i].name = arena_copy(a, child->string, fields[i].name_len);
        if (!fields[i].name || !copy_value(a, child, &fields[i].value)) return false;
    }
    *out = (struct value){.kind = VALUE_MAP, .len = n, .fields = fields};
    return true;
}

static bool copy_items(struct arena *a, const cJSON *item, struct value *out)
{
    uint32_t n = (uint32_t)cJSON_GetArraySize(item), i = 0;
    struct value *items = arena_alloc(a, n * sizeof *items);
    if (!items) return false;
    for (const cJSON *child = item->child; child; child = child->next)
        if (!copy_value(a, child, &items[i++])) return false;
    *out = (struct value){.kind = VALUE_LIST, .len = n, .items = items};
    return true;
}

static bool copy_value(struct arena *a, const cJSON *item, struct value *out)
{
    *out = (struct value){.kind = VALUE_NULL};
    if (cJSON_IsTrue(item))
        out->kind = VALUE_TRUE;
    else if (cJSON_IsFalse(item))
        out->kind = VALUE_FALSE;
    else if (cJSON_IsNumber(item))
        return copy_number(a, item->valuedouble, out);
    else if (cJSON_IsObject(item))
        return copy_fields(a, item, out);
    else if (cJSON_IsArray(item))
        return copy_items(a, item, out);
    else if (cJSON_IsString(item)) {
        size_t len = strlen(item->valuestring);
        *out = (struct value){.kind = VALUE_TEXT, .len = (uint32_t)len};
        out->text = arena_copy(a, item->valuestring, len);
        return out->text != NULL;
    }
    return true;
}

static struct err copy_text(struct arena *a, const cJSON *object, const char *name, size_t min,
                            size_t max, const char **text, uint32_t *len)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    size_t n = cJSON_IsString(item) ? strlen(item->valuestring) : 0;
    char want[48];
    snprintf(want, sizeof want, "a text of %zu to %zu bytes", min, max);
    if (!cJSON_IsString(item) || n < min || n > max) return bad(name, want);
    *text = arena_copy(a, item->valuestring, n);
    *len = (uint32_t)n;
    return *text ? err_none() : no_room();
}

static struct err copy_recipient(struct arena *a, const cJSON *item, struct chunk_recipient *out)
{
    if (!cJSON_IsObject(item)) return bad("each recipient", "an object");
    double position;
    TRY(read_whole(item, "p", CHUNK_RECIPIENTS_MAX - 1, &position));
    out->position = (uint32_t)position;
    TRY(copy_text(a, item, "id", 1, CHUNK_ID_MAX, &out->id, &out->id_len));
    TRY(copy_text(a, item, "to", 0, CHUNK_TO_MAX, &out->to, &out->to_len));
    uint32_t fail_len;
    if (cJSON_GetObjectItemCaseSensitive(item, "fail"))
        TRY(copy_text(a, item, "fail", 1, CHUNK_FAIL_MAX, &out->fail, &fail_len));
    const cJSON *vars = cJSON_GetObjectItemCaseSensitive(item, "vars");
    if (!cJSON_IsObject(vars)) return bad("vars", "an object");
    return copy_value(a, vars, &out->vars) ? err_none() : no_room();
}

static struct err copy_recipients(const cJSON *root, struct chunk_message *out)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "recipients");
    if (!cJSON_IsArray(list)) return bad("recipients", "a list");
    int n = cJSON_GetArraySize(list);
    if (n > CHUNK_RECIPIENTS_MAX)
        return err_make(ERR_TOO_BIG, 0, "chunk message: %d recipients, at most %d are allowed", n,
                        CHUNK_RECIPIENTS_MAX);
    out->recipients = arena_alloc(&out->arena, (size_t)n * sizeof *out->recipients);
    if (!out->recipients) return no_room();
    for (const cJSON *item = list->child; item; item = item->next) {
        struct chunk_recipient *r = &out->recipients[out->n];
        struct err e = copy_recipient(&out->arena, item, r);
        if (e.code) return err_wrap(e, "recipient %u of the message", out->n);
        if (out->n && r->position <= r[-1].position)
            return err_make(ERR_INPUT, 0, "chunk message: position %u follows %u, they must ascend",
                            r->position, r[-1].position);
        out->n++;
    }
    return err_none();
}

static struct err read_digest(const cJSON *root, uint64_t *digest)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, "digest");
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return bad("digest", "16 lower-case hexadecimal digits");
    *digest = strtoull(text, NULL, 16);
    return err_none();
}

static struct err read_root(const cJSON *root, struct chunk_message *out)
{
    double version, run, chunk, attempt;
    if (!cJSON_IsObject(root)) return bad("the body", "a JSON object");
    TRY(read_whole(root, "v", 1000, &version));
    if (version != CHUNK_VERSION)
        return err_make(version > CHUNK_VERSION ? ERR_NEWER : ERR_INPUT, 0,
                        "chunk message: version %.0f, this program reads version %d", version,
                        CHUNK_VERSION);
    TRY(read_whole(root, "run", 9007199254740991.0, &run));
    TRY(read_whole(root, "chunk", 4294967295.0, &chunk));
    TRY(read_whole(root, "attempt", 1000, &attempt));
    if (attempt < 1) return bad("attempt", "at least 1");
    TRY(read_digest(root, &out->digest));
    out->run = (uint64_t)run;
    out->chunk = (uint32_t)chunk;
    out->attempt = (uint32_t)attempt;
    return copy_recipients(root, out);
}

/* One JSON document and nothing behind it, or NULL; *end is then where it goes wrong. */
static cJSON *parse(const char *text, size_t len, const char **end)
{
    *end = text;
    json_memory_use();
    cJSON *root = cJSON_ParseWithLengthOpts(text, len, end, false);
    for (const char *p = *end; root && p < text + len; p++) {
        if (strchr(" \t\r\n", *p) && *p) continue;
        cJSON_Delete(root);
        root = NULL;
    }
    return root;
}

/* What the text would need is looked at before anything is made of it. */
static struct err check_extent(const char *body, size_t len)
{
    if (len > CHUNK_BODY_MAX)
        return err_make(ERR_TOO_BIG, 0, "chunk message: %zu bytes, at most %d are allowed", len,
                        CHUNK_BODY_MAX);
    if (!encode_utf8_valid(body, len)) return bad("the body", "UTF-8");
    struct json_extent extent = json_extent_of(body, len);
    if (extent.nul) return bad("every text", "free of NUL characters");
    if (extent.depth > CHUNK_VARS_DEPTH_MAX + 3)
        return err_make(ERR_TOO_BIG, 0, "chunk message: vars nested deeper than %d",
                        CHUNK_VARS_DEPTH_MAX);
    if (extent.values > CHUNK_VALUES_MAX)
        return err_make(ERR_TOO_BIG, 0, "chunk message: more than %d values", CHUNK_VALUES_MAX);
    return err_none();
}

struct err chunk_decode(const void *body, size_t len, struct chunk_message *out)
{
    *out = (struct chunk_message){0};
    TRY(check_extent(body, len));
    const char *end;
    cJSON *root = parse(body, len, &end);
    if (!root)
        return err_make(ERR_INPUT, 0, "chunk message: not JSON at byte %td of %zu",
                        end ? end - (const char *)body : 0, len);
    arena_init(&out->arena, ARENA_MAX);
    struct err e = read_root(root, out);
    cJSON_Delete(root);
    if (e.code) chunk_fini(out);
    return e;
}

void chunk_fini(struct chunk_message *m)
{
    arena_fini(&m->arena);
    m->recipients = NULL;
    m->n = 0;
}

bool chunk_json_valid(const char *text, size_t len)
{
    struct json_extent extent = json_extent_of(text, len);
    if (extent.nul || extent.depth >= CHUNK_VARS_DEPTH_MAX) return false;
    if (extent.values > CHUNK_VARS_VALUES_MAX) return false;
    const char *end;
    cJSON *root = parse(text, len, &end);
    bool valid = root != NULL;
    cJSON_Delete(root);
    return valid;
}

bool chunk_value_decode(struct arena *a, const char *text, size_t len, struct value *out)
{
    struct json_extent extent = json_extent_of(text, len);
    if (extent.nul || extent.depth > CHUNK_VARS_DEPTH_MAX) return false;
    if (extent.values > CHUNK_VARS_VALUES_MAX || !encode_utf8_valid(text, len)) return false;
    const char *end;
    cJSON *root = parse(text, len, &end);
    bool whole = root && copy_value(a, root, out);
    cJSON_Delete(root);
    return whole;
}
