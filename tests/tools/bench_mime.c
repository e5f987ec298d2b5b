/* What building a mail costs. Usage: bench_mime [MAILS]. No threshold, figures for people to
 * compare. First mails of about 2 kB with three variables: size and nanoseconds a mail. Then a
 * newsletter with a language, preferences and a list of ten items, the same text in three forms,
 * measured in turns (the least counts): from sections and partials; from plain variables, one for
 * each place; and from plain variables with the whole list in one. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/mime.h"

enum { MAIL_MAX = 1 << 20, REPEAT = 6, ITEMS = 10, ROUNDS = 7 };

/* One kind of mail, ready to be built. */
struct bench {
    struct message *message;
    const struct value *vars;
    struct message_scratch scratch;
    struct buf out;
};

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void check(struct err e)
{
    if (!e.code) return;
    fprintf(stderr, "%s\n", e.text);
    exit(1);
}

static void bench_init(struct bench *b, const struct message_spec *spec, const struct value *vars)
{
    check(message_compile(spec, &b->message));
    b->vars = vars;
    message_scratch_init(&b->scratch, MAIL_MAX);
    buf_init(&b->out, MAIL_MAX);
}

static void bench_fini(struct bench *b)
{
    message_scratch_fini(&b->scratch);
    buf_fini(&b->out);
    message_free(b->message);
}

/* Nanoseconds a mail. */
static double measure(struct bench *b, long mails)
{
    char reason[MESSAGE_REASON_SIZE];
    struct message_recipient r = {.to = "ada.lovelace@example.org",
                                  .to_len = 24,
                                  .vars = b->vars,
                                  .message_id = "1kf3.12.7.3@example.com"};
    double start = now_ns();
    for (long i = 0; i < mails; i++) {
        buf_reset(&b->out);
        r.date_s = 1700000000 + i / 50000;
        if (!message_build(b->message, &r, &b->scratch, &b->out, reason, sizeof reason)) {
            fprintf(stderr, "%s\n", reason);
            exit(1);
        }
    }
    return (now_ns() - start) / (double)mails;
}

static void report(const char *what, const struct message_spec *spec, const struct value *vars,
                   long mails)
{
    struct bench b;
    bench_init(&b, spec, vars);
    double ns = measure(&b, mails);
    printf("%-24s %5zu bytes %6.0f ns/mail\n", what, b.out.len, ns);
    bench_fini(&b);
}

static void fill(struct buf *out, const char *head, const char *line)
{
    buf_append_text(out, head);
    for (int i = 0; i < REPEAT; i++) buf_append_text(out, line);
}

static void notices(long mails)
{
    static const struct value_field fields[] = {
        {"name", 4, {.kind = VALUE_TEXT, .len = 13, .text = "Ada L. & Sons"}},
        {"order", 5, {.kind = VALUE_NUMBER, .len = 6, .text = "481516"}},
        {"link", 4, {.kind = VALUE_TEXT, .len = 34, .text = "https://example.com/o/481516?t=abc"}},
    };
    static const struct value vars = {.kind = VALUE_MAP, .len = 3, .fields = fields};
    struct buf text, html, korean;
    buf_init(&text, MAIL_MAX);
    buf_init(&html, MAIL_MAX);
    buf_init(&korean, MAIL_MAX);
    fill(&text, "Dear {{name}},\n\nyour order {{order}} is on its way. See {{link}} for more.\n\n",
         "The parcel leaves our house tomorrow morning and should be with you soon.\n");
    fill(&html,
         "<html><body><p>Dear {{name}},</p>\n<p>your order <b>{{order}}</b>: "
         "<a href=\"{{link}}\">follow it</a></p>\n",
         "<p style=\"margin:0\">The parcel leaves our house <i>tomorrow</i> morning.</p>\n");
    fill(&korean, "{{name}} 님, 주문 {{order}} 번이 발송되었습니다. {{link}}\n",
         "소포는 내일 아침에 저희 집을 떠나 곧 도착할 예정입니다. 감사합니다.\n");
    struct message_spec spec = {.from = "Mill & Sons <news@example.com>",
                                .to_name = "{{name}}",
                                .subject = "Order {{order}} is on its way",
                                .text = buf_text(&text),
                                .html = buf_text(&html),
                                .list_unsubscribe = "https://example.com/u/{{order}}"};
    report("text and html", &spec, &vars, mails);
    spec.html = NULL;
    report("text", &spec, &vars, mails);
    spec.subject = "주문 {{order}} 번이 발송되었습니다";
    spec.text = buf_text(&korean);
    spec.html = buf_text(&korean);
    report("Korean text and html", &spec, &vars, mails);
    buf_fini(&text);
    buf_fini(&html);
    buf_fini(&korean);
}

