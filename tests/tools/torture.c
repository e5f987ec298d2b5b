/* Goes once through what common/ offers, so that a test can make every allocation and every call of
 * the operating system in it fail (tests/preload/faillib.c).
 *   torture pure              templates, mails, chunks, contents: prints a hash of all results
 *   torture db NUMBER         inserts row NUMBER into table torture, reads it back, by the second
 *                             connection of the program; db-cold: by the first
 *   torture broker NUMBER     publishes a message to lane kept, sends one through lane passed
 * Where the services are is in the environment: MAILFLOCK_BROKER_*, MAILFLOCK_DATABASE_*.
 * Prints what is certain as soon as it is: "committed", "confirmed"; last "ok" (exit 0), or one
 * line "err ..." (exit 1). */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/broker.h"
#include "common/chunk.h"
#include "common/clock.h"
#include "common/content.h"
#include "common/db.h"
#include "common/mime.h"
#include "common/template.h"

#define WORD "it's \"quoted\" \\ 환영"
enum { WORD_CHARACTERS = 18 };

enum { RECIPIENTS = 8, IO_MS = 10000, LIMIT = 1000000 };

__attribute__((weak)) void faillib_begin(void);

static struct value_field fields[] = {
    {"name", 4, {.kind = VALUE_TEXT, .len = 9, .text = "Zoë <Å>"}},
    {"n", 1, {.kind = VALUE_NUMBER, .len = 4, .text = "3.50"}},
};
static const struct value vars = {.kind = VALUE_MAP, .len = 2, .fields = fields};

#define LINE "{{#n}}\n  [{{.}}]{{>end}}\n{{/n}}\n"
static const struct template_source partial_files[] = {{"line.txt", LINE, sizeof LINE - 1},
                                                       {"end.txt", "{{name}}.", 9}};
static const struct template_partials partials = {partial_files, 2};

static uint64_t hash = 14695981039346656037u; /* FNV-1a, 64 bit */

static void take_result(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211u;
}

static struct err not_so(const char *what)
{
    return err_make(ERR_STATE, 0, "wrong result: %s", what);
}

/* A long text, so that buffers grow. */
static void write_long(struct buf *out, const char *line)
{
    for (int i = 0; i < 200; i++) buf_append_format(out, "%s %d\n", line, i);
}

static struct err templates(struct buf *text, struct buf *out)
{
    struct template *t;
    struct template_trouble trouble;
    TRY(template_compile(&(struct template_source){"torture.txt", buf_text(text), text->len},
                         &partials, TEMPLATE_STRICT, &t));
    bool whole = template_render(t, &vars, TEMPLATE_HTML, out, &trouble);
    template_free(t);
    take_result(out->data, out->len);
    return whole ? buf_check(out, "the text") : not_so("a template misses a variable");
}

static struct err mails(struct buf *text, struct buf *out)
{
    struct message_spec spec = {.from = "Mailflock <news@example.com>",
                                .to_name = "{{name}}",
                                .subject = "Hello {{name}}, 환영합니다",
                                .text = buf_text(text),
                                .html = buf_text(text),
                                .text_name = "torture.txt",
                                .html_name = "torture.txt",
                                .partials = &partials,
                                .list_unsubscribe = "https://example.com/{{n}}"};
    struct message_recipient to = {
        .to = "a@b.example", .to_len = 11, .vars = &vars, .message_id = "1.2@example.com"};
    struct message_scratch scratch;
    struct message *m;
    char reason[MESSAGE_REASON_SIZE];
    TRY(message_compile(&spec, &m));
    message_scratch_init(&scratch, 1 << 20);
    bool built = message_build(m, &to, &scratch, out, reason, sizeof reason);
    message_scratch_fini(&scratch);
    message_free(m);
    take_result(out->data, out->len);
    return built ? err_none() : not_so(reason);
}

static void write_chunk(struct buf *out)
{
    uint64_t digest = chunk_digest_start();
    chunk_write_start(out, 12, 7, 1);
    for (uint32_t i = 0; i < RECIPIENTS; i++) {
        char id[16];
        int len = snprintf(id, sizeof id, "%u", i);
        digest = chunk_digest_add(digest, id, (size_t)len);
        chunk_write_recipient(out, i, id, (size_t)len, "a@b.example", 11);
        chunk_write_var_name(out, "all", 3);
        chunk_write_value(out, &vars);
        chunk_write_recipient_end(out, i % 7 ? NULL : "no good");
    }
    chunk_write_end(out, digest);
}

