/* What the tests of configuration share: a directory of their own, files in it, and the check that
 * docs/configuration.md holds what the tables say. */
#ifndef MAILFLOCK_CONFIG_FIXTURE_H
#define MAILFLOCK_CONFIG_FIXTURE_H

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"

static char fixture_dir[64];

static inline int fixture_setup(void **state)
{
    (void)state;
    snprintf(fixture_dir, sizeof fixture_dir, "/tmp/mailflock-config-XXXXXX");
    return mkdtemp(fixture_dir) ? 0 : -1;
}

static inline int fixture_remove(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st, (void)flag, (void)at;
    return remove(path);
}

static inline int fixture_teardown(void **state)
{
    (void)state;
    return nftw(fixture_dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* fixture_path: name inside the directory; borrows a static buffer, four at a time. */
static inline const char *fixture_path(const char *name)
{
    static char paths[4][PATH_MAX];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", fixture_dir, name);
    return paths[next];
}

static inline const char *fixture_write_bytes(const char *name, const void *bytes, size_t len)
{
    const char *path = fixture_path(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline const char *fixture_write(const char *name, const char *text)
{
    return fixture_write_bytes(name, text, strlen(text));
}

/* assert_tells: the error is of that code and its text holds each part. */
static inline void assert_tells(const struct err *e, enum err_code code, const char *const *parts,
                                size_t count)
{
    if (e->code != code) fail_msg("code %d, not %d: '%s'", e->code, code, e->text);
    for (size_t i = 0; i < count && parts[i]; i++)
        if (!strstr(e->text, parts[i])) fail_msg("no '%s' in: %s", parts[i], e->text);
}

static inline void fixture_rewrite_docs(const char *path, const struct buf *doc, size_t from,
                                        size_t to, const char *block)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%.*s%s%s", (int)from, doc->data, block, doc->data + to);
    assert_int_equal(fclose(f), 0);
}

/* assert_documented: docs/configuration.md holds block between its two markers. With UPDATE_DOCS
 * in the environment it is made so. Tests run in tests/. */
static inline void assert_documented(const char *name, const char *block)
{
    const char *path = "../docs/configuration.md";
    char begin[80];
    snprintf(begin, sizeof begin, "<!-- keys of %s, from the table in the source -->\n", name);
    struct buf doc;
    buf_init(&doc, 1 << 20);
    struct err e = conf_file_read(path, &doc);
    if (e.code) fail_msg("%s", e.text);
    const char *start = strstr(buf_text(&doc), begin);
    if (!start) fail_msg("no '%s' in %s", begin, path);
    start += strlen(begin);
    const char *end = strstr(start, "<!-- end -->");
    assert_non_null(end);
    size_t len = strlen(block);
    bool same = (size_t)(end - start) == len && memcmp(start, block, len) == 0;
    if (!same && getenv("UPDATE_DOCS")) {
        fixture_rewrite_docs(path, &doc, (size_t)(start - doc.data), (size_t)(end - doc.data),
                             block);
        same = true;
    }
    buf_fini(&doc);
    if (!same) fail_msg("%s is out of date: run this test with UPDATE_DOCS=1", path);
}

#endif