/* The newsletter: what both forms have in common, and what is a partial or a section in the one. */
#define TEXT_HEAD                   "THE MILL, NEWS OF THE WEEK\n\n"
#define TEXT_HELLO                  "Dear {{name}}, here is what happened in {{city}}.\n\n"
#define TEXT_ITEM(url, title, city) "* " title " (" city ")\n  " url "\n"
#define TEXT_OFFERS                                                                                \
    "\nOffers for you:\nThis week all flour of the old mill is a third off, as long as it "        \
    "lasts.\n"
#define TEXT_FOOT "\n--\nThe Mill, 1 Mill Road, Millford. You get this because you asked for it.\n"
#define HTML_HEAD                                                                                  \
    "<!doctype html>\n<html><head><meta charset=\"utf-8\"><style>body { font: 16px sans-serif; "   \
    "}\n"                                                                                          \
    "a { color: #336; } li { margin: 4px; }</style></head>\n<body>\n<h1>News of the week</h1>\n"
#define HTML_HELLO                  "<p>Dear <b>{{name}}</b>, here is what happened in {{city}}.</p>\n<ul>\n"
#define HTML_ITEM(url, title, city) "<li><a href=\"" url "\">" title "</a> <i>" city "</i></li>\n"
#define HTML_OFFERS                                                                                \
    "<h2>Offers for you</h2>\n<p>This week all flour of the old mill is a third off,\n"            \
    "as long as it lasts.</p>\n"
#define HTML_FOOT                                                                                  \
    "<p style=\"color: #777\">The Mill, 1 Mill Road, Millford. You get this because you asked\n"   \
    "for it.</p>\n</body></html>\n"
#define GERMAN "Guten Tag {{name}}, das ist in {{city}} geschehen.\n\n"

static const struct template_source partial_files[] = {
    {"head.txt", TEXT_HEAD, sizeof TEXT_HEAD - 1},
    {"foot.txt", TEXT_FOOT, sizeof TEXT_FOOT - 1},
    {"head.html", HTML_HEAD, sizeof HTML_HEAD - 1},
    {"foot.html", HTML_FOOT, sizeof HTML_FOOT - 1},
};
static const struct template_partials partials = {partial_files, 4};

#define SECTIONS(hello, item, end, offers)                                                         \
    "{{> head}}\n{{#de}}\n" GERMAN "{{/de}}\n{{^de}}\n" hello "{{/de}}\n{{#news}}\n"               \
    "{{#items}}\n" item "{{/items}}\n{{/news}}\n" end "{{#offers}}\n" offers "{{/offers}}\n"       \
    "{{#events}}\n" GERMAN "{{/events}}\n{{> foot}}\n"

static struct value text_value(const char *text)
{
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)strlen(text), .text = text};
}

static struct value_field field(const char *name, struct value value)
{
    return (struct value_field){name, (uint32_t)strlen(name), value};
}

/* One of the three forms. */
struct form {
    const char *what;
    struct buf text, html;
    struct value vars;
    struct bench bench;
    double ns;
};
enum { SECTIONS_FORM, PLACES_FORM, WHOLE_FORM, FORMS };

