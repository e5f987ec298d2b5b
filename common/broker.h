/* One connection to RabbitMQ: deliveries, publishes with confirms, acknowledgements, and the
 * topology (exchanges mailflock and mailflock.dead, queues of chunks, delay queues).
 *
 * A struct broker belongs to one thread. Nothing here waits longer than a stated limit: connecting
 * for connect_timeout_ms, each request for rpc_timeout_ms, a dead link for two heartbeats, a
 * confirm for confirm_timeout_ms. After a loss every function answers the error of the loss; the
 * caller closes, waits with jitter (clock_backoff_ms) and opens anew. Delivery and publish tags are
 * void then: what was not acknowledged is delivered again, and what was not confirmed may or may
 * not have been taken. While the broker reads nothing from us (broker_is_blocked), requests answer
 * ERR_TIMEOUT.
 *
 * The loop of an owner: poll broker_fd (not while broker_has_buffered), then broker_next with
 * timeout 0 until BROKER_NONE; in any case once every half heartbeat, since the library sends and
 * checks heartbeats only inside that call. */
#ifndef MAILFLOCK_BROKER_H
#define MAILFLOCK_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct broker;

#define BROKER_EXCHANGE      "mailflock"      /* routing key: the queue's, <lane>.<transport> */
#define BROKER_EXCHANGE_DEAD "mailflock.dead" /* routing key: the same */
#define BROKER_KEY_DEAD      "dead"           /* broker_consume's name for queue mailflock.dead */
#define BROKER_HEADER_REASON "x-mailflock-reason" /* why a message is a dead letter */
#define BROKER_HEADER_PUBLISHED                                                                    \
    "x-mailflock-published" /* by the producer: microseconds, UTC, by the database's clock */

enum {
    BROKER_NAME_MAX = 64,         /* bytes of a lane's or a transport's name */
    BROKER_KEY_SIZE = 136,        /* room for "<lane>.<transport>" and a NUL */
    BROKER_QUEUE_SIZE = 152,      /* room for "mailflock.<key>" and a NUL */
    BROKER_HEADERS_MAX = 16,      /* of one published message */
    BROKER_DELAYS_MAX = 64,       /* delay queues of one call */
    BROKER_DELAY_MAX_S = 2592000, /* 30 days; RabbitMQ takes a TTL below 2^32 ms */
};

/* Zero means the default in parentheses. The strings are borrowed during broker_open only. */
struct broker_config {
    const char *host;
    int port;
    const char *vhost; /* "/" */
    const char *user, *password;
    bool tls;
    const char *ca_file;    /* Debian's bundle */
    bool tls_verify;        /* the certificate and its host name; TLS 1.2 or later in any case */
    int heartbeat_s;        /* 20; the server may ask for less */
    int connect_timeout_ms; /* 5000; name resolution is not included */
    int rpc_timeout_ms;     /* 10000 */
    int confirm_timeout_ms; /* 30000 */
    int window;             /* 1024: publishes without an event yet */
    size_t max_body;        /* 16 MiB, of deliveries and of publishes */
    const char *name;       /* shown as the connection's name by RabbitMQ */
};

/* broker_open: connects, logs in, opens both channels, selects confirms. *out is owned by the
 * caller, NULL on error. */
struct err broker_open(struct broker **out, const struct broker_config *config) MUST_CHECK;

/* broker_err_is_permanent: trying again cannot help before somebody changes something: password,
 * virtual host, permissions, certificate, arguments of an existing queue. All others pass. */
bool broker_err_is_permanent(const struct err *e);

/* broker_close: takes b (NULL is fine) and frees it; says goodbye for 2 s at most. What was
 * delivered and not acknowledged goes back to the queue. */
void broker_close(struct broker *b);

/* broker_fd: to poll for reading; stays the same until broker_close, -1 after some losses. */
int broker_fd(const struct broker *b);

/* broker_has_buffered: do not poll, call broker_next: it has something already. True at least
 * until a broker_next answered BROKER_NONE. */
bool broker_has_buffered(const struct broker *b);

/* broker_key_valid: whether there can be a queue mailflock.<key>: the name of a lane, or a lane's
 * and a transport's with a dot between them. A name is [a-z0-9_-]{1,64}; "dead", "wait" and
 * "parked" are no lanes. Pure. */
bool broker_key_valid(const char *key);

/* broker_queue_name: "mailflock.<key>" into out; returns out. */
const char *broker_queue_name(char out[BROKER_QUEUE_SIZE], const char *key);

/* broker_declare_queue: declares exchanges, queue mailflock.<key> and queue mailflock.dead, with
 * their bindings. Idempotent. A queue that exists with other arguments is a permanent error that
 * names it. delivery_limit must be the same for everyone who declares the queue. */
struct err broker_declare_queue(struct broker *b, const char *key, int delivery_limit) MUST_CHECK;

/* broker_parked_key: the routing key "parked.<run>" of queue mailflock.parked.<run>, where messages
 * of a paused run wait, into out; returns out. broker_key_is_parked: whether key is such a one. */
const char *broker_parked_key(char out[BROKER_KEY_SIZE], uint64_t run);
bool broker_key_is_parked(const char *key);

/* broker_declare_parked: declares that queue, bound to the exchange mailflock. Idempotent. */
struct err broker_declare_parked(struct broker *b, uint64_t run) MUST_CHECK;

/* broker_delete_queue: with what is in it; one that does not exist counts as deleted. RabbitMQ
 * knows no "only if empty" for quorum queues. */
struct err broker_delete_queue(struct broker *b, const char *queue) MUST_CHECK;