static struct err chunks(struct buf *out)
{
    struct chunk_message m;
    write_chunk(out);
    TRY(buf_check(out, "the chunk"));
    TRY(chunk_decode(out->data, out->len, &m));
    bool same = m.run == 12 && m.chunk == 7 && m.n == RECIPIENTS;
    buf_reset(out);
    for (uint32_t i = 0; i < m.n; i++) chunk_write_value(out, &m.recipients[i].vars);
    chunk_fini(&m);
    take_result(out->data, out->len);
    if (!same) return not_so("a decoded chunk");
    static const char json[] = "{\"a\":[1,2,{\"b\":\"c\"}]}";
    return chunk_json_valid(json, sizeof json - 1) ? err_none() : not_so("JSON is no JSON");
}

static struct err contents(struct buf *text, struct buf *out)
{
    struct content c = {.campaign = "welcome",
                        .from = "a@b.example",
                        .reply_to = "",
                        .to_name = "",
                        .subject = "s",
                        .text = buf_text(text),
                        .html = "",
                        .list_unsubscribe = "",
                        .transport = "relay",
                        .lane = "bulk",
                        .text_name = "torture.txt",
                        .html_name = "",
                        .partials = partials,
                        .has_text = true,
                        .max_attempts = 3,
                        .max_age_s = 3600,
                        .n_delays = 2,
                        .delays_s = {60, 300}};
    struct content again;
    content_encode(&c, out);
    TRY(buf_check(out, "the content"));
    TRY(content_decode(out->data, out->len, &again));
    size_t len = out->len;
    content_encode(&again, out);
    content_fini(&again);
    take_result(out->data, out->len);
    return out->len == 2 * len && memcmp(out->data, out->data + len, len) == 0
               ? err_none()
               : not_so("a content that was encoded, decoded and encoded again");
}

static struct err pure(long number)
{
    struct buf text, out;
    struct err e;
    (void)number;
    buf_init(&text, 1 << 20);
    buf_init(&out, 4 << 20);
    write_long(&text, "Dear {{name}}, 안녕하세요, you have {{{n}}} of");
    buf_append_text(&text, "{{^gone}}\n {{>line}}\n{{/gone}}\n");
    e = templates(&text, &out);
    buf_reset(&out);
    if (!e.code) e = mails(&text, &out);
    buf_reset(&out);
    if (!e.code) e = chunks(&out);
    buf_reset(&out);
    if (!e.code) e = contents(&text, &out);
    buf_fini(&out);
    buf_fini(&text);
    if (!e.code) printf("hash %016llx\n", (unsigned long long)hash);
    return e;
}

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    if (value) return value;
    fprintf(stderr, "torture: %s is not set\n", name);
    exit(2);
}

static int number_from_environment(const char *name)
{
    return (int)strtol(from_environment(name), NULL, 10);
}

static struct err statements(struct db *db, long number)
{
    struct buf sql;
    struct db_result *r;
    uint64_t matched;
    TRY(db_exec_text(db, "START TRANSACTION", NULL));
    buf_init(&sql, 1 << 16);
    buf_append_format(&sql, "INSERT INTO torture VALUES (%ld, ", number);
    db_quote(db, &sql, WORD);
    buf_append_text(&sql, ")");
    struct err e = db_exec(db, &sql, &matched);
    buf_fini(&sql);
    if (e.code) return e;
    if (matched != 1) return not_so("rows inserted");
    TRY(db_exec_text(db, "COMMIT", NULL));
    printf("committed %ld\n", number);
    /* The length tells whether the server took it for UTF-8. */
    TRY(db_queryf(db, &r, "SELECT CHAR_LENGTH(word), word FROM torture WHERE number = %ld",
                  number));
    bool same = db_rows(r) == 1 && db_next(r) && db_i64(r, 0) == WORD_CHARACTERS &&
                strcmp(db_text(r, 1), WORD) == 0 && !db_next(r);
    db_result_free(r);
    return same ? err_none() : not_so("the row read back");
}

static struct err open_database(struct db **out)
{
    struct db_config config = {.host = from_environment("MAILFLOCK_DATABASE_HOST"),
                               .port = number_from_environment("MAILFLOCK_DATABASE_PORT"),
                               .name = from_environment("MAILFLOCK_DATABASE_NAME"),
                               .user = from_environment("MAILFLOCK_DATABASE_USER"),
                               .password = from_environment("MAILFLOCK_DATABASE_PASSWORD"),
                               .connect_timeout_ms = IO_MS,
                               .io_timeout_ms = IO_MS,
                               .program = "torture"};
    return db_open(out, &config);
}

static struct err database(long number)
{
    struct db *db;
    TRY(open_database(&db));
    struct err e = statements(db, number);
    db_close(db);
    return e;
}

