/* Reads a configuration file into a struct by its table: defaults, then the file, then the
 * environment. The only file that knows libconfig. What a single value may be is decided in
 * config_value.c, near misses of names are found in config_hint.c. */
#include "common/config.h"

#include <libconfig.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/config_hint.h"
#include "common/config_scan.h"
#include "common/config_value.h"

enum { WHERE_MAX = 320, FILE_MAX = 1024 * 1024 };

/* One struct being filled. */
struct reading {
    const char *file;
    const struct conf_table *table;
    const char *prefix; /* of the paths in the table: "" or "transports.relay." */
    char *into;
    bool *given; /* by key: found in the file or the environment */
    bool from_environment;
};

static struct err read_struct(struct reading *r, const config_setting_t *group);

static void *field_of(const struct reading *r, const struct conf_key *key)
{
    return r->into + key->offset;
}

/* "FILE:LINE: PATH", the beginning of an error about a setting; the whole file has no line. */
static const char *where_in(const struct reading *r, const config_setting_t *setting,
                            const char *path, char out[WHERE_MAX])
{
    unsigned line = config_setting_source_line(setting);
    char at[16] = "";
    if (line) snprintf(at, sizeof at, ":%u", line);
    snprintf(out, WHERE_MAX, "%s%s: %s%s", r->file, at, r->prefix, path);
    return out;
}

/* A file named in a configuration file is relative to that file's directory. */
static void path_beside(const char *file, const char *path, char out[PATH_MAX])
{
    char *copy = mem_copy_text(file);
    if (path[0] == '/')
        snprintf(out, PATH_MAX, "%s", path);
    else
        snprintf(out, PATH_MAX, "%s/%s", dirname(copy), path);
    free(copy);
}

static struct err set_from_file(const struct conf_key *key, void *field, const char *path,
                                const char *where)
{
    struct buf content;
    buf_init(&content, CONF_TEXT_MAX);
    struct err e = conf_file_read(path, &content);
    if (e.code) {
        e = err_wrap(e, "%s", where);
        e.code = ERR_CONFIG;
    } else {
        while (content.len && strchr("\r\n", content.data[content.len - 1])) content.len--;
        if (content.len && memchr(content.data, '\0', content.len))
            e = err_make(ERR_CONFIG, 0, "%s: the file holds a NUL byte", where);
        else
            e = conf_value_set(key, field, buf_text(&content), where);
    }
    if (content.data) explicit_bzero(content.data, content.cap);
    buf_fini(&content);
    return e;
}

static void describe_setting(const struct conf_key *key, const config_setting_t *s, char out[96])
{
    const char *plain = NULL;
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(out, 96, "the number %lld", config_setting_get_int64(s));
        break;
    case CONFIG_TYPE_FLOAT:
        snprintf(out, 96, "the number %g", config_setting_get_float(s));
        break;
    case CONFIG_TYPE_BOOL:
        plain = config_setting_get_bool(s) ? "true" : "false";
        break;
    case CONFIG_TYPE_STRING:
        snprintf(out, 96, "the text '%.80s'", config_setting_get_string(s));
        break;
    case CONFIG_TYPE_GROUP:
        plain = "a group";
        break;
    default:
        plain = "a list";
    }
    if (key->flags & CONF_SECRET) plain = "something else";
    if (plain) snprintf(out, 96, "%s", plain);
}

static struct err wrong_type(const struct conf_key *key, const config_setting_t *s,
                             const char *where)
{
    char got[96];
    describe_setting(key, s, got);
    return conf_value_wrong(key, where, got);
}

static bool type_fits(const struct conf_key *key, const config_setting_t *s)
{
    int type = config_setting_type(s);
    switch (key->type) {
    case CONF_INT:
        return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
    case CONF_BOOL:
        return type == CONFIG_TYPE_BOOL;
    case CONF_TEXT:
    case CONF_DURATION:
    case CONF_CHOICE:
        return type == CONFIG_TYPE_STRING;
    case CONF_TEXT_LIST:
    case CONF_DURATION_LIST:
        return type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST;
    case CONF_GROUPS:
        return type == CONFIG_TYPE_GROUP;
    }
    return false;
}

