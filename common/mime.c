/* Whole mails: the header here, the bodies by mime_part.c. Headers that are the same for all
 * recipients are one literal each, written when the message is compiled. Nothing from a variable
 * reaches a header but through header_value_ok, which refuses line breaks, and an encoder. */
#include "common/mime.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "common/address.h"
#include "common/encode.h"
#include "common/mime_frame.h"
#include "common/mime_part.h"
#include "common/template.h"

enum {
    HEADER_MAX = 64 << 10, /* bytes of a literal piece of the header */
    URL_MAX = 900,         /* bytes; its header is one line, and a line has at most 998 */
    MESSAGE_ID_MAX = 250,  /* bytes, RFC 5322 would allow more */
    COLUMNS = 78,          /* RFC 5322 section 2.1.1 */
};

struct message {
    struct mailbox from;
    bool utf8; /* an address in head is not ASCII */
    char *message_id_domain;
    struct template *to_name, *subject, *list_unsubscribe; /* NULL: none */
    struct mime_part *text, *html;                         /* NULL: none */
    struct buf head;                                       /* From to "To: " */
    struct mime_frame frame;
};

/* One build, so that its steps need not pass all this along. */
struct build {
    const struct message *m;
    const struct message_recipient *r;
    struct message_scratch *s;
    struct buf *out;
    char *reason;
    size_t reason_size;
};

static void append_mailbox(struct buf *out, const char *header, const struct mailbox *b)
{
    size_t col = strlen(header), len = strlen(b->address);
    buf_append_text(out, header);
    if (b->name[0]) {
        col = encode_phrase(b->name, strlen(b->name), col, out);
        buf_append_text(out, col + len + 3 > COLUMNS ? "\r\n <" : " <");
        buf_append(out, b->address, len);
        buf_append_text(out, ">\r\n");
    } else {
        buf_append(out, b->address, len);
        buf_append_text(out, "\r\n");
    }
}

static struct err compile_addresses(struct message *m, const struct message_spec *spec)
{
    if (!spec->from) return err_make(ERR_CONFIG, 0, "from is not given; write Name <local@domain>");
    struct err e = mailbox_parse(spec->from, strlen(spec->from), &m->from);
    if (e.code) return err_wrap(e, "from");
    append_mailbox(&m->head, "From: ", &m->from);
    if (spec->reply_to) {
        struct mailbox reply_to;
        e = mailbox_parse(spec->reply_to, strlen(spec->reply_to), &reply_to);
        if (e.code) return err_wrap(e, "reply_to");
        append_mailbox(&m->head, "Reply-To: ", &reply_to);
    }
    m->utf8 = address_is_utf8(m->head.data, m->head.len);
    buf_append_text(&m->head, "MIME-Version: 1.0\r\nTo: ");
    const char *domain = spec->message_id_domain;
    if (!domain) domain = strchr(m->from.address, '@') + 1;
    const char *problem = address_domain_check(domain, strlen(domain));
    if (problem) return err_make(ERR_CONFIG, 0, "message_id_domain: %s", problem);
    m->message_id_domain = mem_copy_text(domain);
    return err_none();
}

/* A template whose result stands in a header: its literals hold no control characters. */
static struct err compile_header(const char *name, const char *text, struct template **out)
{
    if (!text) return err_none();
    for (size_t i = 0; text[i]; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return err_make(ERR_CONFIG, 0, "%s: holds a line break or a control character", name);
    }
    return template_compile(&(struct template_source){name, text, strlen(text)}, NULL,
                            TEMPLATE_STRICT, out);
}

