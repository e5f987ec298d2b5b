/* The documentation that follows from a table: for --help-config and docs/configuration.md. */
#include "common/config.h"
#include "common/config_value.h"

static void append_preset(const struct conf_key *key, const char *quote, struct buf *out)
{
    if (key->flags & CONF_REQUIRED)
        buf_append_text(out, "required");
    else if (!key->preset)
        buf_append_text(out, "none");
    else if (!key->preset[0])
        buf_append_text(out, "empty");
    else
        buf_append_format(out, "%s%s%s", quote, key->preset, quote);
}

static void help_text(const struct conf_key *key, const char *prefix, struct buf *out)
{
    buf_append_format(out, "%s%s\n    ", prefix, key->path);
    conf_value_describe(key, out);
    buf_append_text(out, key->flags & CONF_REQUIRED ? "; " : "; default: ");
    append_preset(key, "", out);
    buf_append_text(out, "\n    ");
    for (const char *p = key->help; *p; p++)
        if (*p != '`') buf_append_char(out, *p);
    buf_append_text(out, "\n");
}

static void help_row(const struct conf_key *key, const char *prefix, struct buf *out)
{
    buf_append_format(out, "| `%s%s` | ", prefix, key->path);
    conf_value_describe(key, out);
    buf_append_text(out, " | ");
    append_preset(key, "`", out);
    buf_append_format(out, " | %s |\n", key->help);
}

static void help_keys(const struct conf_table *table, const char *prefix, enum conf_help form,
                      struct buf *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_key *key = &table->keys[i];
        if (key->type == CONF_GROUPS) {
            struct buf inner;
            buf_init(&inner, CONF_PATH_MAX);
            buf_append_format(&inner, "%s%s.NAME.", prefix, key->path);
            help_keys(key->groups, buf_text(&inner), form, out);
            buf_fini(&inner);
        } else if (form == CONF_HELP_MARKDOWN) {
            help_row(key, prefix, out);
        } else {
            help_text(key, prefix, out);
        }
    }
}

void conf_help(const struct conf_table *table, enum conf_help form, struct buf *out)
{
    if (form == CONF_HELP_MARKDOWN)
        buf_append_text(out, "| Key | Value | Default | Meaning |\n|---|---|---|---|\n");
    help_keys(table, "", form, out);
}
