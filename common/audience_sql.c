/* A scanner that knows just enough of MySQL's lexical rules to tell a placeholder or a keyword from
 * the same letters inside a quote or a comment. */
#include "common/audience_sql.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum piece_kind {
    PIECE_BLANK, /* and comments */
    PIECE_WORD,
    PIECE_OTHER, /* quotes, numbers, operators */
    PIECE_AFTER,
    PIECE_LIMIT,
    PIECE_SCHEDULED_AT,
    PIECE_EXECUTED, /* a comment that is none to the server */
    PIECE_OPEN,     /* a quote or comment without an end */
};

struct piece {
    enum piece_kind kind;
    size_t len;
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

static struct piece scan_comment(const char *sql, size_t len)
{
    bool executed = len > 3 && (sql[2] == '!' || (sql[2] == 'M' && sql[3] == '!'));
    const char *end = len > 2 ? memmem(sql + 2, len - 2, "*/", 2) : NULL;
    if (!end) return (struct piece){PIECE_OPEN, len};
    return (struct piece){executed ? PIECE_EXECUTED : PIECE_BLANK, (size_t)(end - sql) + 2};
}

/* A doubled quote is two quotes side by side, which comes to the same here. */
static struct piece scan_quote(const char *sql, size_t len)
{
    char quote = sql[0];
    for (size_t i = 1; i < len; i++) {
        if (sql[i] == '\\' && quote != '`')
            i++;
        else if (sql[i] == quote)
            return (struct piece){PIECE_OTHER, i + 1};
    }
    return (struct piece){PIECE_OPEN, len};
}

static struct piece scan_line_comment(const char *sql, size_t len)
{
    const char *end = memchr(sql, '\n', len);
    return (struct piece){PIECE_BLANK, end ? (size_t)(end - sql) + 1 : len};
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
    return (struct piece){PIECE_OTHER, n};
}

/* The next piece of sql (len > 0); other than words, quotes and comments each is one byte. */
static struct piece scan(const char *sql, size_t len)
{
    char c = sql[0], next = len > 1 ? sql[1] : '\0';
    if (c == '\'' || c == '"' || c == '`') return scan_quote(sql, len);
    if (c == '/' && next == '*') return scan_comment(sql, len);
    /* In MySQL -- begins a comment only before a blank or the end. */
    if (c == '-' && next == '-' && (len == 2 || (unsigned char)sql[2] <= ' '))
        return scan_line_comment(sql, len);
    if (c == '#') return scan_line_comment(sql, len);
    if (c == ':') return scan_placeholder(sql, len);
    size_t n = 1;
    if (!is_word(c)) return (struct piece){(unsigned char)c <= ' ' ? PIECE_BLANK : PIECE_OTHER, n};
    while (n < len && is_word(sql[n])) n++;
    return (struct piece){PIECE_WORD, n};
}

/* What has been read of a statement so far. */
struct reading {
    bool begun, ended, after, limit, ordered;
    const char *before; /* the piece before, blanks left out */
    size_t before_len;
};

static bool says(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

static const char *word_problem(const struct reading *r, const char *word, size_t len)
{
    if (!r->begun)
        return says(word, len, "SELECT") || says(word, len, "WITH") ? NULL : "must be a SELECT";
    if (r->before[0] == '.' || r->before[0] == '@') return NULL; /* the name of something */
    if (says(word, len, "INTO")) return "must not have INTO: an audience is only read";
    bool locks = says(r->before, r->before_len, "FOR")
                     ? says(word, len, "UPDATE") || says(word, len, "SHARE")
                     : says(r->before, r->before_len, "LOCK") && says(word, len, "IN");
    return locks ? "must not lock rows (FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE)" : NULL;
}

static const char *piece_problem(struct reading *r, const char *sql, struct piece p)
{
    if (p.kind == PIECE_BLANK) return NULL;
    if (p.kind == PIECE_OPEN) return "has a quote or a comment that does not end";
    if (p.kind == PIECE_EXECUTED)
        return "must not have comments like /*! */, which the server executes";
    if (r->ended && sql[0] != ';') return "must be one statement; there is more behind its ;";
    const char *problem = p.kind == PIECE_WORD ? word_problem(r, sql, p.len) : NULL;
    if (p.kind == PIECE_WORD) r->begun = true;
    if (says(sql, p.len, "BY") && says(r->before, r->before_len, "ORDER")) r->ordered = true;
    if (sql[0] == ';') r->ended = true;
    if (p.kind == PIECE_AFTER) r->after = true;
    if (p.kind == PIECE_LIMIT) r->limit = true;
    r->before = sql;
    r->before_len = p.len;
    return problem;
}

const char *audience_sql_problem(const char *sql)
{
    struct reading r = {.before = ""};
    size_t len = strlen(sql);
    while (len) {
        struct piece p = scan(sql, len);
        const char *problem = piece_problem(&r, sql, p);
        if (problem) return problem;
        sql += p.len;
        len -= p.len;
    }
    if (!r.begun) return "must be a SELECT";
    if (!r.after) return "must use :after, as in WHERE id > :after, to be read page by page";
    if (!r.limit) return "must use :limit, as in LIMIT :limit, to be read page by page";
    if (!r.ordered) return "must have ORDER BY id, so that each page follows the one before";
    return NULL;
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
        else if (sql[at] != ';') /* a comment may stand behind it */
            buf_append(out, sql + at, p.len);
        at += p.len;
    }
}
