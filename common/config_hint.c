/* Names of keys: look-ups in a table and suggestions for a name that is not in it. */
#include "common/config_hint.h"

#include <string.h>

enum { NAME_MAX_LEN = 48, FAR = 1000 };

const struct conf_key *conf_find(const struct conf_table *table, const char *path, bool as_file)
{
    size_t len = strlen(path);
    if (as_file) {
        if (len < 5 || strcmp(path + len - 5, "_file") != 0) return NULL;
        len -= 5;
    }
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_key *key = &table->keys[i];
        if (as_file && !(key->flags & CONF_SECRET)) continue;
        if (strlen(key->path) == len && memcmp(key->path, path, len) == 0) return key;
    }
    return NULL;
}

bool conf_is_group(const struct conf_table *table, const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < table->count; i++)
        if (strncmp(table->keys[i].path, path, len) == 0 && table->keys[i].path[len] == '.')
            return true;
    return false;
}

static int least(int a, int b, int c)
{
    if (b < a) a = b;
    return c < a ? c : a;
}

/* Levenshtein's distance. */
static int distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int row[NAME_MAX_LEN + 1];
    if (a_len > NAME_MAX_LEN || b_len > NAME_MAX_LEN) return FAR;
    for (size_t j = 0; j <= b_len; j++) row[j] = (int)j;
    for (size_t i = 1; i <= a_len; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_len; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(change, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[b_len];
}

/* The last part of the first len bytes of path. */
static const char *leaf_of(const char *path, size_t len)
{
    while (len && path[len - 1] != '.') len--;
    return path + len;
}

/* How far path is from the first len bytes of name, both in parts: the same last part elsewhere
 * counts as near. */
static int miss(const char *path, const char *name, size_t len)
{
    const char *leaf = leaf_of(path, strlen(path)), *known = leaf_of(name, len);
    size_t leaf_len = strlen(leaf), known_len = len - (size_t)(known - name);
    size_t above = (size_t)(leaf - path);
    bool same_group = above == (size_t)(known - name) && memcmp(path, name, above) == 0;
    int off = distance(leaf, leaf_len, known, known_len);
    if (!same_group) return off == 0 ? 2 : FAR;
    size_t shorter = leaf_len < known_len ? leaf_len : known_len;
    if (off > 2 && shorter >= 3 && memcmp(leaf, known, shorter) == 0) off = 2;
    int allowed = leaf_len >= 6 ? 2 : 1;
    return off <= allowed || (off == 2 && shorter >= 3) ? off : FAR;
}

static void list_known(const struct conf_table *table, const char *path, struct buf *out)
{
    size_t above = (size_t)(leaf_of(path, strlen(path)) - path), last_len = 0;
    const char *last = NULL;
    buf_append_text(out, "known here: ");
    for (size_t i = 0; i < table->count; i++) {
        const char *name = table->keys[i].path;
        if (strncmp(name, path, above) != 0) continue;
        name += above;
        size_t len = strcspn(name, ".");
        if (last && len == last_len && memcmp(last, name, len) == 0) continue;
        if (last) buf_append_text(out, ", ");
        buf_append(out, name, len);
        last = name;
        last_len = len;
    }
}

void conf_hint(const struct conf_table *table, const char *path, struct buf *out)
{
    const char *best = NULL;
    size_t best_len = 0;
    int best_miss = FAR;
    for (size_t i = 0; i < table->count; i++) {
        const char *name = table->keys[i].path;
        for (size_t len = strcspn(name, "."); len;
             len += name[len] ? strcspn(name + len + 1, ".") + 1 : 0) {
            int m = miss(path, name, len);
            if (m < best_miss) {
                best = name;
                best_len = len;
                best_miss = m;
            }
            if (!name[len]) break;
        }
    }
    if (best)
        buf_append_format(out, "did you mean '%.*s'?", (int)best_len, best);
    else
        list_known(table, path, out);
}
