/* Declares Mailflock's exchanges, queues of chunks and delay queues, and starts and stops
 * deliveries. The names and arguments are the contract of docs/chunk-format.md; everything is a
 * quorum queue, and every queue that dead-letters does so at-least-once (RabbitMQ 3.10 or later),
 * so that a message on its way back from a delay is never lost. */
#include "common/broker_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CONSUMER_TAG "mailflock.%d.%u" /* the caller's number, and how often it consumed */

#define KEY_WAIT   "wait"
#define KEY_PARKED "parked"

enum {
    ARGUMENTS_MAX = 8,
    /* Of dead and of parked messages, which may be given back any number of times: RabbitMQ 4 would
     * drop them after 20. */
    KEEPING_DELIVERY_LIMIT = 1000000,
};

struct arguments {
    amqp_table_entry_t entries[ARGUMENTS_MAX];
    int n;
};

static void add_text(struct arguments *a, const char *key, const char *value)
{
    a->entries[a->n++] = (amqp_table_entry_t){
        .key = amqp_cstring_bytes(key),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(value)}};
}

static void add_number(struct arguments *a, const char *key, int64_t value)
{
    a->entries[a->n++] = (amqp_table_entry_t){
        .key = amqp_cstring_bytes(key), .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = value}};
}

static struct arguments quorum_arguments(void)
{
    struct arguments a = {.n = 0};
    add_text(&a, "x-queue-type", "quorum");
    return a;
}

/* At-least-once needs reject-publish; without it RabbitMQ falls back to at-most-once silently. */
static void add_dead_letters(struct arguments *a, const char *exchange)
{
    add_text(a, "x-dead-letter-exchange", exchange);
    add_text(a, "x-dead-letter-strategy", "at-least-once");
    add_text(a, "x-overflow", "reject-publish");
}

static struct err declare_exchange(struct broker *b, const char *name, const char *type,
                                   bool passive)
{
    char doing[ERR_TEXT_MAX];
    snprintf(doing, sizeof doing, "exchange %s", name);
    amqp_exchange_declare(b->conn, CHANNEL_SIDE, amqp_cstring_bytes(name), amqp_cstring_bytes(type),
                          passive, 1, 0, 0, amqp_empty_table);
    return broker_rpc_check(b, CHANNEL_SIDE, doing);
}

static struct err bind_queue(struct broker *b, const char *name, const char *exchange,
                             const char *routing_key)
{
    char doing[ERR_TEXT_MAX];
    snprintf(doing, sizeof doing, "binding queue %s to exchange %s", name, exchange);
    amqp_queue_bind(b->conn, CHANNEL_SIDE, amqp_cstring_bytes(name), amqp_cstring_bytes(exchange),
                    amqp_cstring_bytes(routing_key), amqp_empty_table);
    return broker_rpc_check(b, CHANNEL_SIDE, doing);
}

static struct err declare_queue(struct broker *b, const char *name, struct arguments *a,
                                const char *exchange, const char *routing_key)
{
    char doing[ERR_TEXT_MAX];
    snprintf(doing, sizeof doing, "queue %s", name);
    amqp_table_t table = {a->n, a->entries};
    amqp_queue_declare(b->conn, CHANNEL_SIDE, amqp_cstring_bytes(name), 0, 1, 0, 0, table);
    struct err e = broker_rpc_check(b, CHANNEL_SIDE, doing);
    if (e.native == AMQP_PRECONDITION_FAILED)
        return err_make(e.code, e.native,
                        "queue %s exists with other arguments; set what it was made with, or empty "
                        "and delete it: %.300s",
                        name, e.text);
    if (e.code) return e;
    return bind_queue(b, name, exchange, routing_key);
}

const char *broker_queue_name(char out[BROKER_QUEUE_SIZE], const char *key)
{
    snprintf(out, BROKER_QUEUE_SIZE, BROKER_EXCHANGE ".%.*s", BROKER_KEY_SIZE - 1, key);
    return out;
}

const char *broker_delay_exchange(char out[BROKER_QUEUE_SIZE], int delay_s)
{
    snprintf(out, BROKER_QUEUE_SIZE, BROKER_EXCHANGE "." KEY_WAIT ".%d", delay_s);
    return out;
}

