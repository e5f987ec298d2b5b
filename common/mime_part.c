/* A text as transfer-encoded pieces. Building a mail is mostly the copying of literals that were
 * encoded when the part was compiled. What makes that hard is that a variable of any length stands
 * before them:
 *
 * - quoted-printable: only the literal's first line depends on the column it starts at. It is the
 *   head, encoded per mail; behind its line break (a hard one, or a soft one after HEAD_MAX bytes)
 *   everything is encoded beforehand.
 * - base64: the groups of three bytes may be in any of three phases. The literal is encoded
 *   beforehand for each; 0 to 2 bytes complete the group before, and a new line starts. */
#include "common/mime_part.h"

#include <stdlib.h>

#include "common/encode.h"

enum { HEAD_MAX = 128 };       /* bytes; a longer first line is cut by a soft line break */
enum { BASE64_SHORT = 96 };    /* bytes; shorter literals are encoded per mail */
enum { STORE_MAX = 64 << 20 }; /* bytes; a part's encoded literals, several times its text */

/* Bytes in the store, and the encoder's state behind them. */
struct encoded {
    size_t at, len;
    struct encode_qp qp;
    struct encode_base64 base64;
};

/* One for each node of the template, of use for literals. */
struct piece {
    const char *text; /* a literal's; with CRLF line ends for base64 */
    size_t len, head_len;
    bool leads_lf, ends_cr; /* how the literal was written, for line ends across joints */
    int phases;             /* encoded beforehand: 0, 1 (quoted-printable) or 3 (base64) */
    struct encoded phase[3];
};

struct mime_part {
    struct template *template;
    const struct template_node *nodes;
    enum template_escape escape;
    bool base64;
    struct piece *pieces;
    size_t count; /* of nodes and pieces */
    struct buf store, crlf;
};

static bool prefers_base64(const struct template_node *nodes, size_t count)
{
    size_t high = 0, all = 0;
    for (size_t n = 0; n < count; n++) {
        if (nodes[n].kind != TEMPLATE_LITERAL) continue;
        for (size_t i = 0; i < nodes[n].len; i++) high += (unsigned char)nodes[n].text[i] >> 7;
        all += nodes[n].len;
    }
    return high * 5 > all;
}

/* The literal's bytes up to and with its first line break, or to a cut between characters. */
static size_t head_of(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && n < HEAD_MAX && text[n] != '\r' && text[n] != '\n') n++;
    if (n == len) return n;
    if (text[n] == '\r') return n + (n + 1 < len && text[n + 1] == '\n' ? 2 : 1);
    if (text[n] == '\n') return n + 1;
    while ((text[n] & 0xc0) == 0x80) n--;
    return n;
}

static void compile_qp(struct mime_part *p, struct piece *piece, bool first)
{
    piece->head_len = first ? 0 : head_of(piece->text, piece->len);
    if (piece->head_len == piece->len) return;
    struct encoded *e = &piece->phase[0];
    e->at = p->store.len;
    encode_qp(&e->qp, piece->text + piece->head_len, piece->len - piece->head_len, &p->store);
    e->len = p->store.len - e->at;
    piece->phases = 1;
}

/* The literal's text moves into p->crlf; text is an offset until all are there. */
static void compile_crlf(struct mime_part *p, struct piece *piece, size_t *at)
{
    bool after_cr = false;
    *at = p->crlf.len;
    encode_crlf(&after_cr, piece->text, piece->len, &p->crlf);
    piece->leads_lf = piece->text[0] == '\n';
    piece->ends_cr = after_cr;
    piece->len = p->crlf.len - *at;
}

static void compile_base64(struct mime_part *p, struct piece *piece)
{
    if (piece->len < BASE64_SHORT) return;
    for (size_t k = 0; k < 3; k++) {
        struct encoded *e = &piece->phase[k];
        e->at = p->store.len;
        encode_base64(&e->base64, piece->text + k, piece->len - k, &p->store);
        e->len = p->store.len - e->at;
    }
    piece->phases = 3;
}

static void compile_pieces(struct mime_part *p)
{
    const struct template_node *nodes = p->nodes;
    size_t *at = mem_alloc((p->count + 1) * sizeof *at);
    for (size_t i = 0; i < p->count; i++) {
        struct piece *piece = &p->pieces[i];
        *piece = (struct piece){.text = nodes[i].text, .len = nodes[i].len};
        if (nodes[i].kind != TEMPLATE_LITERAL) continue;
        if (p->base64)
            compile_crlf(p, piece, &at[i]);
        else
            compile_qp(p, piece, i == 0);
    }
    for (size_t i = 0; p->base64 && i < p->count; i++) {
        if (nodes[i].kind != TEMPLATE_LITERAL) continue;
        p->pieces[i].text = p->crlf.data + at[i];
        compile_base64(p, &p->pieces[i]);
    }
    free(at);
}