static struct err compile_url(const struct message_spec *spec, struct message *m)
{
    const char *name = "list_unsubscribe";
    TRY(compile_header(name, spec->list_unsubscribe, &m->list_unsubscribe));
    if (!m->list_unsubscribe) return err_none();
    size_t count;
    const struct template_node *nodes = template_nodes(m->list_unsubscribe, &count);
    if (!*spec->list_unsubscribe) return err_make(ERR_CONFIG, 0, "%s: is empty", name);
    if (nodes[0].kind == TEMPLATE_VARIABLE)
        return err_make(ERR_CONFIG, 0,
                        "%s: {{x}} is percent-encoded; write {{{x}}} for a whole URL", name);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; nodes[i].kind == TEMPLATE_LITERAL && j < nodes[i].len; j++) {
            char c = nodes[i].text[j];
            if (c <= ' ' || c >= 0x7f || c == '<' || c == '>')
                return err_make(ERR_CONFIG, 0, "%s: holds a character that a URL cannot have",
                                name);
        }
    }
    return err_none();
}

static struct err compile_part(const struct message_spec *spec, const char *name, const char *text,
                               enum template_escape escape, struct mime_part **out)
{
    static const struct template_partials none = {0};
    if (!text) return err_none();
    struct template_source source = {name, text, strlen(text)};
    return mime_part_compile(&source, spec->partials ? spec->partials : &none, escape, out);
}

static struct err compile_parts(const struct message_spec *spec, struct message *m)
{
    if (!spec->text && !spec->html)
        return err_make(ERR_CONFIG, 0, "the content has neither text nor html; give at least one");
    TRY(compile_part(spec, spec->text_name ? spec->text_name : "text", spec->text, TEMPLATE_PLAIN,
                     &m->text));
    return compile_part(spec, spec->html_name ? spec->html_name : "html", spec->html, TEMPLATE_HTML,
                        &m->html);
}

static struct err compile(const struct message_spec *spec, struct message *m)
{
    TRY(compile_addresses(m, spec));
    TRY(compile_header("to_name", spec->to_name, &m->to_name));
    if (!spec->subject) return err_make(ERR_CONFIG, 0, "subject is not given");
    TRY(compile_header("subject", spec->subject, &m->subject));
    TRY(compile_url(spec, m));
    TRY(compile_parts(spec, m));
    TRY(mime_frame_write(&m->frame, spec, m->text, m->html));
    return buf_check(&m->head, "the header");
}

struct err message_compile(const struct message_spec *spec, struct message **out)
{
    *out = NULL;
    struct message *m = mem_alloc(sizeof *m);
    *m = (struct message){0};
    buf_init(&m->head, HEADER_MAX);
    mime_frame_init(&m->frame);
    struct err e = compile(spec, m);
    if (e.code)
        message_free(m);
    else
        *out = m;
    return e;
}

void message_free(struct message *m)
{
    if (!m) return;
    template_free(m->to_name);
    template_free(m->subject);
    template_free(m->list_unsubscribe);
    mime_part_free(m->text);
    mime_part_free(m->html);
    buf_fini(&m->head);
    mime_frame_fini(&m->frame);
    free(m->message_id_domain);
    free(m);
}

unsigned message_templates(const struct message *m, struct message_template out[MESSAGE_TEMPLATES])
{
    const struct message_template all[MESSAGE_TEMPLATES] = {
        {"to_name", m->to_name},
        {"subject", m->subject},
        {"list_unsubscribe", m->list_unsubscribe},
        {"text", m->text ? mime_part_template(m->text) : NULL},
        {"html", m->html ? mime_part_template(m->html) : NULL},
    };
    unsigned n = 0;
    for (unsigned i = 0; i < MESSAGE_TEMPLATES; i++)
        if (all[i].template) out[n++] = all[i];
    return n;
}

const char *message_from(const struct message *m)
{
    return m->from.address;
}

bool message_is_utf8(const struct message *m)
{
    return m->utf8;
}

const char *message_id_domain(const struct message *m)
{
    return m->message_id_domain;
}

const char *message_files(const struct message *m, size_t *len)
{
    *len = m->frame.files.len;
    return m->frame.files.data;
}

void message_scratch_init(struct message_scratch *s, size_t max)
{
    *s = (struct message_scratch){0};
    buf_init(&s->value, max);
    buf_init(&s->spare, max);
}

void message_scratch_fini(struct message_scratch *s)
{
    buf_fini(&s->value);
    buf_fini(&s->spare);
}

