/* The published Mustache specification (github.com/mustache/spec), all files but the optional ones.
 * Their folder is in MUSTACHE_SPEC, or beside the project in shared/data; where it is not there,
 * the test is skipped and says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "common/arena.h"
#include "common/template.h"

enum { BIG = 1 << 20, PARTIALS = 8 };

static const char *const files[] = {"comments", "delimiters", "interpolation",
                                    "inverted", "partials",   "sections"};
enum { FILES = sizeof files / sizeof *files, CASES = 136 };

static const char *folder(void)
{
    struct stat st;
    const char *named = getenv("MUSTACHE_SPEC"), *beside = "../../shared/data/mustache-spec";
    if (named) return named;
    return stat(beside, &st) == 0 ? beside : NULL;
}

static cJSON *load(const char *name)
{
    static char text[BIG];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.json", folder(), name);
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("cannot open %s", path);
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    cJSON *root = cJSON_ParseWithLength(text, len);
    if (!root) fail_msg("%s is no JSON", path);
    return root;
}

static struct value text_value(struct arena *a, enum value_kind kind, const char *text)
{
    size_t len = strlen(text);
    return (struct value){.kind = kind, .len = (uint32_t)len, .text = arena_copy(a, text, len)};
}

static struct value value_of(const cJSON *json, struct arena *a)
{
    uint32_t n = 0, count = (uint32_t)cJSON_GetArraySize(json);
    const cJSON *item;
    char number[32];
    if (cJSON_IsNull(json)) return (struct value){.kind = VALUE_NULL};
    if (cJSON_IsBool(json))
        return (struct value){.kind = cJSON_IsTrue(json) ? VALUE_TRUE : VALUE_FALSE};
    if (cJSON_IsString(json)) return text_value(a, VALUE_TEXT, json->valuestring);
    if (cJSON_IsNumber(json)) {
        snprintf(number, sizeof number, "%.15g", json->valuedouble);
        return text_value(a, VALUE_NUMBER, number);
    }
    if (cJSON_IsArray(json)) {
        struct value *items = arena_alloc(a, (count + 1) * sizeof *items);
        cJSON_ArrayForEach(item, json) items[n++] = value_of(item, a);
        return (struct value){.kind = VALUE_LIST, .len = count, .items = items};
    }
    struct value_field *fields = arena_alloc(a, (count + 1) * sizeof *fields);
    cJSON_ArrayForEach(item, json)
    {
        struct value name = text_value(a, VALUE_TEXT, item->string);
        fields[n++] = (struct value_field){name.text, name.len, value_of(item, a)};
    }
    return (struct value){.kind = VALUE_MAP, .len = count, .fields = fields};
}

static const char *text_of(const cJSON *test, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(test, name));
    if (!text) fail_msg("a case without %s", name);
    return text;
}

/* What differs from the case's "expected", or NULL. */
static bool passes(const cJSON *test, struct arena *a, struct buf *out)
{
    struct template_source items[PARTIALS];
    struct template_partials partials = {items, 0};
    const cJSON *item, *given = cJSON_GetObjectItemCaseSensitive(test, "partials");
    const char *text = text_of(test, "template");
    struct template *t;
    struct template_trouble trouble;
    cJSON_ArrayForEach(item, given)
    {
        assert_true(partials.count < PARTIALS);
        items[partials.count++] =
            (struct template_source){item->string, item->valuestring, strlen(item->valuestring)};
    }
    struct err e = template_compile(&(struct template_source){"t", text, strlen(text)}, &partials,
                                    TEMPLATE_LENIENT, &t);
    buf_reset(out);
    if (e.code) {
        buf_append_text(out, e.text);
        return false;
    }
    struct value data = value_of(cJSON_GetObjectItemCaseSensitive(test, "data"), a);
    bool whole = template_render(t, &data, TEMPLATE_HTML, out, &trouble);
    template_free(t);
    return whole && strcmp(buf_text(out), text_of(test, "expected")) == 0;
}

static int run_file(const char *name, int *failed)
{
    cJSON *root = load(name);
    const cJSON *test;
    int count = 0;
    struct buf out;
    buf_init(&out, BIG);
    cJSON_ArrayForEach(test, cJSON_GetObjectItemCaseSensitive(root, "tests"))
    {
        struct arena a;
        arena_init(&a, BIG);
        if (!passes(test, &a, &out)) {
            print_error("%s: %s: got %s, want %s\n", name, text_of(test, "name"), buf_text(&out),
                        text_of(test, "expected"));
            ++*failed;
        }
        arena_fini(&a);
        count++;
    }
    buf_fini(&out);
    cJSON_Delete(root);
    return count;
}

static void the_specification_passes_completely(void **state)
{
    (void)state;
    int failed = 0, count = 0;
    if (!folder()) {
        print_message("skipped: the Mustache specification is not there; set MUSTACHE_SPEC to the "
                      "folder with its json files\n");
        skip();
    }
    for (int i = 0; i < FILES; i++) count += run_file(files[i], &failed);
    print_message("Mustache specification: %d cases, %d failed\n", count, failed);
    assert_int_equal(failed, 0);
    assert_true(count >= CASES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_specification_passes_completely)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