static struct err set_items(const struct reading *r, const struct conf_key *key,
                            const config_setting_t *s)
{
    void *field = field_of(r, key);
    conf_value_free(key, field);
    for (int i = 0; i < config_setting_length(s); i++) {
        const config_setting_t *item = config_setting_get_elem(s, (unsigned)i);
        char where[WHERE_MAX];
        where_in(r, item, key->path, where);
        if (config_setting_type(item) != CONFIG_TYPE_STRING) return wrong_type(key, item, where);
        TRY(conf_value_add(key, field, config_setting_get_string(item), where));
    }
    return err_none();
}

static bool group_name_valid(const char *name)
{
    size_t len = strlen(name);
    return len <= 64 && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static struct err read_one_group(const struct reading *r, const struct conf_key *key,
                                 const config_setting_t *s, char *item)
{
    const char *name = config_setting_name(s);
    char path[CONF_PATH_MAX], where[WHERE_MAX], prefix[CONF_PATH_MAX];
    snprintf(path, sizeof path, "%s.%.80s", key->path, name);
    where_in(r, s, path, where);
    if (!config_setting_is_group(s))
        return err_make(ERR_CONFIG, 0, "%s must be a group: %.80s = { ... };", where, name);
    if (!group_name_valid(name))
        return err_make(ERR_CONFIG, 0,
                        "%s: a name here is a lower-case letter, then letters, digits and "
                        "hyphens, at most 64 in all",
                        where);
    *(char **)item = mem_copy_text(name);
    snprintf(prefix, sizeof prefix, "%s.%s.", key->path, name);
    struct reading inner = {.file = r->file,
                            .table = key->groups,
                            .prefix = prefix,
                            .into = item,
                            .from_environment = r->from_environment};
    return read_struct(&inner, s);
}

static struct err read_groups(const struct reading *r, const struct conf_key *key,
                              const config_setting_t *s)
{
    struct conf_groups *groups = field_of(r, key);
    int count = config_setting_length(s);
    if (count > CONF_ITEMS_MAX) {
        char where[WHERE_MAX];
        return err_make(ERR_CONFIG, 0, "%s has %d groups; at most %d fit",
                        where_in(r, s, key->path, where), count, CONF_ITEMS_MAX);
    }
    groups->items = mem_alloc((size_t)count * key->groups->struct_size);
    for (int i = 0; i < count; i++) {
        char *item = (char *)groups->items + groups->count++ * key->groups->struct_size;
        TRY(read_one_group(r, key, config_setting_get_elem(s, (unsigned)i), item));
    }
    return err_none();
}

static struct err set_key(struct reading *r, const struct conf_key *key, const config_setting_t *s)
{
    char where[WHERE_MAX];
    where_in(r, s, key->path, where);
    if (r->given[key - r->table->keys])
        return err_make(ERR_CONFIG, 0, "%s is given twice, as a value and as a file", where);
    r->given[key - r->table->keys] = true;
    if (!type_fits(key, s)) return wrong_type(key, s, where);
    switch (key->type) {
    case CONF_INT:
        return conf_value_set_int(key, field_of(r, key), config_setting_get_int64(s), where);
    case CONF_BOOL:
        *(bool *)field_of(r, key) = config_setting_get_bool(s);
        return err_none();
    case CONF_TEXT_LIST:
    case CONF_DURATION_LIST:
        return set_items(r, key, s);
    case CONF_GROUPS:
        return read_groups(r, key, s);
    default:
        return conf_value_set(key, field_of(r, key), config_setting_get_string(s), where);
    }
}

/* password_file = "PATH" stands for password = the content of PATH. */
static struct err set_secret(struct reading *r, const struct conf_key *key, const char *path,
                             const config_setting_t *s)
{
    char where[WHERE_MAX], file[PATH_MAX];
    where_in(r, s, path, where);
    if (r->given[key - r->table->keys])
        return err_make(ERR_CONFIG, 0, "%s: %s is given as well; keep one of them", where,
                        key->path);
    r->given[key - r->table->keys] = true;
    if (config_setting_type(s) != CONFIG_TYPE_STRING)
        return err_make(ERR_CONFIG, 0, "%s must be the path of a file, in quotes", where);
    path_beside(r->file, config_setting_get_string(s), file);
    return set_from_file(key, field_of(r, key), file, where);
}

static struct err unknown_key(const struct reading *r, const config_setting_t *s, const char *path)
{
    char where[WHERE_MAX];
    struct buf hint;
    buf_init(&hint, 256);
    conf_hint(r->table, path, &hint);
    where_in(r, s, "", where);
    where[strlen(where) - strlen(r->prefix)] = '\0';
    struct err e = err_make(ERR_CONFIG, 0, "%skey '%s%s' is not known; %s", where, r->prefix, path,
                            buf_text(&hint));
    buf_fini(&hint);
    return e;
}

static struct err read_members(struct reading *r, const config_setting_t *group, const char *above)
{
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        char path[CONF_PATH_MAX], where[WHERE_MAX];
        snprintf(path, sizeof path, "%s%s%.80s", above, *above ? "." : "", config_setting_name(s));
        const struct conf_key *key = conf_find(r->table, path, false);
        const struct conf_key *secret = key ? NULL : conf_find(r->table, path, true);
        if (key) {
            TRY(set_key(r, key, s));
        } else if (secret) {
            TRY(set_secret(r, secret, path, s));
        } else if (!conf_is_group(r->table, path)) {
            return unknown_key(r, s, path);
        } else if (!config_setting_is_group(s)) {
            return err_make(ERR_CONFIG, 0, "%s must be a group: %s = { ... };",
                            where_in(r, s, path, where), config_setting_name(s));
        } else {
            TRY(read_members(r, s, path));
        }
    }
    return err_none();
}

