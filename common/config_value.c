/* Values of a configuration: parsing them, checking them against their key, and saying what would
 * be right. Knows nothing of files and the environment. */
#include "common/config_value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/encode.h"

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

enum { UNITS = sizeof units / sizeof *units };

static void append_duration(struct buf *out, int64_t ms)
{
    int u = ms ? 0 : UNITS - 2;
    while (ms % units[u].ms) u++;
    buf_append_format(out, "%" PRId64 "%s", ms / units[u].ms, units[u].name);
}

static void append_choices(struct buf *out, const char *const *choices)
{
    for (int i = 0; choices[i]; i++) {
        if (i) buf_append_text(out, choices[i + 1] ? ", " : " or ");
        buf_append_text(out, choices[i]);
    }
}

static void append_durations(struct buf *out, const struct conf_key *key)
{
    buf_append_text(out, " from ");
    append_duration(out, key->min);
    buf_append_text(out, " to ");
    append_duration(out, key->max);
}

void conf_value_describe(const struct conf_key *key, struct buf *out)
{
    switch (key->type) {
    case CONF_TEXT:
    case CONF_CHOICE:
        if (key->choices)
            append_choices(out, key->choices);
        else
            buf_append_text(out, "a text");
        break;
    case CONF_INT:
        buf_append_format(out, "an integer from %" PRId64 " to %" PRId64, key->min, key->max);
        break;
    case CONF_BOOL:
        buf_append_text(out, "true or false");
        break;
    case CONF_DURATION:
        buf_append_text(out, "a duration");
        append_durations(out, key);
        break;
    case CONF_TEXT_LIST:
        buf_append_text(out, "a list of texts");
        break;
    case CONF_DURATION_LIST:
        buf_append_text(out, "a list of durations");
        append_durations(out, key);
        break;
    case CONF_GROUPS:
        buf_append_text(out, "a group of named groups");
        break;
    }
}

struct err conf_value_wrong(const struct conf_key *key, const char *where, const char *got)
{
    struct buf want;
    buf_init(&want, 256);
    conf_value_describe(key, &want);
    if (key->type == CONF_DURATION || key->type == CONF_DURATION_LIST)
        buf_append_text(&want, " (digits and ms, s, m, h or d, in quotes)");
    struct err e = err_make(ERR_CONFIG, 0, "%s must be %s, not %.80s", where, buf_text(&want), got);
    buf_fini(&want);
    return e;
}

static struct err wrong_text(const struct conf_key *key, const char *where, const char *text)
{
    char got[96];
    snprintf(got, sizeof got, "'%.80s'", text);
    return conf_value_wrong(key, where, got);
}

static int find_choice(const struct conf_key *key, const char *text)
{
    for (int i = 0; key->choices[i]; i++)
        if (strcmp(key->choices[i], text) == 0) return i;
    return -1;
}

static bool has_control(const char *text, bool lines)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (lines && (*p == '\n' || *p == '\r' || *p == '\t')) continue;
        if (*p < 0x20 || *p == 0x7f) return true;
    }
    return false;
}

/* The texts of errors never hold the value: it may be a secret. */
static struct err check_text(const struct conf_key *key, const char *text, const char *where)
{
    size_t len = strlen(text), max = key->max ? (size_t)key->max : CONF_TEXT_MAX;
    if (len < (size_t)key->min) return err_make(ERR_CONFIG, 0, "%s must not be empty", where);
    if (len > max)
        return err_make(ERR_CONFIG, 0, "%s has %zu bytes; at most %zu fit", where, len, max);
    if (!conf_utf8_valid(text, len))
        return err_make(ERR_CONFIG, 0, "%s is not UTF-8; save the file in that encoding", where);
    if (has_control(text, key->flags & CONF_LINES))
        return err_make(ERR_CONFIG, 0, "%s must be one line without control characters", where);
    if (key->type == CONF_TEXT && key->choices && find_choice(key, text) < 0)
        return wrong_text(key, where, text);
    return err_none();
}

static struct err set_text(const struct conf_key *key, char **field, const char *text,
                           const char *where)
{
    TRY(check_text(key, text, where));
    conf_value_free(key, field);
    *field = mem_copy_text(text);
    return err_none();
}

struct err conf_value_set_int(const struct conf_key *key, void *field, long long value,
                              const char *where)
{
    if (value < key->min || value > key->max) {
        char got[32];
        snprintf(got, sizeof got, "%lld", value);
        return conf_value_wrong(key, where, got);
    }
    *(int *)field = (int)value;
    return err_none();
}

static struct err set_int(const struct conf_key *key, void *field, const char *text,
                          const char *where)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno) return wrong_text(key, where, text);
    return conf_value_set_int(key, field, value, where);
}

