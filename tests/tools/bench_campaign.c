/* What the templates of a campaign cost over plain variables. Usage:
 *     bench_campaign SETTINGS CAMPAIGN CHUNK MAILS
 * CHUNK is a file with a chunk message of the campaign. Builds the mails of its first recipients in
 * two ways, in turns: by the campaign's own templates; and by templates made for the one recipient,
 * in which sections, partials and loops have been gone through and only plain variables are left.
 * Both give the same texts, which is checked. Prints the octets and the nanoseconds of CPU time a
 * mail, of each way the least. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/campaign_content.h"
#include "common/chunk.h"
#include "common/content_mail.h"

enum { MAIL_MAX = 1 << 22, ROUNDS = 8, RECIPIENTS = 16, LEAVES_MAX = 1000 };
enum { MARK = '\1', MARK_END = '\2' };

/* One way of building the mails: each recipient's mail and variables. */
struct way {
    struct message *message[RECIPIENTS];
    struct value vars[RECIPIENTS];
    double ns;
};

/* A recipient's texts and numbers, in the order in which they are met; as variables _0, _1 ... */
struct leaves {
    struct value_field fields[LEAVES_MAX];
    uint32_t n;
};

static void check(struct err e)
{
    if (!e.code) return;
    fprintf(stderr, "bench_campaign: %s\n", e.text);
    exit(1);
}

static void read_chunk(const char *path, struct chunk_message *chunk)
{
    struct buf body;
    char piece[65536];
    FILE *file = fopen(path, "rb");
    if (!file) check(err_make(ERR_IO, 0, "cannot open %s", path));
    buf_init(&body, CHUNK_BODY_MAX);
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;) buf_append(&body, piece, n);
    fclose(file);
    check(chunk_decode(body.data, body.len, chunk));
    buf_fini(&body);
}

/* ---- templates without sections */

/* A mark in the leaf's place: MARK, its number, '&', MARK_END. The & tells escaped from raw. */
static struct value mark_leaf(const struct value *leaf, struct leaves *leaves)
{
    char name[16], mark[24];
    if (leaves->n == LEAVES_MAX) check(err_make(ERR_TOO_BIG, 0, "too many variables"));
    snprintf(name, sizeof name, "_%u", leaves->n);
    int len = snprintf(mark, sizeof mark, "%c%u&%c", MARK, leaves->n, MARK_END);
    leaves->fields[leaves->n++] =
        (struct value_field){mem_copy_text(name), (uint32_t)strlen(name), *leaf};
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)len, .text = mem_copy_text(mark)};
}

/* The value with marks for its texts and numbers. What is empty or 0 stays so: sections ask for
 * that. */
static struct value mark_all(const struct value *v, struct leaves *leaves)
{
    struct value out = *v;
    bool zero = v->kind == VALUE_NUMBER && strtod(v->text, NULL) == 0;
    if ((v->kind == VALUE_TEXT || v->kind == VALUE_NUMBER) && v->len && !zero)
        return mark_leaf(v, leaves);
    if (v->kind == VALUE_LIST) {
        struct value *items = mem_alloc((v->len + 1) * sizeof *items);
        for (uint32_t i = 0; i < v->len; i++) items[i] = mark_all(&v->items[i], leaves);
        out.items = items;
    } else if (v->kind == VALUE_MAP) {
        struct value_field *fields = mem_alloc((v->len + 1) * sizeof *fields);
        for (uint32_t i = 0; i < v->len; i++) {
            fields[i] = v->fields[i];
            fields[i].value = mark_all(&v->fields[i].value, leaves);
        }
        out.fields = fields;
    }
    return out;
}

static const struct template *find_part(const struct message *m, const char *part)
{
    struct message_template all[MESSAGE_TEMPLATES];
    unsigned n = message_templates(m, all);
    for (unsigned i = 0; i < n; i++)
        if (strcmp(all[i].name, part) == 0) return all[i].template;
    return NULL;
}

static void render(const struct message *m, const char *part, const struct value *vars,
                   struct buf *out)
{
    struct template_trouble trouble;
    const struct template *t = find_part(m, part);
    enum template_escape escape = strcmp(part, "html") == 0 ? TEMPLATE_HTML : TEMPLATE_PLAIN;
    buf_reset(out);
    if (t && !template_render(t, vars, escape, out, &trouble))
        check(err_make(ERR_INPUT, 0, "a recipient of the chunk lacks a variable of %s", part));
}

/* Marks become tags of plain variables. */
static char *flatten(const struct message *m, const char *part, const struct value *marked)
{
    struct buf text, out;
    buf_init(&text, MAIL_MAX);
    buf_init(&out, MAIL_MAX);
    render(m, part, marked, &text);
    const char *p = buf_text(&text);
    if (strstr(p, "{{")) check(err_make(ERR_INPUT, 0, "%s has braces of its own", part));
    for (const char *mark; (mark = strchr(p, MARK)); p = strchr(mark, MARK_END) + 1) {
        char *end;
        unsigned long leaf = strtoul(mark + 1, &end, 10);
        bool raw = end[1] == MARK_END && strcmp(part, "html") == 0;
        buf_append(&out, p, (size_t)(mark - p));
        buf_append_format(&out, raw ? "{{{_%lu}}}" : "{{_%lu}}", leaf);
    }
    buf_append_text(&out, p);
    char *flat = mem_copy_text(buf_text(&out));
    buf_fini(&text);
    buf_fini(&out);
    return flat;
}

