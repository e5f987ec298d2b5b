/* The log: formats one event and writes it to stderr in one call. Owns only the level and format,
 * which are set before threads start. */
#include "common/log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/encode.h"

enum { LINE_MAX_BYTES = 2048 };

const char *const LOG_LEVEL_NAMES[] = {"error", "warn", "info", "debug", NULL};
static enum log_level least_level = LOG_LEVEL_INFO;
static bool as_json;

void log_setup(enum log_level least, bool json)
{
    least_level = least;
    as_json = json;
}

/* Bytes that are not UTF-8 become '?', but for a character that the cut has split: it goes. */
static void make_utf8(char *text, unsigned long len, bool cut)
{
    for (unsigned long at = 0; (at += encode_utf8_prefix(text + at, len - at)) < len;) {
        if (cut && len - at < 4 && (unsigned char)text[at] >= 0xc0) {
            text[at] = '\0';
            return;
        }
        text[at] = '?';
    }
}

const char *log_text(char *out, unsigned long size, const char *text, unsigned long len)
{
    unsigned long n = 0;
    while (n < len && n + 1 < size && text[n]) {
        unsigned char c = (unsigned char)text[n];
        out[n++] = (char)(c == '"' ? '\'' : c < 0x20 || c == 0x7f || c == '\\' ? ' ' : c);
    }
    if (size) out[n] = '\0';
    make_utf8(out, n, n < len && text[n]);
    return out;
}

/* What parts words in a reply: an address has none of it. */
static bool ends_word(char c)
{
    return (unsigned char)c <= ' ' || strchr("<>()[]\"',;:", c) != NULL;
}

const char *log_text_masked(char *out, unsigned long size, const char *text, unsigned long len)
{
    char masked[1024];
    unsigned long n = 0;
    for (unsigned long at = 0, end; at < len && text[at] && n + 16 < sizeof masked; at = end) {
        end = at + 1;
        if (!ends_word(text[at]))
            while (end < len && text[end] && !ends_word(text[end])) end++;
        bool address = memchr(text + at, '@', end - at) != NULL;
        unsigned long room = sizeof masked - n, word = end - at < room ? end - at : room;
        if (address) word = sizeof "[address]" - 1;
        memcpy(masked + n, address ? "[address]" : text + at, word);
        n += word;
    }
    return log_text(out, size, masked, n);
}

static bool is_number(const char *value, size_t len)
{
    size_t i = len && value[0] == '-';
    if (i == len || len > 15) return false;
    if (value[i] == '0' && len > i + 1) return false;
    for (; i < len; i++)
        if (!isdigit((unsigned char)value[i])) return false;
    return true;
}

/* One field, or nothing where it does not fit; returns its length. */
static size_t field_to_json(char *out, size_t size, char sep, const char *key, size_t key_len,
                            const char *value, size_t value_len, bool bare)
{
    size_t n =
        (size_t)snprintf(out, size, "%c\"%.*s\":%s", sep, (int)key_len, key, bare ? "" : "\"");
    if (n + 2 * value_len + 2 > size) return 0;
    for (size_t i = 0; i < value_len; i++) {
        if (value[i] == '\\' || value[i] == '"') out[n++] = '\\';
        out[n++] = value[i];
    }
    if (!bare) out[n++] = '"';
    return n;
}

/* Turns one key=value line into a JSON object. */
static size_t line_to_json(const char *line, char *out, size_t size)
{
    size_t n = 0;
    const char *p = line;
    while (*p) {
        size_t key_len = strcspn(p, "= ");
        if (p[key_len] != '=') break;
        const char *value = p + key_len + 1;
        bool quoted = *value == '"';
        size_t value_len = quoted ? strcspn(value + 1, "\"") : strcspn(value, " ");
        const char *text = quoted ? value + 1 : value;
        bool bare = !quoted && is_number(text, value_len);
        size_t wrote =
            field_to_json(out + n, size - n - 2, n ? ',' : '{', p, key_len, text, value_len, bare);
        if (!wrote) break;
        n += wrote;
        p = text + value_len + (quoted && text[value_len] ? 1 : 0);
        p += strspn(p, " ");
    }
    n += (size_t)snprintf(out + n, size - n, "%s}", n ? "" : "{");
    return n;
}

void log_write(enum log_level level, const char *mod, const char *format, ...)
{
    if (level > least_level) return;
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char line[LINE_MAX_BYTES];
    size_t n = strftime(line, sizeof line, "ts=%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ level=%s mod=%s ",
                          now.tv_nsec / 1000000, LOG_LEVEL_NAMES[level], mod);
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(line + n, sizeof line - n - 1, format, args);
    va_end(args);
    bool cut = wrote > 0 && (size_t)wrote >= sizeof line - n - 1;
    if (wrote > 0) n = cut ? sizeof line - 2 : n + (size_t)wrote;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20) line[i] = ' ';
    line[n] = '\0';
    make_utf8(line, n, cut);
    n = strlen(line);
    char json[LINE_MAX_BYTES * 2 + 256];
    char *out = line;
    if (as_json) {
        n = line_to_json(line, json, sizeof json - 1);
        out = json;
    }
    out[n++] = '\n';
    if (write(STDERR_FILENO, out, n) < 0) return; /* nowhere left to say so */
}
