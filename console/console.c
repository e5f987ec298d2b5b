/* What all commands share. Errors go to stderr as one line that says what to do; the answer of a
 * command goes to stdout. */
#include "console/console.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/core_dump.h"
#include "common/encode.h"
#include "common/log.h"
#include "common/schema.h"
#include "common/start.h"

enum { IO_TIMEOUT_MS = 120 * 1000 }; /* sums over a run of millions take their time */

int console_fail(const struct err *e)
{
    fflush(stdout);
    fprintf(stderr, "mailflock: %s\n", e->text);
    return CONSOLE_FAILED;
}

int console_usage(const char *command, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "mailflock %s: %s; see 'mailflock %s -h'\n", command, text, command);
    return CONSOLE_USAGE;
}

struct err console_read_settings(struct console *c)
{
    core_dump_forbid();
    TRY(settings_read(c->config_file, &c->settings));
    if (c->settings.core_dumps) core_dump_allow();
    log_setup((enum log_level)c->settings.log.level, c->settings.log.format == SETTINGS_LOG_JSON);
    return err_none();
}

struct db_config console_db_config(const struct console *c)
{
    struct db_config config = start_db_config(&c->settings, "mailflock");
    config.io_timeout_ms = IO_TIMEOUT_MS;
    if (c->changes) config.session_timeout_s = start_lease_s(&c->settings);
    return config;
}

struct err console_reopen(struct console *c)
{
    struct db_config config = console_db_config(c);
    db_close(c->db);
    c->db = NULL;
    return start_db(&c->settings, &config, &c->db);
}

struct err console_open_ledger(struct console *c)
{
    struct err e = console_reopen(c);
    if (e.code == ERR_DB && e.native == CONSOLE_UNKNOWN_DATABASE)
        return err_wrap(e, "run 'mailflock init' first");
    if (e.code) return e;
    return schema_check(c->db);
}

struct err console_open(struct console *c)
{
    TRY(console_read_settings(c));
    return console_open_ledger(c);
}

void console_close(struct console *c)
{
    db_close(c->db);
    c->db = NULL;
    settings_free(&c->settings);
}

static const struct console_option *find_option(const struct console_option *options, size_t count,
                                                const char *arg, const char **inline_value)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(options[i].name);
        *inline_value = NULL;
        if (strncmp(arg, options[i].name, len) != 0) continue;
        if (!arg[len]) return &options[i];
        *inline_value = arg + len + 1;
        if (arg[len] == '=' && options[i].value) return &options[i];
    }
    return NULL;
}

/* Takes the option at argv[i]; returns how many arguments it used, or 0 after an error. */
static int take_option(int argc, char **argv, int i, const struct console_option *options,
                       size_t count)
{
    const char *inline_value;
    const struct console_option *o = find_option(options, count, argv[i], &inline_value);
    if (!o) {
        console_usage(argv[0], "there is no option '%.100s'", argv[i]);
        return 0;
    }
    if (!o->value) {
        *o->set = true;
        return 1;
    }
    if (o->set) *o->set = true;
    if (inline_value) {
        *o->value = inline_value;
        return 1;
    }
    if (i + 1 == argc) {
        console_usage(argv[0], "option '%s' needs a value", o->name);
        return 0;
    }
    *o->value = argv[i + 1];
    return 2;
}

bool console_options(int *argc, char **argv, const struct console_option *options, size_t count,
                     int min, int max)
{
    int kept = 1;
    bool ended = false;
    for (int i = 1; i < *argc;) {
        if (ended || argv[i][0] != '-' || !argv[i][1]) {
            argv[kept++] = argv[i++];
        } else if (strcmp(argv[i], "--") == 0) {
            ended = true;
            i++;
        } else {
            int used = take_option(*argc, argv, i, options, count);
            if (!used) return false;
            i += used;
        }
    }
    *argc = kept;
    if (kept - 1 < min) {
        console_usage(argv[0], "an argument is missing");
        return false;
    }
    if (kept - 1 > max) {
        console_usage(argv[0], "there is one argument too many: '%.100s'", argv[max + 1]);
        return false;
    }
    return true;
}

bool console_number(const char *text, uint32_t least, uint32_t most, uint32_t *number)
{
    enum { DIGITS_MAX = 18 }; /* what fits */
    size_t digits = strspn(text, "0123456789");
    if (!digits || digits > DIGITS_MAX || text[digits]) return false;
    unsigned long long value = strtoull(text, NULL, 10);
    *number = (uint32_t)value;
    return value >= least && value <= most;
}

size_t console_character(const char *text, size_t len, bool *hidden)
{
    unsigned char first = (unsigned char)text[0];
    size_t own = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (own > len || encode_utf8_prefix(text, own) != own) {
        *hidden = true;
        return 1;
    }
    bool c1 = first == 0xc2 && (unsigned char)text[1] < 0xa0;
    *hidden = first < 0x20 || first == 0x7f || c1;
    return own;
}

const char *console_text(char *out, size_t size, const char *text)
{
    size_t n = 0, len = strlen(text);
    bool hidden;
    for (size_t i = 0, taken; i < len; i += taken) {
        taken = console_character(text + i, len - i, &hidden);
        size_t added = hidden ? 1 : taken;
        if (n + added >= size) break;
        memcpy(out + n, hidden ? "?" : text + i, added);
        n += added;
    }
    out[n] = '\0';
    return out;
}
