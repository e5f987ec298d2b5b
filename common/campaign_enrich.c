/* Where a campaign's ids go, and with which secrets, is checked before anything is sent. */
#include "common/campaign_enrich.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { HEADER_MAX = 4096 };

struct reading {
    const char *file;
    const struct conf_table *table;
    struct campaign_enrich *enrich;
};

#define WRONG(r, path, ...) conf_error((r)->file, (r)->table, path, __VA_ARGS__)

static const char URL[] = "enrich.url", HEADERS[] = "enrich.headers",
                  HEADERS_FILE[] = "enrich.headers_file";

static struct err check_url(const struct reading *r)
{
    const char *url = r->enrich->url, *host = NULL;
    if (strncasecmp(url, "https://", 8) == 0) host = url + 8;
    if (strncasecmp(url, "http://", 7) == 0) host = url + 7;
    if (!host || !strcspn(host, "/?#"))
        return WRONG(r, URL, "must be https://host/path or http://host/path");
    for (const char *p = url; *p; p++)
        if (*p == ' ' || *p == '#' || (unsigned char)*p > '~')
            return WRONG(r, URL, "must be ASCII without blanks and without a # part");
    if (memchr(host, '@', strcspn(host, "/?")))
        return WRONG(r, URL, "must not hold a user or a password; put them into the headers_file");
    return err_none();
}

/* ---- headers: RFC 9110, 5.1 and 5.5 */

static size_t name_len(const char *line)
{
    return strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!#$%&'*+^"
                        "`|~");
}

static bool has_name(const char *line, const char *const *names)
{
    size_t len = name_len(line);
    for (; *names; names++)
        if (strlen(*names) == len && strncasecmp(line, *names, len) == 0) return true;
    return false;
}

/* The errors show a header's name and never its value. */
static struct err check_header(const struct reading *r, const char *path, const char *line)
{
    static const char *const OURS[] = {"Content-Type",
                                       "Content-Length",
                                       "Transfer-Encoding",
                                       "Accept",
                                       "Expect",
                                       "Connection",
                                       NULL};
    size_t len = name_len(line);
    if (!len || len > 100 || line[len] != ':' || !line[len + 1 + strspn(line + len + 1, " \t")])
        return WRONG(r, path, "must hold headers as Name: value");
    if (has_name(line, OURS)) return WRONG(r, path, "%.*s is not for you to set", (int)len, line);
    return err_none();
}

static struct err check_headers(const struct reading *r)
{
    static const char *const SECRET[] = {
        "Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key",
        "Api-Key",       "X-Auth-Token",        NULL};
    for (size_t i = 0; i < r->enrich->headers.count; i++) {
        const char *line = r->enrich->headers.items[i];
        TRY(check_header(r, HEADERS, line));
        if (has_name(line, SECRET))
            return WRONG(r, HEADERS,
                         "%.*s is a secret: put it into a file of its own and name that in "
                         "headers_file",
                         (int)name_len(line), line);
    }
    return err_none();
}

static struct err add_secret(const struct reading *r, const char *line, size_t len)
{
    struct conf_texts *list = &r->enrich->secret_headers;
    while (len && strchr(" \t\r", line[len - 1])) len--;
    if (!len) return err_none();
    if (list->count == CONF_ITEMS_MAX || len > HEADER_MAX)
        return WRONG(r, HEADERS_FILE, "the file must have at most %d lines of %d bytes",
                     CONF_ITEMS_MAX, HEADER_MAX);
    char *copy = mem_alloc(len + 1);
    memcpy(copy, line, len);
    list->items = mem_resize(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = copy;
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)copy[i] < ' ' && copy[i] != '\t') || copy[i] == 0x7f)
            return WRONG(r, HEADERS_FILE, "the file must be lines of text");
    return check_header(r, HEADERS_FILE, copy);
}

static struct err split_secrets(const struct reading *r, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        TRY(add_secret(r, text, len));
        text += len + (text[len] == '\n');
    }
    return err_none();
}

static struct err read_secrets(const struct reading *r)
{
    char path[PATH_MAX];
    struct buf content;
    const char *name = r->enrich->headers_file;
    char *copy = mem_copy_text(r->file);
    if (name[0] == '/')
        snprintf(path, sizeof path, "%s", name);
    else
        snprintf(path, sizeof path, "%s/%s", dirname(copy), name);
    free(copy);
    buf_init(&content, CONF_TEXT_MAX);
    struct err e = conf_file_read(path, &content);
    if (e.code)
        e = WRONG(r, HEADERS_FILE, "%s", e.text);
    else if (!conf_utf8_valid(content.data, content.len))
        e = WRONG(r, HEADERS_FILE, "the file must be lines of text");
    else
        e = split_secrets(r, buf_text(&content));
    if (content.data) explicit_bzero(content.data, content.cap);
    buf_fini(&content);
    return e;
}

static struct err check_cache(const struct reading *r)
{
    const char *name = r->enrich->cache;
    if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name)) return err_none();
    return WRONG(r, "enrich.cache", "must be lower-case letters, digits and hyphens");
}

static bool is_begun(const struct campaign_enrich *enrich)
{
    return enrich->headers.count || *enrich->headers_file || *enrich->ca_file || *enrich->cache ||
           enrich->cache_ttl_ms;
}

struct err campaign_enrich_complete(const char *file, const struct conf_table *table,
                                    struct campaign *campaign)
{
    struct reading r = {file, table, &campaign->enrich};
    if (!*r.enrich->url && !is_begun(r.enrich)) return err_none();
    TRY(check_url(&r));
    TRY(check_headers(&r));
    TRY(check_cache(&r));
    if (!r.enrich->retry.count) return WRONG(&r, "enrich.retry", "must hold at least one duration");
    if (!*r.enrich->cache) {
        free(r.enrich->cache);
        r.enrich->cache = mem_copy_text(campaign->name);
    }
    return *r.enrich->headers_file ? read_secrets(&r) : err_none();
}

void campaign_enrich_free(struct campaign_enrich *enrich)
{
    for (size_t i = 0; i < enrich->secret_headers.count; i++)
        explicit_bzero(enrich->secret_headers.items[i], strlen(enrich->secret_headers.items[i]));
    conf_texts_free(&enrich->secret_headers);
}