static struct err override_key(struct reading *r, const struct conf_key *key)
{
    char path[CONF_PATH_MAX], variable[CONF_PATH_MAX + 16];
    snprintf(path, sizeof path, "%s%s", r->prefix, key->path);
    conf_variable(path, variable, sizeof variable - 5);
    const char *value = getenv(variable), *file = NULL;
    if (value) {
        TRY(conf_value_set(key, field_of(r, key), value, variable));
        r->given[key - r->table->keys] = true;
    }
    if (!(key->flags & CONF_SECRET)) return err_none();
    strncat(variable, "_FILE", 6);
    file = getenv(variable);
    if (!file) return err_none();
    if (value)
        return err_make(ERR_CONFIG, 0, "%s: the variable without _FILE is set as well; keep one",
                        variable);
    r->given[key - r->table->keys] = true;
    return set_from_file(key, field_of(r, key), file, variable);
}

static struct err override_from_environment(struct reading *r)
{
    for (size_t i = 0; r->from_environment && i < r->table->count; i++)
        if (r->table->keys[i].type != CONF_GROUPS) TRY(override_key(r, &r->table->keys[i]));
    return err_none();
}

static struct err check_required(const struct reading *r, const config_setting_t *group)
{
    for (size_t i = 0; i < r->table->count; i++) {
        const struct conf_key *key = &r->table->keys[i];
        if (!(key->flags & CONF_REQUIRED) || r->given[i]) continue;
        char where[WHERE_MAX];
        return err_make(ERR_CONFIG, 0, "%s is missing: %s", where_in(r, group, key->path, where),
                        key->help);
    }
    return err_none();
}