static char words[ITEMS][3][80], names[ITEMS][3][16];
static struct value items[ITEMS];
static struct value_field item_fields[ITEMS][3], section_vars[7], place_vars[2 + 3 * ITEMS],
    whole_vars[4];

static void fill_items(void)
{
    static const char *const parts[] = {"url", "title", "city"};
    for (size_t i = 0; i < ITEMS; i++) {
        snprintf(words[i][0], sizeof words[i][0], "https://example.com/news/2026/%zu?from=mail", i);
        snprintf(words[i][1], sizeof words[i][1], "Item %zu: the mill turns again", i);
        snprintf(words[i][2], sizeof words[i][2], "Millford %zu", i);
        for (size_t k = 0; k < 3; k++) {
            snprintf(names[i][k], sizeof names[i][k], "%s_%zu", parts[k], i);
            item_fields[i][k] = field(parts[k], text_value(words[i][k]));
            place_vars[2 + 3 * i + k] = field(names[i][k], text_value(words[i][k]));
        }
        items[i] = (struct value){.kind = VALUE_MAP, .len = 3, .fields = item_fields[i]};
    }
}

/* The whole list as two texts, which become variables. */
static void write_list(struct buf *text, struct buf *html)
{
    for (size_t i = 0; i < ITEMS; i++) {
        buf_append_format(text, TEXT_ITEM("%s", "%s", "%s"), words[i][1], words[i][2], words[i][0]);
        buf_append_format(html, HTML_ITEM("%s", "%s", "%s"), words[i][0], words[i][1], words[i][2]);
    }
}

static void fill_vars(struct form *forms, struct buf *text_list, struct buf *html_list)
{
    fill_items();
    write_list(text_list, html_list);
    section_vars[0] = place_vars[0] = whole_vars[0] = field("name", text_value("Ada L. & Sons"));
    section_vars[1] = place_vars[1] = whole_vars[1] = field("city", text_value("Millford"));
    section_vars[2] = field("de", (struct value){.kind = VALUE_FALSE});
    section_vars[3] = field("news", (struct value){.kind = VALUE_TRUE});
    section_vars[4] = field("offers", (struct value){.kind = VALUE_TRUE});
    section_vars[5] = field("events", (struct value){.kind = VALUE_FALSE});
    section_vars[6] =
        field("items", (struct value){.kind = VALUE_LIST, .len = ITEMS, .items = items});
    whole_vars[2] = field("text_list", text_value(buf_text(text_list)));
    whole_vars[3] = field("html_list", text_value(buf_text(html_list)));
    forms[SECTIONS_FORM].vars = (struct value){.kind = VALUE_MAP, .len = 7, .fields = section_vars};
    forms[PLACES_FORM].vars =
        (struct value){.kind = VALUE_MAP, .len = 2 + 3 * ITEMS, .fields = place_vars};
    forms[WHOLE_FORM].vars = (struct value){.kind = VALUE_MAP, .len = 4, .fields = whole_vars};
}

static void write_forms(struct form *forms)
{
    struct form *f = &forms[SECTIONS_FORM];
    buf_append_text(&f->text, SECTIONS(TEXT_HELLO, TEXT_ITEM("{{url}}", "{{title}}", "{{city}}"),
                                       "", TEXT_OFFERS));
    buf_append_text(&f->html, SECTIONS(HTML_HELLO, HTML_ITEM("{{url}}", "{{title}}", "{{city}}"),
                                       "</ul>\n", HTML_OFFERS));
    f = &forms[PLACES_FORM];
    buf_append_text(&f->text, TEXT_HEAD TEXT_HELLO);
    buf_append_text(&f->html, HTML_HEAD HTML_HELLO);
    for (int i = 0; i < ITEMS; i++) {
        buf_append_format(&f->text, TEXT_ITEM("{{url_%d}}", "{{title_%d}}", "{{city_%d}}"), i, i,
                          i);
        buf_append_format(&f->html, HTML_ITEM("{{url_%d}}", "{{title_%d}}", "{{city_%d}}"), i, i,
                          i);
    }
    buf_append_text(&f->text, TEXT_OFFERS TEXT_FOOT);
    buf_append_text(&f->html, "</ul>\n" HTML_OFFERS HTML_FOOT);
    f = &forms[WHOLE_FORM];
    buf_append_text(&f->text, TEXT_HEAD TEXT_HELLO "{{text_list}}" TEXT_OFFERS TEXT_FOOT);
    buf_append_text(&f->html, HTML_HEAD HTML_HELLO "{{{html_list}}}</ul>\n" HTML_OFFERS HTML_FOOT);
}