/* broker_declare_delays: for each delay a queue mailflock.wait.<seconds> and a fanout exchange of
 * the same name before it, for messages of all keys. Idempotent; errors as broker_declare_queue. */
struct err broker_declare_delays(struct broker *b, const int *delays_s, int n_delays) MUST_CHECK;

/* broker_subscribe: declares queue mailflock.<lane>, which also gets what is published to a topic
 * exchange with one of these routing keys. The exchange is somebody else's; it is made, durable,
 * where there is none. */
struct err broker_subscribe(struct broker *b, const char *lane, int delivery_limit,
                            const char *exchange, const char *const *keys, int n_keys) MUST_CHECK;

/* broker_delay_exchange: the exchange of a declared delay queue into out; returns out. A message
 * published to it comes to BROKER_EXCHANGE after that time, with the routing key that it had. */
const char *broker_delay_exchange(char out[BROKER_QUEUE_SIZE], int delay_s);

/* broker_queue_counts: ready messages and consumers of a queue by its full name. Ready excludes
 * what consumers hold. Waits for the answer; ERR_BROKER where there is no such queue. */
struct err broker_queue_counts(struct broker *b, const char *queue, uint32_t *ready,
                               uint32_t *consumers) MUST_CHECK;

/* broker_consume: starts deliveries from mailflock.<key>, at most prefetch (1 to 65535) of them
 * unacknowledged. consumer is a number of the caller's, from 0 on, that the events carry; a
 * connection has as many consumers as it likes, each with a prefetch of its own. */
struct err broker_consume(struct broker *b, int consumer, const char *key, int prefetch) MUST_CHECK;

/* broker_consume_stop: no new deliveries to that consumer; those on the way are still reported by
 * broker_next, and acknowledging goes on. broker_consume may follow; what is in hand does not count
 * in its prefetch. Does nothing where the consumer does not consume. */
struct err broker_consume_stop(struct broker *b, int consumer) MUST_CHECK;

struct broker_header {
    const char *name, *value; /* the name at most 128 bytes */
};

/* All borrowed during the call. Published as persistent, mandatory, application/json. */
struct broker_message {
    const char *message_id; /* at most 255 bytes, as exchange and routing_key */
    const char *exchange, *routing_key;
    const void *body;
    size_t body_len;
    const struct broker_header *headers;
    int n_headers;
    int64_t expiration_ms; /* 0: none. Delay queues have their own */
};

/* broker_publish: writes the message and returns at once; its BROKER_CONFIRMED or BROKER_REFUSED
 * carries *tag. ERR_TIMEOUT means not now, and nothing was written: the broker asked publishers to
 * wait (broker_is_blocked), the window is full, or the socket took nothing for 200 ms; go on with
 * broker_next and try again. ERR_TOO_BIG past max_body; ERR_INPUT for over-long names; anything
 * else is a loss, and whether the message arrived is unknown. */
struct err broker_publish(struct broker *b, const struct broker_message *message,
                          uint64_t *tag) MUST_CHECK;

/* broker_unconfirmed: publishes whose event has not been given out yet. */
int broker_unconfirmed(const struct broker *b);

/* broker_is_blocked: a memory or disk alarm at the broker; publishing has to wait for
 * BROKER_UNBLOCKED. RabbitMQ reads nothing from us meanwhile, so acknowledgements wait too. */
bool broker_is_blocked(const struct broker *b);

enum broker_event_kind {
    BROKER_NONE,      /* nothing within the timeout */
    BROKER_DELIVERY,  /* a message; body is NULL and body_len its size if past max_body */
    BROKER_CONFIRMED, /* publish_tag is in its queue, safely */
    BROKER_REFUSED,   /* publish_tag is in no queue; reason */
    BROKER_CANCELLED, /* the server ended a consumer (queue deleted); broker_consume may follow */
    BROKER_BLOCKED,   /* reason; see broker_is_blocked */
    BROKER_UNBLOCKED,
    BROKER_LOST, /* the connection is of no use any more; always with an error */
};

/* Pointers are borrowed until the next broker_next or broker_close; texts are never NULL. */
struct broker_event {
    enum broker_event_kind kind;
    uint64_t publish_tag;
    const char *reason;
    int consumer; /* of BROKER_DELIVERY and BROKER_CANCELLED */
    uint64_t delivery_tag;
    bool redelivered;
    long delivery_count; /* earlier deliveries by the queue's count; -1 if it gives none */
    const char *message_id, *routing_key;
    const void *body;
    size_t body_len;
};

/* broker_next: the next event, waiting up to timeout_ms (0: only what is there already). An error
 * is a loss, and then event->kind is BROKER_LOST. A signal does not end the wait. Confirms come one
 * tag at a time, each tag once, in the order in which the broker resolved them. A publish without
 * its event for confirm_timeout_ms is a loss, judged when there is nothing more to read; the time
 * in which the broker is blocked does not count. */
struct err broker_next(struct broker *b, int timeout_ms, struct broker_event *event) MUST_CHECK;

/* broker_header_get: a text header of the last BROKER_DELIVERY into out, cut to size; false where
 * there is none. Valid as long as that event. */
bool broker_header_get(const struct broker *b, const char *name, char *out, size_t size);

/* broker_ack: the message is done with. An error is a loss, and the message will come again. */
struct err broker_ack(struct broker *b, uint64_t delivery_tag) MUST_CHECK;

/* broker_reject: the message goes to mailflock.dead. */
struct err broker_reject(struct broker *b, uint64_t delivery_tag) MUST_CHECK;

#endif