static void set_presets(const struct reading *r)
{
    for (size_t i = 0; i < r->table->count; i++) {
        const struct conf_key *key = &r->table->keys[i];
        if (!key->preset && key->type != CONF_TEXT) continue;
        /* A required text has no preset but is still never NULL. */
        struct conf_key any = *key;
        if (!key->preset) any = (struct conf_key){.type = CONF_TEXT};
        struct err e =
            conf_value_set(&any, field_of(r, key), key->preset ? key->preset : "", key->path);
        if (e.code) {
            fprintf(stderr, "level=fatal mod=config msg=\"a default is wrong: %s\"\n", e.text);
            abort();
        }
    }
}

static struct err read_struct(struct reading *r, const config_setting_t *group)
{
    r->given = mem_alloc(r->table->count);
    set_presets(r);
    struct err e = read_members(r, group, "");
    if (!e.code) e = override_from_environment(r);
    if (!e.code) e = check_required(r, group);
    free(r->given);
    r->given = NULL;
    return e;
}

/* The file is read here and not by libconfig, which ends the program on a directory. */
static struct err parse(const char *file, config_t *config)
{
    struct buf text;
    buf_init(&text, FILE_MAX);
    struct err e = conf_file_read(file, &text);
    if (e.code) goto out;
    if (text.len && memchr(text.data, '\0', text.len)) {
        e = err_make(ERR_CONFIG, 0, "%s holds a NUL byte; it must be text", file);
        goto out;
    }
    e = conf_scan(file, buf_text(&text));
    if (!e.code && config_read_string(config, buf_text(&text)) != CONFIG_TRUE)
        e = err_make(ERR_CONFIG, 0, "%s:%d: %s; look at the quotes, braces and = before it", file,
                     config_error_line(config), config_error_text(config));
out:
    if (text.data) explicit_bzero(text.data, text.cap);
    buf_fini(&text);
    return e;
}

struct err conf_read(const char *file, const struct conf_table *table, void *into)
{
    memset(into, 0, table->struct_size);
    struct reading r = {.file = file,
                        .table = table,
                        .prefix = "",
                        .into = into,
                        .from_environment = table->from_environment};
    config_t config;
    config_init(&config);
    struct err e = parse(file, &config);
    if (!e.code) e = read_struct(&r, config_root_setting(&config));
    config_destroy(&config);
    if (e.code) conf_free(table, into);
    return e;
}

static void free_groups(const struct conf_table *table, struct conf_groups *groups)
{
    for (size_t i = 0; i < groups->count; i++) {
        char *item = (char *)groups->items + i * table->struct_size;
        conf_free(table, item);
        free(*(char **)item);
    }
    free(groups->items);
    *groups = (struct conf_groups){0};
}

void conf_free(const struct conf_table *table, void *from)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_key *key = &table->keys[i];
        void *field = (char *)from + key->offset;
        if (key->type == CONF_GROUPS)
            free_groups(key->groups, field);
        else
            conf_value_free(key, field);
    }
}

/* The line of path, or of the nearest group above it; 0 where the file cannot tell. */
static unsigned find_line(const char *file, const char *path)
{
    unsigned line = 0;
    char above[CONF_PATH_MAX];
    snprintf(above, sizeof above, "%s", path);
    config_t config;
    config_init(&config);
    struct err e = parse(file, &config);
    while (!e.code && *above && !line) {
        const config_setting_t *s = config_lookup(&config, above);
        if (s) line = config_setting_source_line(s);
        char *dot = strrchr(above, '.');
        *(dot ? dot : above) = '\0';
    }
    config_destroy(&config);
    return line;
}

struct err conf_error(const char *file, const struct conf_table *table, const char *path,
                      const char *format, ...)
{
    char text[ERR_TEXT_MAX], variable[CONF_PATH_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (table->from_environment && getenv(conf_variable(path, variable, sizeof variable)))
        return err_make(ERR_CONFIG, 0, "%s (%s): %s", variable, path, text);
    unsigned line = find_line(file, path);
    if (!line) return err_make(ERR_CONFIG, 0, "%s: %s: %s", file, path, text);
    return err_make(ERR_CONFIG, 0, "%s:%u: %s: %s", file, line, path, text);
}
