/* What the files of the broker module share. Included by broker*.c only. */
#ifndef MAILFLOCK_BROKER_INTERNAL_H
#define MAILFLOCK_BROKER_INTERNAL_H

/* From 0.12 on rabbitmq-c has them in a folder; from 0.14 on it warns where they were before. */
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif
#include <sys/time.h>

#include "common/broker.h"
#include "common/broker_assembly.h"
#include "common/broker_window.h"

enum {
    CHANNEL_CONSUME = 1,   /* deliveries and their acknowledgements */
    CHANNEL_PUBLISH = 2,   /* in confirm mode */
    CHANNEL_SIDE = 3,      /* opened for each declaration: what the broker refuses closes it */
    SHORT_TEXT_SIZE = 256, /* an AMQP short string and a NUL */
    ROUTE_SIZE = 192       /* where a publish went, cut to size: only for an error's text */
};

/* One of the caller's consumers. Each broker_consume is a consumer of its own at RabbitMQ, with a
 * tag of its own: what the last one holds and what was said of it do not touch the next. */
struct broker_consumer {
    bool consuming;
    unsigned turn; /* counts broker_consume */
};

struct broker {
    amqp_connection_state_t conn;
    char where[SHORT_TEXT_SIZE + 8]; /* host:port */
    size_t max_body;

    struct err lost; /* code ERR_NONE while the connection is of use */
    bool said_lost;  /* a goodbye is pointless: the server or the socket is gone */
    bool blocked;    /* connection.blocked is in force, for reason_blocked */
    bool drained;    /* the last read found nothing more */
    struct broker_consumer *consumers;
    int n_consumers;

    struct broker_window window;
    char (*routes)[ROUTE_SIZE]; /* of the window's publishes, by tag modulo its size */
    int confirm_timeout_ms;
    int64_t unblocked_us; /* when the last alarm was over, or 0 */
    struct broker_assembly delivery, returned;
    amqp_pool_t header_pool; /* the last delivery's headers */
    amqp_table_t headers;

    int delivery_consumer;
    uint64_t delivery_tag;
    bool redelivered;
    long delivery_count;
    char message_id[SHORT_TEXT_SIZE], routing_key[SHORT_TEXT_SIZE];

    uint16_t return_code;
    char return_exchange[SHORT_TEXT_SIZE], return_key[SHORT_TEXT_SIZE];
    char reason[ERR_TEXT_MAX], reason_blocked[SHORT_TEXT_SIZE];
};

/* broker_copy: bytes from the wire as text, cut to size; returns out. */
const char *broker_copy(char *out, size_t size, amqp_bytes_t bytes);

/* broker_lose: the connection is of no use from here on; returns the error that all later calls
 * return too. The first loss wins. */
struct err broker_lose(struct broker *b, struct err e);

/* broker_lose_status: the same for a status of the library. */
struct err broker_lose_status(struct broker *b, int status, const char *doing);

/* broker_server_error: what a channel.close or connection.close says, after "RabbitMQ at ... did";
 * answers it, as the protocol asks. */
struct err broker_server_error(struct broker *b, int channel, amqp_method_t method,
                               const char *did) MUST_CHECK;

/* broker_find_consumer: by its tag, of this turn or an earlier one; -1 where it is none of ours.
 * *current (may be NULL): of this turn. */
int broker_find_consumer(const struct broker *b, amqp_bytes_t tag, bool *current);

/* broker_can_request: nothing speaks against a request that waits for its answer. ERR_TIMEOUT
 * while the broker does not read from us. */
struct err broker_can_request(const struct broker *b) MUST_CHECK;

/* broker_rpc_check: the result of the last request. A refused request on CHANNEL_SIDE loses only
 * that channel (already closed then), on any other the connection counts as lost. */
struct err broker_rpc_check(struct broker *b, int channel, const char *doing) MUST_CHECK;

#endif