static struct err set_bool(const struct conf_key *key, bool *field, const char *text,
                           const char *where)
{
    bool yes = strcasecmp(text, "true") == 0;
    if (!yes && strcasecmp(text, "false") != 0) return wrong_text(key, where, text);
    *field = yes;
    return err_none();
}

static struct err set_choice(const struct conf_key *key, int *field, const char *text,
                             const char *where)
{
    int found = find_choice(key, text);
    if (found < 0) return wrong_text(key, where, text);
    *field = found;
    return err_none();
}

static bool parse_duration(const char *text, int64_t *ms)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18) return false;
    int64_t n = strtoll(text, NULL, 10);
    for (int u = 0; u < UNITS; u++) {
        if (strcmp(text + digits, units[u].name) != 0) continue;
        if (n > INT64_MAX / units[u].ms) return false;
        *ms = n * units[u].ms;
        return true;
    }
    return false;
}

static struct err set_duration(const struct conf_key *key, int64_t *field, const char *text,
                               const char *where)
{
    int64_t ms;
    if (!parse_duration(text, &ms) || ms < key->min || ms > key->max)
        return wrong_text(key, where, text);
    *field = ms;
    return err_none();
}

static struct err too_many(const char *where)
{
    return err_make(ERR_CONFIG, 0, "%s has more than %d items", where, CONF_ITEMS_MAX);
}

static struct err add_text(const struct conf_key *key, struct conf_texts *list, const char *text,
                           const char *where)
{
    if (list->count == CONF_ITEMS_MAX) return too_many(where);
    TRY(check_text(key, text, where));
    list->items = mem_resize(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = mem_copy_text(text);
    return err_none();
}

static struct err add_duration(const struct conf_key *key, struct conf_durations *list,
                               const char *text, const char *where)
{
    if (list->count == CONF_ITEMS_MAX) return too_many(where);
    int64_t ms = 0;
    TRY(set_duration(key, &ms, text, where));
    list->ms = mem_resize(list->ms, (list->count + 1) * sizeof *list->ms);
    list->ms[list->count++] = ms;
    return err_none();
}

struct err conf_value_add(const struct conf_key *key, void *field, const char *text,
                          const char *where)
{
    if (key->type == CONF_TEXT_LIST) return add_text(key, field, text, where);
    return add_duration(key, field, text, where);
}

/* Items are separated by commas; blanks around them do not count. */
static struct err set_list(const struct conf_key *key, void *field, const char *text,
                           const char *where)
{
    conf_value_free(key, field);
    while (*text) {
        size_t len = strcspn(text, ","), start = strspn(text, " \t");
        if (start > len) start = len;
        size_t item_len = len - start;
        while (item_len && strchr(" \t", text[start + item_len - 1])) item_len--;
        char *item = mem_alloc(item_len + 1);
        memcpy(item, text + start, item_len);
        struct err e = conf_value_add(key, field, item, where);
        free(item);
        if (e.code) return e;
        text += len + (text[len] == ',');
    }
    return err_none();
}

struct err conf_value_set(const struct conf_key *key, void *field, const char *text,
                          const char *where)
{
    switch (key->type) {
    case CONF_TEXT:
        return set_text(key, field, text, where);
    case CONF_INT:
        return set_int(key, field, text, where);
    case CONF_BOOL:
        return set_bool(key, field, text, where);
    case CONF_DURATION:
        return set_duration(key, field, text, where);
    case CONF_CHOICE:
        return set_choice(key, field, text, where);
    case CONF_TEXT_LIST:
    case CONF_DURATION_LIST:
        return set_list(key, field, text, where);
    case CONF_GROUPS:
        break;
    }
    return conf_value_wrong(key, where, "a text");
}

void conf_texts_free(struct conf_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) free(texts->items[i]);
    free(texts->items);
    *texts = (struct conf_texts){0};
}

void conf_value_free(const struct conf_key *key, void *field)
{
    if (key->type == CONF_TEXT) {
        char *text = *(char **)field;
        if (text && key->flags & CONF_SECRET) explicit_bzero(text, strlen(text));
        free(text);
        *(char **)field = NULL;
    } else if (key->type == CONF_TEXT_LIST) {
        conf_texts_free(field);
    } else if (key->type == CONF_DURATION_LIST) {
        struct conf_durations *list = field;
        free(list->ms);
        *list = (struct conf_durations){0};
    }
}

bool conf_utf8_valid(const char *text, size_t len)
{
    return len == 0 || (!memchr(text, '\0', len) && encode_utf8_valid(text, len));
}