/* No dead-letter routing key: a message comes back with the key that it had. */
static struct err declare_delay(struct broker *b, int delay_s)
{
    char name[BROKER_QUEUE_SIZE];
    broker_delay_exchange(name, delay_s);
    struct arguments a = quorum_arguments();
    add_number(&a, "x-message-ttl", (int64_t)delay_s * 1000);
    add_dead_letters(&a, BROKER_EXCHANGE);
    TRY(declare_exchange(b, name, "fanout", false));
    return declare_queue(b, name, &a, name, "");
}

static struct err declare_all_delays(struct broker *b, const int *delays_s, int n_delays)
{
    TRY(declare_exchange(b, BROKER_EXCHANGE, "direct", false));
    for (int i = 0; i < n_delays; i++) TRY(declare_delay(b, delays_s[i]));
    return err_none();
}

static struct err declare_with_dead(struct broker *b, const char *key, int delivery_limit)
{
    TRY(declare_exchange(b, BROKER_EXCHANGE, "direct", false));
    TRY(declare_exchange(b, BROKER_EXCHANGE_DEAD, "direct", false));

    struct arguments dead = quorum_arguments();
    add_number(&dead, "x-delivery-limit", KEEPING_DELIVERY_LIMIT);
    TRY(declare_queue(b, BROKER_EXCHANGE "." BROKER_KEY_DEAD, &dead, BROKER_EXCHANGE_DEAD, key));

    /* No dead-letter routing key here either. */
    char queue[BROKER_QUEUE_SIZE];
    struct arguments a = quorum_arguments();
    add_number(&a, "x-delivery-limit", delivery_limit);
    add_dead_letters(&a, BROKER_EXCHANGE_DEAD);
    return declare_queue(b, broker_queue_name(queue, key), &a, BROKER_EXCHANGE, key);
}

const char *broker_parked_key(char out[BROKER_KEY_SIZE], uint64_t run)
{
    snprintf(out, BROKER_KEY_SIZE, KEY_PARKED ".%" PRIu64, run);
    return out;
}

bool broker_key_is_parked(const char *key)
{
    static const char prefix[] = KEY_PARKED ".";
    size_t skip = sizeof prefix - 1;
    if (strncmp(key, prefix, skip) != 0) return false;
    size_t digits = strspn(key + skip, "0123456789");
    return digits > 0 && !key[skip + digits];
}

/* Nothing consumes it but who moves its messages back. Nothing dead-letters from it. */
static struct err declare_parked(struct broker *b, const char *key)
{
    char queue[BROKER_QUEUE_SIZE];
    struct arguments a = quorum_arguments();
    add_number(&a, "x-delivery-limit", KEEPING_DELIVERY_LIMIT);
    TRY(declare_exchange(b, BROKER_EXCHANGE, "direct", false));
    return declare_queue(b, broker_queue_name(queue, key), &a, BROKER_EXCHANGE, key);
}

static size_t name_len(const char *name)
{
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
}

bool broker_key_valid(const char *key)
{
    static const char *const RESERVED[] = {BROKER_KEY_DEAD, KEY_WAIT, KEY_PARKED};
    size_t lane = name_len(key);
    const char *transport = key[lane] == '.' ? key + lane + 1 : NULL;
    for (size_t i = 0; i < sizeof RESERVED / sizeof *RESERVED; i++)
        if (strlen(RESERVED[i]) == lane && memcmp(key, RESERVED[i], lane) == 0) return false;
    if (lane < 1 || lane > BROKER_NAME_MAX) return false;
    if (!transport) return !key[lane];
    size_t len = name_len(transport);
    return len >= 1 && len <= BROKER_NAME_MAX && !transport[len];
}

static struct err check_key(const char *key)
{
    if (!broker_key_valid(key))
        return err_make(ERR_CONFIG, 0,
                        "'%.80s' cannot name a queue: use a lane, or lane.transport, each up to %d "
                        "of a-z 0-9 _ -; no lane is called " BROKER_KEY_DEAD ", " KEY_WAIT
                        " or " KEY_PARKED,
                        key, BROKER_NAME_MAX);
    return err_none();
}

