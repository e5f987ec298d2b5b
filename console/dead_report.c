/* Dead letters as text and as JSON. Pure. */
#include <stdio.h>
#include <string.h>

#include "common/encode.h"
#include "console/console.h"
#include "console/dead.h"

/* A recipient is the second opening brace in depth. */
struct layout {
    int depth;
    bool in_string, escaped;
};

static bool starts_line(struct layout *l, char c)
{
    if (l->in_string) {
        bool ends = c == '"' && !l->escaped;
        l->escaped = c == '\\' && !l->escaped;
        l->in_string = !ends;
        return false;
    }
    if (c == '"') l->in_string = true;
    if (c == '}') l->depth--;
    return c == '{' && ++l->depth == 2;
}

/* layout NULL: everything on one line. */
static void append_clean(struct buf *out, const char *text, size_t len, struct layout *l)
{
    bool hidden;
    for (size_t i = 0, taken; i < len; i += taken) {
        taken = console_character(text + i, len - i, &hidden);
        bool is_blank = l && (text[i] == '\n' || text[i] == '\t');
        if (l && starts_line(l, text[i])) buf_append_char(out, '\n');
        if (hidden && !is_blank)
            buf_append_char(out, '?');
        else
            buf_append(out, text + i, taken);
    }
}

void dead_append_body(struct buf *out, const char *body, size_t len, size_t max)
{
    struct layout layout = {0};
    append_clean(out, body, len < max ? len : max, &layout);
    if (max < len) buf_append_format(out, "\n... and %zu bytes more", len - max);
}

static void append_text(struct buf *out, const char *text)
{
    append_clean(out, text, strlen(text), NULL);
}

static void append_json_text(struct buf *out, const char *key, const char *text)
{
    buf_append_format(out, ",\"%s\":", key);
    chunk_write_text(out, text, encode_utf8_prefix(text, strlen(text)));
}

void dead_append_json(struct buf *out, const struct dead_letter *letter)
{
    const struct chunk_message *m = &letter->chunk;
    buf_append_format(out, "{\"number\":%d", letter->number);
    append_json_text(out, "id", letter->id);
    append_json_text(out, "queue", letter->key);
    append_json_text(out, "reason", letter->reason);
    buf_append_format(out, ",\"bytes\":%zu", letter->body_len);
    if (letter->is_chunk)
        buf_append_format(out, ",\"run\":%llu,\"chunk\":%u,\"attempt\":%u,\"recipients\":%u}",
                          (unsigned long long)m->run, m->chunk, m->attempt, m->n);
    else
        buf_append_text(out, ",\"run\":null,\"chunk\":null,\"attempt\":null,\"recipients\":null}");
}

void dead_append_line(struct buf *out, const struct dead_letter *letter)
{
    char id[DEAD_TEXT_SIZE], key[BROKER_KEY_SIZE], recipients[16] = "-";
    if (letter->is_chunk) snprintf(recipients, sizeof recipients, "%u", letter->chunk.n);
    buf_append_format(out, "%6d %-20s %-16s %10zu %10s ", letter->number,
                      *letter->id ? console_text(id, sizeof id, letter->id) : "-",
                      console_text(key, sizeof key, letter->key), letter->body_len, recipients);
    append_text(out, letter->reason);
    buf_append_char(out, '\n');
}

const char *dead_name(char out[DEAD_NAME_SIZE], const struct dead_letter *letter)
{
    char id[DEAD_TEXT_SIZE];
    snprintf(out, DEAD_NAME_SIZE, "%d (%s)", letter->number,
             *letter->id ? console_text(id, sizeof id, letter->id) : "without id");
    return out;
}

void dead_append_head(struct buf *out, const struct dead_letter *letter)
{
    char name[DEAD_NAME_SIZE], key[DEAD_TEXT_SIZE];
    const struct chunk_message *m = &letter->chunk;
    buf_append_format(out, "dead letter   %s\nqueue         %s\nreason        ",
                      dead_name(name, letter), console_text(key, sizeof key, letter->key));
    append_text(out, letter->reason);
    buf_append_format(out, "\nbytes         %zu\n", letter->body_len);
    if (letter->is_chunk)
        buf_append_format(out, "chunk         run %llu, chunk %u, attempt %u\nrecipients    %u\n",
                          (unsigned long long)m->run, m->chunk, m->attempt, m->n);
    else
        buf_append_format(out, "no chunk      %s\n", letter->malformed.text);
}

void dead_append_header(struct buf *out, const char *name, const char *value)
{
    buf_append_format(out, "header        %s: ", name);
    append_text(out, value);
    buf_append_char(out, '\n');
}
