/* Drives common/broker from a test: one command per line on stdin, one answer line on stdout.
 *   open HOST PORT VHOST USER PASSWORD [heartbeat=S window=N max_body=N rpc_ms=N connect_ms=N
 * confirm_ms=N name=S tls=CAFILE|-] declare KEY LIMIT [DELAY...]    consume KEY PREFETCH [CONSUMER]
 * stop [CONSUMER]    counts QUEUE publish EXCHANGE KEY ID SIZE [HEADER=VALUE]
 * flood COUNT SIZE KEY next MS    header NAME    ack TAG    reject TAG    state    close
 * Answers begin with "ok", "event" or "err"; values are k=v, the last one may hold blanks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/broker.h"
#include "common/clock.h"

enum { WORDS_MAX = 32 };

static struct broker *broker;
static char *words[WORDS_MAX];
static int n_words;

static const char *word(int i)
{
    return i < n_words ? words[i] : "";
}

static int number(int i)
{
    return (int)strtol(word(i), NULL, 10);
}

static void answer(struct err e)
{
    if (e.code)
        printf("err code=%d permanent=%d native=%d text=%s\n", (int)e.code,
               broker_err_is_permanent(&e), e.native, e.text);
    else
        printf("ok\n");
}

static void take_option(struct broker_config *c, char *option)
{
    char *value = strchr(option, '=');
    if (!value) return;
    *value++ = '\0';
    if (strcmp(option, "heartbeat") == 0) c->heartbeat_s = (int)strtol(value, NULL, 10);
    if (strcmp(option, "window") == 0) c->window = (int)strtol(value, NULL, 10);
    if (strcmp(option, "rpc_ms") == 0) c->rpc_timeout_ms = (int)strtol(value, NULL, 10);
    if (strcmp(option, "confirm_ms") == 0) c->confirm_timeout_ms = (int)strtol(value, NULL, 10);
    if (strcmp(option, "connect_ms") == 0) c->connect_timeout_ms = (int)strtol(value, NULL, 10);
    if (strcmp(option, "max_body") == 0) c->max_body = strtoul(value, NULL, 10);
    if (strcmp(option, "name") == 0) c->name = value;
    if (strcmp(option, "tls") == 0) {
        c->tls = true;
        c->tls_verify = *value != '-';
        c->ca_file = value;
    }
}

static void do_open(void)
{
    struct broker_config c = {.host = word(1),
                              .port = number(2),
                              .vhost = word(3),
                              .user = word(4),
                              .password = word(5),
                              .name = "broker_probe"};
    for (int i = 6; i < n_words; i++) take_option(&c, words[i]);
    broker_close(broker);
    answer(broker_open(&broker, &c));
}

static void do_declare(void)
{
    int delays[WORDS_MAX];
    for (int i = 3; i < n_words; i++) delays[i - 3] = number(i);
    struct err e = broker_declare_queue(broker, word(1), number(2));
    if (!e.code && n_words > 3) e = broker_declare_delays(broker, delays, n_words - 3);
    answer(e);
}

/* A body whose bytes tell their place, so that a wrongly assembled one is seen. */
static char *make_body(size_t size)
{
    char *body = malloc(size + 1);
    if (!body) abort();
    for (size_t i = 0; i < size; i++) body[i] = (char)('a' + (i / 7 + i) % 26);
    return body;
}

static bool body_is_right(const char *body, size_t size)
{
    char *want = make_body(size);
    bool right = memcmp(body, want, size) == 0;
    free(want);
    return right;
}

static void do_publish(void)
{
    char *value = strchr(n_words > 5 ? words[5] : "", '=');
    if (value) *value++ = '\0';
    struct broker_header header = {word(5), value};
    size_t size = strtoul(word(4), NULL, 10);
    struct broker_message m = {.message_id = word(3),
                               .exchange = word(1),
                               .routing_key = word(2),
                               .body = make_body(size),
                               .body_len = size,
                               .headers = &header,
                               .n_headers = value ? 1 : 0};
    uint64_t tag = 0;
    struct err e = broker_publish(broker, &m, &tag);
    free((void *)m.body);
    if (e.code)
        answer(e);
    else
        printf("ok tag=%llu\n", (unsigned long long)tag);
}

static const char *const kinds[] = {"none",      "delivery", "confirmed", "refused",
                                    "cancelled", "blocked",  "unblocked", "lost"};

static void do_next(void)
{
    struct broker_event v;
    struct err e = broker_next(broker, number(1), &v);
    printf("event kind=%s code=%d permanent=%d", kinds[v.kind], (int)e.code,
           broker_err_is_permanent(&e));
    if (v.publish_tag) printf(" tag=%llu", (unsigned long long)v.publish_tag);
    if (v.kind == BROKER_CANCELLED) printf(" consumer=%d", v.consumer);
    if (v.kind == BROKER_DELIVERY)
        printf(" consumer=%d tag=%llu redelivered=%d count=%ld id=%s key=%s len=%zu body=%s",
               v.consumer, (unsigned long long)v.delivery_tag, v.redelivered, v.delivery_count,
               v.message_id, v.routing_key, v.body_len,
               !v.body                             ? "none"
               : body_is_right(v.body, v.body_len) ? "right"
                                                   : "wrong");
    printf(" reason=%s\n", v.reason);
}