static void render(const char *file, struct buf *text, const struct value *vars, struct buf *out)
{
    struct template *t;
    struct template_trouble trouble;
    struct template_source source = {file, buf_text(text), text->len};
    check(template_compile(&source, &partials, TEMPLATE_STRICT, &t));
    if (!template_render(t, vars, TEMPLATE_HTML, out, &trouble)) abort();
    template_free(t);
}

/* All forms give the same text, or the figures would mean nothing. */
static void compare(struct form *f, struct form *first)
{
    struct buf a, b;
    buf_init(&a, MAIL_MAX);
    buf_init(&b, MAIL_MAX);
    render("n.txt", &f->text, &f->vars, &a);
    render("n.html", &f->html, &f->vars, &a);
    render("n.txt", &first->text, &first->vars, &b);
    render("n.html", &first->html, &first->vars, &b);
    if (strcmp(buf_text(&a), buf_text(&b)) != 0) {
        fprintf(stderr, "%s:\n%s\n---- not:\n%s\n", f->what, buf_text(&a), buf_text(&b));
        exit(1);
    }
    buf_fini(&a);
    buf_fini(&b);
}

static void newsletter(long mails)
{
    struct form forms[FORMS] = {{.what = "newsletter, sections"},
                                {.what = "newsletter, variables"},
                                {.what = "newsletter, one list"}};
    struct buf lists[2];
    for (int i = 0; i < 2; i++) buf_init(&lists[i], MAIL_MAX);
    for (int i = 0; i < FORMS; i++) {
        buf_init(&forms[i].text, MAIL_MAX);
        buf_init(&forms[i].html, MAIL_MAX);
    }
    fill_vars(forms, &lists[0], &lists[1]);
    write_forms(forms);
    for (int i = 0; i < FORMS; i++) {
        struct form *f = &forms[i];
        compare(f, &forms[0]);
        struct message_spec spec = {.from = "Mill & Sons <news@example.com>",
                                    .to_name = "{{name}}",
                                    .subject = "News for {{name}}",
                                    .text = buf_text(&f->text),
                                    .html = buf_text(&f->html),
                                    .text_name = "n.txt",
                                    .html_name = "n.html",
                                    .partials = &partials};
        bench_init(&f->bench, &spec, &f->vars);
        f->ns = measure(&f->bench, mails / ROUNDS + 1);
    }
    for (int round = FORMS; round < ROUNDS * FORMS; round++) {
        struct form *f = &forms[round % FORMS];
        double ns = measure(&f->bench, mails / ROUNDS + 1);
        if (ns < f->ns) f->ns = ns;
    }
    for (int i = 0; i < FORMS; i++) {
        struct form *f = &forms[i];
        printf("%-24s %5zu bytes %6.0f ns/mail, sections %+.0f\n", f->what, f->bench.out.len, f->ns,
               forms[SECTIONS_FORM].ns - f->ns);
        bench_fini(&f->bench);
        buf_fini(&f->text);
        buf_fini(&f->html);
    }
    for (int i = 0; i < 2; i++) buf_fini(&lists[i]);
}

int main(int argc, char **argv)
{
    long mails = argc > 1 ? strtol(argv[1], NULL, 10) : 500000;
    if (mails < 1) return 2;
    notices(mails);
    newsletter(mails);
}