/* The client library and what is below it prepare themselves at the first use. */
static void warm_database(void)
{
    struct db *db;
    struct err e = open_database(&db);
    if (!e.code) db_close(db);
}

/* The first event of that kind. */
static struct err await(struct broker *b, enum broker_event_kind kind, struct broker_event *event)
{
    int64_t until_us = clock_boot_us() + 2 * IO_MS * 1000;
    while (clock_boot_us() < until_us) {
        TRY(broker_next(b, 100, event));
        if (event->kind == kind) return err_none();
        if (event->kind == BROKER_REFUSED) return err_make(ERR_BROKER, 0, "%s", event->reason);
    }
    return err_make(ERR_TIMEOUT, 0, "RabbitMQ did not answer");
}

static struct err publish(struct broker *b, const char *lane, const char *id)
{
    struct broker_header header = {"x-torture", id};
    struct broker_message m = {.message_id = id,
                               .exchange = BROKER_EXCHANGE,
                               .routing_key = lane,
                               .body = id,
                               .body_len = strlen(id),
                               .headers = &header,
                               .n_headers = 1};
    struct broker_event event;
    uint64_t tag;
    TRY(broker_publish(b, &m, &tag));
    TRY(await(b, BROKER_CONFIRMED, &event));
    return event.publish_tag == tag ? err_none() : not_so("the confirm's tag");
}

/* In lane passed may lie what earlier runs left there; the body tells which message it is. */
static struct err consume(struct broker *b)
{
    struct broker_event event;
    char header[32], body[32] = "";
    TRY(broker_consume(b, 0, "passed", 1));
    TRY(await(b, BROKER_DELIVERY, &event));
    if (event.body_len >= sizeof body) return not_so("the body's size");
    memcpy(body, event.body, event.body_len);
    if (strcmp(body, event.message_id) != 0) return not_so("the body");
    if (!broker_header_get(b, "x-torture", header, sizeof header) || strcmp(header, body) != 0)
        return not_so("the header");
    TRY(broker_ack(b, event.delivery_tag));
    return broker_consume_stop(b, 0);
}

static struct err messages(struct broker *b, long number)
{
    const int delay_s = 1;
    uint32_t ready, consumers;
    char id[32];
    snprintf(id, sizeof id, "%ld", number);
    TRY(broker_declare_queue(b, "kept", LIMIT));
    TRY(broker_declare_queue(b, "passed", LIMIT));
    TRY(broker_declare_delays(b, &delay_s, 1));
    TRY(publish(b, "kept", id));
    printf("confirmed %ld\n", number);
    TRY(broker_queue_counts(b, "mailflock.kept", &ready, &consumers));
    TRY(publish(b, "passed", id));
    return consume(b);
}

static struct err broker(long number)
{
    struct broker *b;
    struct broker_config config = {.host = from_environment("MAILFLOCK_BROKER_HOST"),
                                   .port = number_from_environment("MAILFLOCK_BROKER_PORT"),
                                   .vhost = from_environment("MAILFLOCK_BROKER_VHOST"),
                                   .user = from_environment("MAILFLOCK_BROKER_USER"),
                                   .password = from_environment("MAILFLOCK_BROKER_PASSWORD"),
                                   .connect_timeout_ms = IO_MS,
                                   .rpc_timeout_ms = IO_MS,
                                   .name = "torture"};
    TRY(broker_open(&b, &config));
    struct err e = messages(b, number);
    broker_close(b);
    return e;
}

static const struct {
    const char *name;
    struct err (*run)(long number);
    void (*warm)(void); /* before anything fails */
} PARTS[] = {{"pure", pure, NULL},
             {"db", database, warm_database},
             {"db-cold", database, NULL},
             {"broker", broker, NULL}};

int main(int argc, char **argv)
{
    static char out[4096]; /* so that printing needs no memory */
    long number = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    setvbuf(stdout, out, _IOLBF, sizeof out);
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++) {
        if (argc < 2 || strcmp(argv[1], PARTS[i].name) != 0) continue;
        /* Not ours: the C library itself dies where it has no memory for its tables of names. */
        getservbyname("mysql", "tcp");
        if (PARTS[i].warm) PARTS[i].warm();
        if (faillib_begin) faillib_begin();
        struct err e = PARTS[i].run(number);
        if (!e.code)
            puts("ok");
        else
            printf("err code=%d native=%d text=%s\n", (int)e.code, e.native, e.text);
        return e.code ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    fputs("usage: torture pure | db NUMBER | db-cold NUMBER | broker NUMBER\n", stderr);
    return 2;
}
