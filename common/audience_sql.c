/* A scanner that knows just enough of MySQL's lexical rules to tell a placeholder from the same
 * letters inside a quote or a comment. Whether the SQL is right is the server's to say. */
#include "common/audience_sql.h"

#include <stdbool.h>
#include <string.h>

enum piece_kind { PIECE_TEXT, PIECE_AFTER, PIECE_LIMIT, PIECE_SCHEDULED_AT, PIECE_OPEN };

struct piece {
    enum piece_kind kind; /* PIECE_OPEN: a quote or comment without an end */
    size_t len;
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

static struct piece scan_until(const char *sql, size_t len, size_t skip, const char *end)
{
    const char *found = skip <= len ? memmem(sql + skip, len - skip, end, strlen(end)) : NULL;
    if (!found) return (struct piece){PIECE_OPEN, len};
    return (struct piece){PIECE_TEXT, (size_t)(found - sql) + strlen(end)};
}

/* A doubled quote is two quotes side by side, which comes to the same here. */
static struct piece scan_quote(const char *sql, size_t len)
{
    char quote = sql[0];
    for (size_t i = 1; i < len; i++) {
        if (sql[i] == '\\' && quote != '`')
            i++;
        else if (sql[i] == quote)
            return (struct piece){PIECE_TEXT, i + 1};
    }
    return (struct piece){PIECE_OPEN, len};
}

static struct piece scan_line_comment(const char *sql, size_t len)
{
    const char *end = memchr(sql, '\n', len);
    return (struct piece){PIECE_TEXT, end ? (size_t)(end - sql) + 1 : len};
}

static struct piece scan_placeholder(const char *sql, size_t len)
{
    static const struct {
        const char *name;
        enum piece_kind kind;
    } NAMES[] = {
        {"after", PIECE_AFTER}, {"limit", PIECE_LIMIT}, {"scheduled_at", PIECE_SCHEDULED_AT}};
    size_t n = 1;
    while (n < len && is_word(sql[n])) n++;
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        if (n - 1 == strlen(NAMES[i].name) && memcmp(sql + 1, NAMES[i].name, n - 1) == 0)
            return (struct piece){NAMES[i].kind, n};
    return (struct piece){PIECE_TEXT, n};
}

/* The next piece of sql (len > 0): a placeholder, a quote, a comment, a word or one byte. */
static struct piece scan(const char *sql, size_t len)
{
    char c = sql[0], next = len > 1 ? sql[1] : '\0';
    if (c == '\'' || c == '"' || c == '`') return scan_quote(sql, len);
    if (c == '/' && next == '*') return scan_until(sql, len, 2, "*/");
    /* In MySQL -- begins a comment only before a blank or the end. */
    if (c == '-' && next == '-' && (len == 2 || (unsigned char)sql[2] <= ' '))
        return scan_line_comment(sql, len);
    if (c == '#') return scan_line_comment(sql, len);
    if (c == ':') return scan_placeholder(sql, len);
    size_t n = 1;
    if (is_word(c))
        while (n < len && is_word(sql[n])) n++;
    return (struct piece){PIECE_TEXT, n};
}

struct err audience_sql_check(const char *sql)
{
    bool seen[PIECE_OPEN + 1] = {false};
    size_t len = strlen(sql), at = 0;
    while (at < len) {
        struct piece p = scan(sql + at, len - at);
        seen[p.kind] = true;
        at += p.len;
    }
    if (seen[PIECE_OPEN])
        return err_make(ERR_CONFIG, 0, "audience.sql has a quote or a comment that does not end");
    if (!seen[PIECE_AFTER] || !seen[PIECE_LIMIT])
        return err_make(ERR_CONFIG, 0,
                        "audience.sql must use %s, outside quotes and comments, to be read page by "
                        "page",
                        seen[PIECE_AFTER] ? ":limit" : ":after");
    return err_none();
}

static size_t trimmed_len(const char *sql)
{
    size_t len = strlen(sql);
    while (len && (strchr(" \t\r\n;", sql[len - 1]))) len--;
    return len;
}

void audience_sql_fill(const char *sql, const struct audience_values *values, struct buf *out)
{
    size_t len = trimmed_len(sql), at = 0;
    while (at < len) {
        struct piece p = scan(sql + at, len - at);
        if (p.kind == PIECE_AFTER)
            buf_append_text(out, values->after);
        else if (p.kind == PIECE_LIMIT)
            buf_append_text(out, values->limit);
        else if (p.kind == PIECE_SCHEDULED_AT)
            buf_append_text(out, values->scheduled_at);
        else
            buf_append(out, sql + at, p.len);
        at += p.len;
    }
}