static struct err check_delays(const int *delays_s, int n_delays)
{
    if (n_delays < 0 || n_delays > BROKER_DELAYS_MAX)
        return err_make(ERR_CONFIG, 0, "there are %d delays: at most %d can be used", n_delays,
                        BROKER_DELAYS_MAX);
    for (int i = 0; i < n_delays; i++)
        if (delays_s[i] < 1 || delays_s[i] > BROKER_DELAY_MAX_S)
            return err_make(ERR_CONFIG, 0, "a delay of %d s: use 1 to %d", delays_s[i],
                            BROKER_DELAY_MAX_S);
    return err_none();
}

static struct err side_open(struct broker *b)
{
    TRY(broker_can_request(b));
    amqp_channel_open(b->conn, CHANNEL_SIDE);
    return broker_rpc_check(b, CHANNEL_SIDE, "opening a channel");
}

/* Ends the side channel after work that had the result e: a refusal closed it already. */
static struct err side_close(struct broker *b, struct err e)
{
    if (e.code || b->lost.code) return e;
    amqp_rpc_reply_t r = amqp_channel_close(b->conn, CHANNEL_SIDE, AMQP_REPLY_SUCCESS);
    if (r.reply_type == AMQP_RESPONSE_NORMAL) return e;
    if (r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION)
        return broker_lose(
            b, broker_server_error(b, CHANNEL_SIDE, r.reply, "refused closing a channel"));
    return broker_lose_status(b, r.library_error, "closing a channel");
}

struct err broker_declare_queue(struct broker *b, const char *key, int delivery_limit)
{
    TRY(check_key(key));
    if (delivery_limit < 1)
        return err_make(ERR_CONFIG, 0, "queue %s has a delivery limit of %d: use 1 or more", key,
                        delivery_limit);
    TRY(side_open(b));
    return side_close(b, declare_with_dead(b, key, delivery_limit));
}

struct err broker_declare_parked(struct broker *b, uint64_t run)
{
    char key[BROKER_KEY_SIZE];
    broker_parked_key(key, run);
    TRY(side_open(b));
    return side_close(b, declare_parked(b, key));
}

struct err broker_delete_queue(struct broker *b, const char *queue)
{
    char doing[ERR_TEXT_MAX];
    snprintf(doing, sizeof doing, "deleting queue %.200s", queue);
    TRY(side_open(b));
    amqp_queue_delete(b->conn, CHANNEL_SIDE, amqp_cstring_bytes(queue), 0, 0);
    return side_close(b, broker_rpc_check(b, CHANNEL_SIDE, doing));
}

struct err broker_declare_delays(struct broker *b, const int *delays_s, int n_delays)
{
    TRY(check_delays(delays_s, n_delays));
    TRY(side_open(b));
    return side_close(b, declare_all_delays(b, delays_s, n_delays));
}

/* Whoever owns the exchange may have made it with arguments of which we know nothing. */
static struct err find_exchange(struct broker *b, const char *exchange)
{
    TRY(side_open(b));
    struct err e = side_close(b, declare_exchange(b, exchange, "topic", true));
    if (e.native != AMQP_NOT_FOUND) return e;
    TRY(side_open(b));
    return side_close(b, declare_exchange(b, exchange, "topic", false));
}

/* What the broker gives up of these messages keeps its routing key, and must not get lost. */
static struct err bind_keys(struct broker *b, const char *queue, const char *exchange,
                            const char *const *keys, int n_keys)
{
    for (int i = 0; i < n_keys; i++) {
        TRY(bind_queue(b, BROKER_EXCHANGE ".dead", BROKER_EXCHANGE_DEAD, keys[i]));
        TRY(bind_queue(b, queue, exchange, keys[i]));
    }
    return err_none();
}

