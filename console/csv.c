/* A state machine over bytes. A row that is wrong is still read to its end, since only its quotes
 * tell where that is; but where the quotes themselves are wrong, it ends with the line. */
#include "console/csv.h"

#include "common/encode.h"

enum state {
    FIELD,  /* a field begins */
    PLAIN,  /* inside one without quotes */
    QUOTED, /* inside one with quotes */
    QUOTE,  /* behind a quote that ends it, or is the first of two */
    CR,     /* behind a CR outside quotes: LF has to follow */
    SKIP,   /* to the end of the line */
};

void csv_init(struct csv *c, char separator)
{
    *c = (struct csv){.separator = separator, .state = FIELD, .line = 1, .first_line = 1};
    buf_init(&c->row, CSV_ROW_MAX);
}

void csv_fini(struct csv *c)
{
    buf_fini(&c->row);
}

void csv_feed(struct csv *c, const char *bytes, size_t len)
{
    c->input = bytes;
    c->left = len;
    if (!len) c->at_end = true;
}

static void wrong(struct csv *c, const char *problem)
{
    if (!c->problem) c->problem = problem;
    c->begun = true;
}

static void skip_line(struct csv *c, const char *problem)
{
    wrong(c, problem);
    c->state = SKIP;
}

static void begin_field(struct csv *c)
{
    if (c->n < CSV_FIELDS_MAX) c->at[c->n] = c->row.len;
}

static void end_field(struct csv *c)
{
    buf_append_char(&c->row, '\0');
    if (c->n == CSV_FIELDS_MAX)
        wrong(c, "the row has more than 1000 fields");
    else
        c->n++;
    begin_field(c);
    c->state = FIELD;
}

static void begin_row(struct csv *c)
{
    buf_reset(&c->row);
    c->n = 0;
    c->problem = NULL;
    c->begun = c->given = false;
    c->first_line = c->line;
    begin_field(c);
}

static enum csv_result give(struct csv *c, uint64_t last_line)
{
    c->given = true;
    c->last_line = last_line;
    c->state = FIELD;
    if (c->row.too_big) wrong(c, "the row has more than 1 MiB");
    if (!c->problem && !encode_utf8_valid(c->row.data, c->row.len))
        wrong(c, "the row is not UTF-8");
    return c->problem ? CSV_BAD : CSV_ROW;
}

/* The line's end outside quotes: CSV_MORE where there was nothing in it. */
static enum csv_result end_row(struct csv *c)
{
    if (c->begun && c->state != SKIP) end_field(c);
    c->line++;
    if (c->begun) return give(c, c->line - 1);
    c->state = FIELD;
    c->first_line = c->line;
    return CSV_MORE;
}

/* Takes as many bytes as are the field's own. */
static void take_text(struct csv *c, bool quoted)
{
    size_t n = 0;
    for (; n < c->left; n++) {
        char b = c->input[n];
        if (b == '"' || b == '\0' || (!quoted && (b == c->separator || b == '\n' || b == '\r')))
            break;
        if (b == '\n') c->line++;
    }
    buf_append(&c->row, c->input, n);
    c->input += n;
    c->left -= n;
}

static void take_quoted(struct csv *c)
{
    take_text(c, true);
    if (!c->left) return;
    if (*c->input == '"')
        c->state = QUOTE;
    else
        wrong(c, "the row holds a NUL byte");
    c->input++, c->left--;
}

/* One byte outside quotes that ends or begins something. */
static enum csv_result take_byte(struct csv *c)
{
    char b = *c->input++;
    c->left--;
    if (b == '\n') return end_row(c);
    if (b != '\r') c->begun = true;
    if (c->state == SKIP) return CSV_MORE;
    if (c->state == CR)
        skip_line(c, "the row holds a CR without LF outside quotes");
    else if (b == '\r')
        c->state = CR;
    else if (b == '\0')
        wrong(c, "the row holds a NUL byte");
    else if (b == c->separator)
        end_field(c);
    else if (b == '"' && c->state == FIELD)
        c->state = QUOTED;
    else if (b == '"' && c->state == QUOTE)
        buf_append_char(&c->row, b), c->state = QUOTED;
    else if (c->state == QUOTE)
        skip_line(c, "the row has text behind a closing quote; a quote inside quotes is doubled");
    else
        skip_line(c, "the row has a quote inside a field that does not begin with one");
    return CSV_MORE;
}

static enum csv_result step(struct csv *c)
{
    if (c->state == QUOTED) {
        take_quoted(c);
        return CSV_MORE;
    }
    if (c->state == FIELD || c->state == PLAIN) {
        size_t before = c->left;
        take_text(c, false);
        if (c->left < before) c->state = PLAIN, c->begun = true;
        if (!c->left) return CSV_MORE;
    }
    return take_byte(c);
}

/* What the byte order mark's first bytes would be otherwise is no UTF-8. */
static void skip_mark(struct csv *c)
{
    static const char mark[] = "\xef\xbb\xbf";
    for (; c->mark < 3 && c->left && *c->input == mark[c->mark]; c->mark++) c->input++, c->left--;
    if (c->mark == 3 || !c->left) return;
    if (c->mark) wrong(c, "the row is not UTF-8");
    c->mark = 3;
}

static enum csv_result end(struct csv *c)
{
    if (c->state == QUOTED) wrong(c, "the row opens a quote that is never closed");
    if (c->state == CR) wrong(c, "the row ends in a CR without LF");
    if (!c->begun) return CSV_END;
    end_field(c);
    return give(c, c->line);
}

enum csv_result csv_next(struct csv *c)
{
    if (c->given) begin_row(c);
    skip_mark(c);
    while (c->left) {
        enum csv_result result = step(c);
        if (result != CSV_MORE) return result;
    }
    return c->at_end ? end(c) : CSV_MORE;
}

struct csv_field csv_field(const struct csv *c, unsigned i)
{
    size_t end = (i + 1 < c->n ? c->at[i + 1] : c->row.len) - 1; /* the NUL */
    return (struct csv_field){c->row.data + c->at[i], end - c->at[i]};
}
