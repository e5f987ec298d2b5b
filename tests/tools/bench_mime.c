/* What building a mail costs: mails of about 2 kB with three variables. Usage: bench_mime [MAILS].
 * Prints size and nanoseconds a mail; no threshold, figures for people to compare. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/mime.h"

enum { MAIL_MAX = 1 << 20, REPEAT = 6 };

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

int main(int argc, char **argv)
{
    long mails = argc > 1 ? strtol(argv[1], NULL, 10) : 500000;
    if (mails < 1) return 2;
    notices(mails);
}