struct err broker_subscribe(struct broker *b, const char *lane, int delivery_limit,
                            const char *exchange, const char *const *keys, int n_keys)
{
    char queue[BROKER_QUEUE_SIZE];
    TRY(broker_declare_queue(b, lane, delivery_limit));
    TRY(find_exchange(b, exchange));
    broker_queue_name(queue, lane);
    TRY(side_open(b));
    return side_close(b, bind_keys(b, queue, exchange, keys, n_keys));
}

struct err broker_queue_counts(struct broker *b, const char *queue, uint32_t *ready,
                               uint32_t *consumers)
{
    char doing[ERR_TEXT_MAX];
    snprintf(doing, sizeof doing, "counting queue %.200s", queue);
    TRY(side_open(b));
    const amqp_queue_declare_ok_t *ok = amqp_queue_declare(
        b->conn, CHANNEL_SIDE, amqp_cstring_bytes(queue), 1, 1, 0, 0, amqp_empty_table);
    struct err e = broker_rpc_check(b, CHANNEL_SIDE, doing);
    if (!e.code) {
        *ready = ok->message_count;
        *consumers = ok->consumer_count;
    }
    return side_close(b, e);
}

int broker_find_consumer(const struct broker *b, amqp_bytes_t tag, bool *current)
{
    char text[SHORT_TEXT_SIZE];
    int consumer;
    unsigned turn;
    broker_copy(text, sizeof text, tag);
    if (sscanf(text, CONSUMER_TAG, &consumer, &turn) != 2) return -1;
    if (consumer < 0 || consumer >= b->n_consumers) return -1;
    if (current) *current = b->consumers[consumer].turn == turn;
    return consumer;
}

static struct broker_consumer *consumer_of(struct broker *b, int consumer)
{
    if (consumer >= b->n_consumers) {
        b->consumers =
            mem_resize(b->consumers, (size_t)(consumer + 1) * sizeof(struct broker_consumer));
        for (; b->n_consumers <= consumer; b->n_consumers++)
            b->consumers[b->n_consumers] = (struct broker_consumer){0};
    }
    return &b->consumers[consumer];
}

struct err broker_consume(struct broker *b, int consumer, const char *key, int prefetch)
{
    TRY(broker_can_request(b));
    struct broker_consumer *c = consumer_of(b, consumer);
    if (c->consuming) return err_make(ERR_STATE, 0, "consumer %d consumes already", consumer);
    if (strcmp(key, BROKER_KEY_DEAD) != 0 && !broker_key_is_parked(key)) TRY(check_key(key));
    if (prefetch < 1 || prefetch > UINT16_MAX)
        return err_make(ERR_CONFIG, 0, "prefetch is %d: use 1 to %d", prefetch, UINT16_MAX);
    char queue[BROKER_QUEUE_SIZE], tag[SHORT_TEXT_SIZE], doing[ERR_TEXT_MAX];
    broker_queue_name(queue, key);
    snprintf(doing, sizeof doing, "consuming from queue %s", queue);
    snprintf(tag, sizeof tag, CONSUMER_TAG, consumer, ++c->turn);
    /* global = false: RabbitMQ takes it for the consumers that begin after it, each of them. */
    amqp_basic_qos(b->conn, CHANNEL_CONSUME, 0, (uint16_t)prefetch, 0);
    TRY(broker_rpc_check(b, CHANNEL_CONSUME, doing));
    amqp_basic_consume(b->conn, CHANNEL_CONSUME, amqp_cstring_bytes(queue), amqp_cstring_bytes(tag),
                       0, 0, 0, amqp_empty_table);
    TRY(broker_rpc_check(b, CHANNEL_CONSUME, doing));
    c->consuming = true;
    return err_none();
}

struct err broker_consume_stop(struct broker *b, int consumer)
{
    char tag[SHORT_TEXT_SIZE];
    struct broker_consumer *c = consumer_of(b, consumer);
    if (!c->consuming) return b->lost;
    TRY(broker_can_request(b));
    c->consuming = false;
    snprintf(tag, sizeof tag, CONSUMER_TAG, consumer, c->turn);
    amqp_basic_cancel(b->conn, CHANNEL_CONSUME, amqp_cstring_bytes(tag));
    return broker_rpc_check(b, CHANNEL_CONSUME, "ending the consumer");
}