static bool fail(const struct build *b, const char *what, const char *problem)
{
    snprintf(b->reason, b->reason_size, "%s %s", what, problem);
    return false;
}

static bool fail_template(const struct build *b, const struct template_trouble *trouble)
{
    template_explain(trouble, b->reason, b->reason_size);
    return false;
}

/* Refuses what could end a header line, and what is not UTF-8. */
static bool header_value_ok(const struct build *b, const char *name, const struct buf *value)
{
    if (value->too_big) return fail(b, name, "is too large");
    for (size_t i = 0; i < value->len; i++) {
        if (value->data[i] == '\r' || value->data[i] == '\n')
            return fail(b, name, "holds a line break, from one of its variables");
        if (value->data[i] == '\0')
            return fail(b, name, "holds a NUL byte, from one of its variables");
    }
    return encode_utf8_valid(value->data, value->len) || fail(b, name, "is not valid UTF-8");
}

static bool render_header(const struct build *b, const char *name, const struct template *t)
{
    struct template_trouble trouble;
    buf_reset(&b->s->value);
    if (!template_render(t, b->r->vars, TEMPLATE_PLAIN, &b->s->value, &trouble))
        return fail_template(b, &trouble);
    return header_value_ok(b, name, &b->s->value);
}

static bool build_to(const struct build *b)
{
    const struct message_recipient *r = b->r;
    const char *problem = address_check(r->to, r->to_len);
    if (problem) return fail(b, "the recipient cannot be addressed:", problem);
    size_t col = sizeof "To: " - 1, len = 0;
    const char *name = "";
    if (b->m->to_name) {
        if (!render_header(b, "to_name", b->m->to_name)) return false;
        name = b->s->value.data;
        len = b->s->value.len;
        while (len && *name == ' ') name++, len--;
        while (len && name[len - 1] == ' ') len--;
    }
    if (len) {
        col = encode_phrase(name, len, col, b->out);
        buf_append_text(b->out, col + r->to_len + 3 > COLUMNS ? "\r\n <" : " <");
    }
    buf_append(b->out, r->to, r->to_len);
    buf_append_text(b->out, len ? ">\r\n" : "\r\n");
    return true;
}

static bool build_subject(const struct build *b)
{
    if (!render_header(b, "subject", b->m->subject)) return false;
    buf_append_text(b->out, "Subject: ");
    encode_header(b->s->value.data, b->s->value.len, sizeof "Subject: " - 1, b->out);
    buf_append_text(b->out, "\r\n");
    return true;
}

/* RFC 5322 section 3.3, in UTC; formatted once a second. */
static bool build_date(const struct build *b)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct message_scratch *s = b->s;
    if (!s->date[0] || s->date_s != b->r->date_s) {
        struct tm tm;
        time_t when = (time_t)b->r->date_s;
        if (!gmtime_r(&when, &tm) || tm.tm_year < 0 || tm.tm_year > 9999 - 1900)
            return fail(b, "the date", "is out of range");
        snprintf(s->date, sizeof s->date, "%.3s, %02d %.3s %04d %02d:%02d:%02d +0000",
                 days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
        s->date_s = b->r->date_s;
    }
    buf_append_text(b->out, "Date: ");
    buf_append_text(b->out, s->date);
    return true;
}

static bool is_graphic(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] >= 0x7f || text[i] == '<' || text[i] == '>') return false;
    }
    return true;
}

static bool build_message_id(const struct build *b)
{
    size_t len = strlen(b->r->message_id);
    if (len == 0 || len > MESSAGE_ID_MAX || !is_graphic(b->r->message_id, len))
        return fail(b, "the message id", "is empty, too long or not printable");
    buf_append_text(b->out, "\r\nMessage-ID: <");
    buf_append(b->out, b->r->message_id, len);
    buf_append_text(b->out, ">\r\n");
    return true;
}