struct flood {
    int sent, confirmed, refused, strange, waits;
    unsigned char *seen;
};

static struct err count_event(struct flood *f, int timeout_ms, int count)
{
    struct broker_event v;
    TRY(broker_next(broker, timeout_ms, &v));
    if (v.publish_tag) {
        if (v.publish_tag > (uint64_t)count || f->seen[v.publish_tag]++) f->strange++;
        f->confirmed += v.kind == BROKER_CONFIRMED;
        f->refused += v.kind == BROKER_REFUSED;
    }
    return err_none();
}

static struct err flood(struct flood *f, int count, struct broker_message *m)
{
    char id[32];
    m->message_id = id;
    while (f->sent < count || broker_unconfirmed(broker)) {
        struct err e = {.code = ERR_TIMEOUT};
        if (f->sent < count) {
            uint64_t tag;
            snprintf(id, sizeof id, "1/%d/1", f->sent);
            e = broker_publish(broker, m, &tag);
            if (e.code && e.code != ERR_TIMEOUT) return e;
            f->sent += !e.code;
            f->waits += e.code != 0;
        }
        TRY(count_event(f, e.code ? 10000 : 0, count));
    }
    return err_none();
}

/* flood: needs a connection that has not published yet. */
static void do_flood(void)
{
    int count = number(1);
    size_t size = strtoul(word(2), NULL, 10);
    struct flood f = {.seen = calloc((size_t)count + 1, 1)};
    if (!f.seen) abort();
    struct broker_message m = {
        .exchange = BROKER_EXCHANGE, .routing_key = word(3), .body = make_body(size)};
    m.body_len = size;
    int64_t start_us = clock_boot_us();
    struct err e = flood(&f, count, &m);
    if (e.code)
        answer(e);
    else
        printf("ok sent=%d confirmed=%d refused=%d strange=%d waits=%d ms=%lld\n", f.sent,
               f.confirmed, f.refused, f.strange, f.waits,
               (long long)(clock_boot_us() - start_us) / 1000);
    free((void *)m.body);
    free(f.seen);
}

static void do_counts(void)
{
    uint32_t ready = 0, consumers = 0;
    struct err e = broker_queue_counts(broker, word(1), &ready, &consumers);
    if (e.code)
        answer(e);
    else
        printf("ok ready=%u consumers=%u\n", ready, consumers);
}

static void do_header(void)
{
    char value[256] = "";
    printf("ok found=%d value=%s\n", broker_header_get(broker, word(1), value, sizeof value),
           value);
}

static void do_state(void)
{
    printf("ok unconfirmed=%d blocked=%d buffered=%d\n", broker_unconfirmed(broker),
           broker_is_blocked(broker), broker_has_buffered(broker));
}

static void do_close(void)
{
    int64_t start_us = clock_boot_us();
    broker_close(broker);
    broker = NULL;
    printf("ok ms=%lld\n", (long long)(clock_boot_us() - start_us) / 1000);
}

static void run_command(void)
{
    const char *name = word(0);
    if (strcmp(name, "open") == 0) {
        do_open();
    } else if (!broker) {
        printf("err code=-1 text=not open\n");
    } else if (strcmp(name, "declare") == 0) {
        do_declare();
    } else if (strcmp(name, "consume") == 0) {
        answer(broker_consume(broker, number(3), word(1), number(2)));
    } else if (strcmp(name, "stop") == 0) {
        answer(broker_consume_stop(broker, number(1)));
    } else if (strcmp(name, "counts") == 0) {
        do_counts();
    } else if (strcmp(name, "publish") == 0) {
        do_publish();
    } else if (strcmp(name, "flood") == 0) {
        do_flood();
    } else if (strcmp(name, "next") == 0) {
        do_next();
    } else if (strcmp(name, "header") == 0) {
        do_header();
    } else if (strcmp(name, "ack") == 0) {
        answer(broker_ack(broker, strtoull(word(1), NULL, 10)));
    } else if (strcmp(name, "reject") == 0) {
        answer(broker_reject(broker, strtoull(word(1), NULL, 10)));
    } else if (strcmp(name, "state") == 0) {
        do_state();
    } else if (strcmp(name, "close") == 0) {
        do_close();
    } else {
        printf("err code=-1 text=no command %s\n", name);
    }
}

int main(void)
{
    char line[4096], *rest;
    while (fgets(line, sizeof line, stdin)) {
        n_words = 0;
        for (char *w = strtok_r(line, " \n", &rest); w && n_words < WORDS_MAX;
             w = strtok_r(NULL, " \n", &rest))
            words[n_words++] = w;
        if (n_words) run_command();
        fflush(stdout);
    }
    broker_close(broker);
    return 0;
}
