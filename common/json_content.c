/* struct content to JSON and back. */
#include <cjson/cJSON.h>
#include <stddef.h>
#include <string.h>

#include "common/chunk.h"
#include "common/content.h"
#include "common/encode.h"
#include "common/json_memory.h"
#include "common/json_scan.h"

static const struct {
    const char *name;
    size_t offset;
    bool optional; /* runs of earlier versions have none */
} TEXTS[] = {
    {"campaign", offsetof(struct content, campaign), false},
    {"from", offsetof(struct content, from), false},
    {"reply_to", offsetof(struct content, reply_to), false},
    {"to_name", offsetof(struct content, to_name), false},
    {"subject", offsetof(struct content, subject), false},
    {"text", offsetof(struct content, text), false},
    {"html", offsetof(struct content, html), false},
    {"list_unsubscribe", offsetof(struct content, list_unsubscribe), false},
    {"transport", offsetof(struct content, transport), false},
    {"lane", offsetof(struct content, lane), false},
    {"text_name", offsetof(struct content, text_name), true},
    {"html_name", offsetof(struct content, html_name), true},
};
enum { N_TEXTS = sizeof TEXTS / sizeof TEXTS[0], VALUES_MAX = 65536 };

static void write_text(struct buf *out, const char *text, size_t len)
{
    if (!chunk_write_text(out, text, len)) out->too_big = true;
}

static void write_partials(const struct template_partials *partials, struct buf *out)
{
    buf_append_text(out, ",\"partials\":{");
    for (size_t i = 0; i < partials->count; i++) {
        const struct template_source *p = &partials->items[i];
        if (i) buf_append_char(out, ',');
        write_text(out, p->name, strlen(p->name));
        buf_append_char(out, ':');
        write_text(out, p->text, p->len);
    }
    buf_append_char(out, '}');
}

static void write_files(const struct content *c, struct buf *out)
{
    buf_append_text(out, ",\"files\":[");
    for (size_t i = 0; i < c->n_files; i++) {
        const struct message_file *f = &c->files[i];
        buf_append_text(out, i ? ",{\"name\":" : "{\"name\":");
        write_text(out, f->name, strlen(f->name));
        buf_append_format(out, ",\"image\":%s,\"base64\":\"", f->image ? "true" : "false");
        encode_base64_whole(f->bytes, f->len, out);
        buf_append_text(out, "\"}");
    }
    buf_append_char(out, ']');
}

void content_encode(const struct content *c, struct buf *out)
{
    buf_append_format(out, "{\"v\":%d", CONTENT_VERSION);
    for (int i = 0; i < N_TEXTS; i++) {
        const char *text = *(const char *const *)((const char *)c + TEXTS[i].offset);
        buf_append_format(out, ",\"%s\":", TEXTS[i].name);
        write_text(out, text, strlen(text));
    }
    write_partials(&c->partials, out);
    write_files(c, out);
    buf_append_format(out,
                      ",\"has_text\":%s,\"has_html\":%s,\"on_crash\":\"%s\",\"max_attempts\":%d,"
                      "\"max_age_s\":%lld,\"delays_s\":[",
                      c->has_text ? "true" : "false", c->has_html ? "true" : "false",
                      c->resend ? "resend" : "hold", c->max_attempts, (long long)c->max_age_s);
    for (int i = 0; i < c->n_delays; i++)
        buf_append_format(out, "%s%d", i ? "," : "", c->delays_s[i]);
    buf_append_text(out, "]}");
}

static struct err bad(const char *what)
{
    return err_make(ERR_INPUT, 0, "the run's content: '%s' is missing or wrong", what);
}

static struct err read_texts(const cJSON *root, struct content *out)
{
    for (int i = 0; i < N_TEXTS; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, TEXTS[i].name);
        const char *text = !item && TEXTS[i].optional ? "" : cJSON_GetStringValue(item);
        if (!text) return bad(TEXTS[i].name);
        char *copy = arena_copy(&out->arena, text, strlen(text));
        if (!copy) return bad(TEXTS[i].name);
        *(const char **)((char *)out + TEXTS[i].offset) = copy;
    }
    return err_none();
}

static struct err read_partials(const cJSON *root, struct content *out)
{
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(root, "partials"), *item;
    if (!map) return err_none();
    if (!cJSON_IsObject(map)) return bad("partials");
    size_t room = (size_t)cJSON_GetArraySize(map), n = 0;
    struct template_source *items = arena_alloc(&out->arena, room * sizeof *items);
    if (!items) return bad("partials");
    cJSON_ArrayForEach(item, map)
    {
        if (!cJSON_IsString(item)) return bad("partials");
        size_t len = strlen(item->valuestring);
        items[n].name = arena_copy(&out->arena, item->string, strlen(item->string));
        items[n].text = arena_copy(&out->arena, item->valuestring, len);
        items[n].len = len;
        if (!items[n].name || !items[n].text) return bad("partials");
        n++;
    }
    out->partials = (struct template_partials){items, n};
    return err_none();
}