static bool render_url(const struct build *b)
{
    struct template_walk w;
    const struct template_node *node;
    struct buf *url = &b->s->value;
    buf_reset(url);
    template_walk_start(&w, b->m->list_unsubscribe, b->r->vars);
    while ((node = template_next(&w)) && !url->too_big) {
        if (node->kind == TEMPLATE_VARIABLE)
            encode_url(w.text, w.len, url);
        else
            buf_append(url, w.text, w.len);
    }
    return !w.trouble.problem || fail_template(b, &w.trouble);
}

/* RFC 2369 section 3.2 and, for one click over https, RFC 8058 section 3.1. */
static bool build_unsubscribe(const struct build *b)
{
    if (!b->m->list_unsubscribe) return true;
    const char *name = "the List-Unsubscribe URL";
    if (!render_url(b)) return false;
    struct buf *url = &b->s->value;
    if (url->too_big || url->len > URL_MAX) return fail(b, name, "is longer than 900 bytes");
    if (!is_graphic(url->data, url->len)) return fail(b, name, "holds a character it cannot have");
    bool https = url->len > 8 && strncasecmp(url->data, "https://", 8) == 0;
    bool other = (url->len > 7 && strncasecmp(url->data, "http://", 7) == 0) ||
                 (url->len > 7 && strncasecmp(url->data, "mailto:", 7) == 0);
    if (!https && !other) return fail(b, name, "is no https:, http: or mailto: URL");
    buf_append_text(b->out, "List-Unsubscribe: <");
    buf_append(b->out, url->data, url->len);
    buf_append_text(b->out, ">\r\n");
    if (https) buf_append_text(b->out, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    return true;
}

static bool build_part(const struct build *b, const struct buf *head, const struct mime_part *part)
{
    struct template_trouble trouble;
    buf_append(b->out, head->data, head->len);
    return mime_part_build(part, b->r->vars, &b->s->spare, b->out, &trouble) ||
           fail_template(b, &trouble);
}

static bool build_body(const struct build *b)
{
    const struct message *m = b->m;
    struct buf *out = b->out;
    if (!build_part(b, &m->frame.head, m->text ? m->text : m->html)) return false;
    if (m->text && m->html && !build_part(b, &m->frame.between, m->html)) return false;
    if (mime_frame_is_multipart(&m->frame))
        buf_append(out, m->frame.end.data, m->frame.end.len);
    else if (!out->too_big && out->data[out->len - 1] != '\n')
        buf_append(out, "\r\n", 2);
    if (!out->too_big) return true;
    snprintf(b->reason, b->reason_size, "the mail is larger than %zu bytes", out->max);
    return false;
}

bool message_build(const struct message *m, const struct message_recipient *r,
                   struct message_scratch *s, struct buf *out, char *reason, size_t reason_size)
{
    struct build b = {m, r, s, out, reason, reason_size};
    size_t start = out->len;
    bool was_too_big = out->too_big;
    buf_append(out, m->head.data, m->head.len);
    if (build_to(&b) && build_subject(&b) && build_date(&b) && build_message_id(&b) &&
        build_unsubscribe(&b) && build_body(&b))
        return true;
    out->len = start;
    out->too_big = was_too_big;
    return false;
}

bool message_show(const struct message *m, enum message_piece piece,
                  const struct message_recipient *r, struct message_scratch *s, struct buf *out)
{
    char reason[MESSAGE_REASON_SIZE];
    struct template_trouble trouble;
    struct build b = {m, r, s, out, reason, sizeof reason};
    const struct template *header = piece == MESSAGE_TO_NAME   ? m->to_name
                                    : piece == MESSAGE_SUBJECT ? m->subject
                                                               : m->list_unsubscribe;
    if (piece == MESSAGE_TEXT) return m->text && mime_part_render(m->text, r->vars, out, &trouble);
    if (piece == MESSAGE_HTML) return m->html && mime_part_render(m->html, r->vars, out, &trouble);
    if (!header) return false;
    if (piece == MESSAGE_LIST_UNSUBSCRIBE ? !render_url(&b) : !render_header(&b, "", header))
        return false;
    buf_append(out, s->value.data, s->value.len);
    return true;
}