struct err mime_part_compile(const struct template_source *source,
                             const struct template_partials *partials, enum template_escape escape,
                             struct mime_part **out)
{
    *out = NULL;
    struct template *template;
    TRY(template_compile(source, partials, TEMPLATE_STRICT, &template));
    struct mime_part *p = mem_alloc(sizeof *p);
    *p = (struct mime_part){.template = template, .escape = escape};
    p->nodes = template_nodes(template, &p->count);
    buf_init(&p->store, STORE_MAX);
    buf_init(&p->crlf, STORE_MAX);
    p->base64 = prefers_base64(p->nodes, p->count);
    p->pieces = mem_alloc((p->count + 1) * sizeof *p->pieces);
    compile_pieces(p);
    struct err e = buf_check(&p->store, source->name);
    if (!e.code) e = buf_check(&p->crlf, source->name);
    if (e.code) {
        mime_part_free(p);
        return e;
    }
    *out = p;
    return err_none();
}

void mime_part_free(struct mime_part *p)
{
    if (!p) return;
    template_free(p->template);
    free(p->pieces);
    buf_fini(&p->store);
    buf_fini(&p->crlf);
    free(p);
}

const struct template *mime_part_template(const struct mime_part *p)
{
    return p->template;
}

const char *mime_part_encoding(const struct mime_part *p)
{
    return p->base64 ? "base64" : "quoted-printable";
}

/* The text of the variable that was met last, escaped where it must be; may stand in spare. */
static bool variable_text(const struct mime_part *p, const struct template_node *node,
                          struct template_walk *w, struct buf *spare)
{
    if (!encode_utf8_valid(w->text, w->len))
        return template_fail(node, "is not valid UTF-8", &w->trouble);
    bool escaped = p->escape == TEMPLATE_HTML && node->kind == TEMPLATE_VARIABLE;
    if (!escaped || !encode_html_needed(w->text, w->len)) return true;
    buf_reset(spare);
    encode_html(w->text, w->len, spare);
    w->text = spare->data;
    w->len = spare->len;
    return !spare->too_big || template_fail(node, "is too large", &w->trouble);
}

static bool build_qp(const struct mime_part *p, struct template_walk *w, struct buf *spare,
                     struct buf *out)
{
    struct encode_qp s = {0};
    const struct template_node *node;
    while ((node = template_next(w)) && !out->too_big) {
        if (node->kind != TEMPLATE_LITERAL) {
            if (!variable_text(p, node, w, spare)) return false;
            encode_qp(&s, w->text, w->len, out);
            continue;
        }
        const struct piece *piece = &p->pieces[node - p->nodes];
        encode_qp(&s, piece->text, piece->head_len, out);
        if (!piece->phases) continue;
        encode_qp_soft_break(&s, out);
        buf_append(out, p->store.data + piece->phase[0].at, piece->phase[0].len);
        s = piece->phase[0].qp;
    }
    encode_qp_end(&s, out);
    return !w->trouble.problem;
}

static void base64_literal(const struct mime_part *p, const struct piece *piece,
                           struct encode_base64 *s, struct buf *out)
{
    size_t k = (3 - s->carry_len) % 3;
    encode_base64(s, piece->text, k, out);
    if (s->col) buf_append(out, "\r\n", 2);
    const struct encoded *e = &piece->phase[k];
    buf_append(out, p->store.data + e->at, e->len);
    *s = e->base64;
}

static void base64_variable(const char *text, size_t len, bool *after_cr, struct encode_base64 *s,
                            struct buf *out)
{
    size_t start = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n' || text[i] == '\r') {
            encode_base64(s, text + start, i - start, out);
            start = i + 1;
            if (text[i] == '\r' || !*after_cr) encode_base64(s, "\r\n", 2, out);
        }
        *after_cr = text[i] == '\r';
    }
    encode_base64(s, text + start, len - start, out);
}

static bool build_base64(const struct mime_part *p, struct template_walk *w, struct buf *spare,
                         struct buf *out)
{
    struct encode_base64 s = {0};
    const struct template_node *node;
    bool after_cr = false;
    while ((node = template_next(w)) && !out->too_big) {
        if (node->kind != TEMPLATE_LITERAL) {
            if (!variable_text(p, node, w, spare)) return false;
            base64_variable(w->text, w->len, &after_cr, &s, out);
            continue;
        }
        const struct piece *piece = &p->pieces[node - p->nodes];
        size_t skip = after_cr && piece->leads_lf ? 2 : 0;
        if (piece->phases && !skip)
            base64_literal(p, piece, &s, out);
        else
            encode_base64(&s, piece->text + skip, piece->len - skip, out);
        after_cr = piece->ends_cr;
    }
    encode_base64_end(&s, out);
    return !w->trouble.problem;
}

bool mime_part_build(const struct mime_part *p, const struct value *vars, struct buf *spare,
                     struct buf *out, struct template_trouble *trouble)
{
    struct template_walk w;
    template_walk_start(&w, p->template, vars);
    bool whole = p->base64 ? build_base64(p, &w, spare, out) : build_qp(p, &w, spare, out);
    *trouble = w.trouble;
    return whole;
}

bool mime_part_render(const struct mime_part *p, const struct value *vars, struct buf *out,
                      struct template_trouble *trouble)
{
    return template_render(p->template, vars, p->escape, out, trouble);
}