static bool read_file(const cJSON *item, struct arena *memory, struct message_file *out)
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "name"));
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "base64"));
    if (!name || !text) return false;
    size_t len = strlen(text);
    char *bytes = arena_alloc(memory, len / 4 * 3 + 1);
    *out = (struct message_file){
        .name = arena_copy(memory, name, strlen(name)),
        .bytes = bytes,
        .image = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "image")),
    };
    return out->name && bytes && encode_base64_decode(text, len, bytes, &out->len);
}

static struct err read_files(const cJSON *root, struct content *out)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "files"), *item;
    if (!list) return err_none();
    if (!cJSON_IsArray(list)) return bad("files");
    size_t room = (size_t)cJSON_GetArraySize(list);
    struct message_file *files = arena_alloc(&out->file_arena, room * sizeof *files);
    if (!files) return bad("files");
    out->files = files;
    cJSON_ArrayForEach(item, list)
    {
        if (!read_file(item, &out->file_arena, &files[out->n_files++])) return bad("files");
    }
    return err_none();
}

static struct err read_number(const cJSON *root, const char *name, double max, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, name);
    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > max) return bad(name);
    *out = item->valuedouble;
    return err_none();
}

static struct err read_delays(const cJSON *root, struct content *out)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "delays_s");
    const cJSON *item;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > CONTENT_DELAYS_MAX)
        return bad("delays_s");
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsNumber(item) || item->valuedouble < 1 || item->valuedouble > 1e7)
            return bad("delays_s");
        out->delays_s[out->n_delays++] = (int)item->valuedouble;
    }
    return out->n_delays ? err_none() : bad("delays_s");
}

static struct err read_root(const cJSON *root, struct content *out)
{
    double number;
    TRY(read_number(root, "v", 1e9, &number));
    if (number != (double)(int)number) return bad("v");
    if (number > CONTENT_VERSION)
        return err_make(ERR_NEWER, 0,
                        "the run's content has version %.0f, this program reads up to %d", number,
                        CONTENT_VERSION);
    TRY(read_texts(root, out));
    TRY(read_partials(root, out));
    TRY(read_files(root, out));
    TRY(read_number(root, "max_attempts", 1000, &number));
    out->max_attempts = (int)number;
    TRY(read_number(root, "max_age_s", 1e9, &number));
    out->max_age_s = (int64_t)number;
    out->has_text = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "has_text"));
    out->has_html = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "has_html"));
    const char *on_crash = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "on_crash"));
    if (!on_crash || (strcmp(on_crash, "hold") && strcmp(on_crash, "resend")))
        return bad("on_crash");
    out->resend = strcmp(on_crash, "resend") == 0;
    return read_delays(root, out);
}

struct err content_decode(const char *json, size_t len, struct content *out)
{
    *out = (struct content){0};
    if (json_extent_of(json, len).values > VALUES_MAX)
        return err_make(ERR_TOO_BIG, 0, "the run's content holds more than %d values", VALUES_MAX);
    json_memory_use();
    cJSON *root = cJSON_ParseWithLength(json, len);
    if (!cJSON_IsObject(root)) {
        cJSON_Delete(root);
        return err_make(ERR_INPUT, 0, "the run's content is not a JSON object");
    }
    arena_init(&out->arena, CONTENT_BYTES_MAX);
    arena_init(&out->file_arena, CONTENT_BYTES_MAX);
    struct err e = read_root(root, out);
    cJSON_Delete(root);
    if (e.code) content_fini(out);
    return e;
}

void content_drop_files(struct content *content)
{
    arena_fini(&content->file_arena);
    content->files = NULL;
    content->n_files = 0;
}

void content_fini(struct content *content)
{
    content_drop_files(content);
    arena_fini(&content->arena);
}

int content_delay_s(const struct content *content, unsigned attempt)
{
    unsigned i = attempt < 1 ? 0 : attempt - 1, last = (unsigned)content->n_delays - 1;
    return content->delays_s[i < last ? i : last];
}

int content_delay_hinted_s(const struct content *content, unsigned attempt, int64_t wanted_s,
                           int64_t left_s)
{
    int best = content_delay_s(content, attempt);
    for (int i = 0; i < content->n_delays; i++) {
        int delay = content->delays_s[i];
        bool better = best < wanted_s ? delay > best : delay >= wanted_s && delay < best;
        if (better && delay <= left_s && delay > content_delay_s(content, attempt)) best = delay;
    }
    return best;
}