static void compare(const struct message *a, const struct value *a_vars, const struct message *b,
                    const struct value *b_vars)
{
    static const char *const parts[] = {"to_name", "subject", "text", "html"};
    struct buf text[2];
    for (int i = 0; i < 2; i++) buf_init(&text[i], MAIL_MAX);
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        render(a, parts[p], a_vars, &text[0]);
        render(b, parts[p], b_vars, &text[1]);
        if (strcmp(buf_text(&text[0]), buf_text(&text[1])) != 0)
            check(err_make(ERR_STATE, 0, "the two ways differ in %s", parts[p]));
    }
    for (int i = 0; i < 2; i++) buf_fini(&text[i]);
}

static void make_plain(const struct content *own, const struct message *m, const struct value *vars,
                       struct way *plain, uint32_t i)
{
    struct leaves *leaves = mem_alloc(sizeof *leaves);
    struct value marked = mark_all(vars, leaves);
    struct content flat = *own;
    flat.to_name = flatten(m, "to_name", &marked);
    flat.subject = flatten(m, "subject", &marked);
    flat.text = flatten(m, "text", &marked);
    flat.html = flatten(m, "html", &marked);
    flat.list_unsubscribe = flatten(m, "list_unsubscribe", &marked);
    flat.partials = (struct template_partials){0};
    check(content_compile(&flat, &plain->message[i]));
    plain->vars[i] = (struct value){.kind = VALUE_MAP, .len = leaves->n, .fields = leaves->fields};
    compare(m, vars, plain->message[i], &plain->vars[i]);
}

static void make_ways(const struct content *own, const struct chunk_message *chunk,
                      struct way ways[2])
{
    struct message *m;
    if (chunk->n < RECIPIENTS) check(err_make(ERR_INPUT, 0, "the chunk has too few recipients"));
    check(content_compile(own, &m));
    for (uint32_t i = 0; i < RECIPIENTS; i++) {
        ways[0].message[i] = m;
        ways[0].vars[i] = chunk->recipients[i].vars;
        make_plain(own, m, &ways[0].vars[i], &ways[1], i);
    }
}

/* ---- measuring */

/* Nanoseconds of CPU time a mail; *octets: their mean. */
static double measure(const struct way *way, const struct chunk_message *chunk, long mails,
                      double *octets)
{
    struct message_scratch scratch;
    struct timespec began, ended;
    struct buf out;
    char reason[MESSAGE_REASON_SIZE];
    double all = 0;
    message_scratch_init(&scratch, MAIL_MAX);
    buf_init(&out, MAIL_MAX);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    for (long k = 0; k < mails; k++) {
        uint32_t i = (uint32_t)(k % RECIPIENTS);
        struct message_recipient r = {.to = chunk->recipients[i].to,
                                      .to_len = chunk->recipients[i].to_len,
                                      .vars = &way->vars[i],
                                      .message_id = "1kf3.12.7.3@example.com",
                                      .date_s = 1700000000 + k / 50000};
        buf_reset(&out);
        if (!message_build(way->message[i], &r, &scratch, &out, reason, sizeof reason))
            check(err_make(ERR_INPUT, 0, "%s", reason));
        all += (double)out.len;
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
    message_scratch_fini(&scratch);
    buf_fini(&out);
    *octets = all / (double)mails;
    return ((double)(ended.tv_sec - began.tv_sec) * 1e9 + (double)(ended.tv_nsec - began.tv_nsec)) /
           (double)mails;
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct campaign campaign;
    struct chunk_message chunk;
    static struct way ways[2] = {{.ns = 1e12}, {.ns = 1e12}};
    double octets[2];
    long mails = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
    if (mails < ROUNDS) {
        fputs("usage: bench_campaign SETTINGS CAMPAIGN CHUNK MAILS\n", stderr);
        return 2;
    }
    check(settings_read(argv[1], &settings));
    check(campaign_content_load(&settings, argv[2], &campaign));
    read_chunk(argv[3], &chunk);
    struct content own = campaign_content(&campaign);
    make_ways(&own, &chunk, ways);
    for (int round = 0; round < 2 * ROUNDS; round++) {
        struct way *way = &ways[round % 2];
        double ns = measure(way, &chunk, mails / ROUNDS, &octets[round % 2]);
        if (ns < way->ns) way->ns = ns;
    }
    printf("octets=%.0f templates_ns=%.0f plain_octets=%.0f variables_ns=%.0f\n", octets[0],
           ways[0].ns, octets[1], ways[1].ns);
    return 0; /* and with it ends all that was allocated */
}
