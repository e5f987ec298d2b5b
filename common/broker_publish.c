/* Writes to RabbitMQ: messages with confirms, acknowledgements, rejections. Checks before each
 * publish what would make librabbitmq wait without a limit. */
#include "common/broker_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"

enum {
    WRITABLE_WAIT_MS = 200,
    SILENCE_MARGIN_MS = 500,
    PERSISTENT = 2,
    HEADER_NAME_MAX = 128,    /* AMQP 0-9-1, 4.2.5.5 */
    HEADERS_BYTES_MAX = 65536 /* all of them; they share one frame with the properties */
};

/* Past its heartbeat deadline amqp_basic_publish reads before it writes, and without a limit
 * (rabbitmq-c issue 780, fixed in 0.14). It cannot come to that if the kernel received something
 * within the deadline: either the library has seen it or reading will not wait. */
static struct err check_alive(struct broker *b)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    unsigned limit_ms = (unsigned)amqp_get_heartbeat(b->conn) * 2000;
    if (!limit_ms || amqp_frames_enqueued(b->conn) || amqp_data_in_buffer(b->conn))
        return err_none();
    if (getsockopt(broker_fd(b), IPPROTO_TCP, TCP_INFO, &info, &size)) return err_none();
    if (info.tcpi_last_data_recv + SILENCE_MARGIN_MS < limit_ms) return err_none();
    b->said_lost = true;
    return broker_lose(b, err_make(ERR_BROKER, AMQP_STATUS_HEARTBEAT_TIMEOUT,
                                   "lost RabbitMQ at %s: nothing heard from it for %u ms", b->where,
                                   info.tcpi_last_data_recv));
}

/* A socket that takes something now has room for about half of its buffer. What is left of the
 * message then waits for the peer to read, or for TCP_USER_TIMEOUT. */
static struct err check_writable(struct broker *b)
{
    struct pollfd p = {.fd = broker_fd(b), .events = POLLOUT};
    int n;
    do n = poll(&p, 1, WRITABLE_WAIT_MS);
    while (n < 0 && errno == EINTR);
    if (n > 0) return err_none();
    return err_make(ERR_TIMEOUT, 0, "RabbitMQ at %s does not read: try again later", b->where);
}

static struct err check_ready(struct broker *b)
{
    TRY(broker_can_request(b));
    if (broker_window_full(&b->window))
        return err_make(ERR_TIMEOUT, 0, "%u publishes wait for RabbitMQ at %s to confirm",
                        b->window.waiting, b->where);
    TRY(check_alive(b));
    return check_writable(b);
}

static bool is_short(const char *text)
{
    return strnlen(text, SHORT_TEXT_SIZE) < SHORT_TEXT_SIZE;
}

static struct err check_message(const struct broker *b, const struct broker_message *m)
{
    if (m->body_len > b->max_body)
        return err_make(ERR_TOO_BIG, 0, "message %.64s has %zu bytes: at most %zu can be published",
                        m->message_id, m->body_len, b->max_body);
    if (!is_short(m->message_id) || !is_short(m->exchange) || !is_short(m->routing_key))
        return err_make(ERR_INPUT, 0,
                        "message %.64s: its id, exchange and routing key may have 255 bytes each",
                        m->message_id);
    if (m->n_headers < 0 || m->n_headers > BROKER_HEADERS_MAX)
        return err_make(ERR_INPUT, 0, "message %.64s has %d headers: at most %d can be published",
                        m->message_id, m->n_headers, BROKER_HEADERS_MAX);
    size_t bytes = 0;
    for (int i = 0; i < m->n_headers; i++) {
        if (strnlen(m->headers[i].name, HEADER_NAME_MAX + 1) > HEADER_NAME_MAX)
            return err_make(ERR_INPUT, 0, "message %.64s: header %.32s... has too long a name",
                            m->message_id, m->headers[i].name);
        bytes += HEADER_NAME_MAX + strnlen(m->headers[i].value, HEADERS_BYTES_MAX);
    }
    if (bytes > HEADERS_BYTES_MAX)
        return err_make(ERR_TOO_BIG, 0, "message %.64s: its headers pass %d bytes", m->message_id,
                        HEADERS_BYTES_MAX);
    return err_none();
}

static int write_message(struct broker *b, const struct broker_message *m)
{
    amqp_table_entry_t headers[BROKER_HEADERS_MAX];
    char expiration[24];
    amqp_basic_properties_t p = {._flags = AMQP_BASIC_CONTENT_TYPE_FLAG |
                                           AMQP_BASIC_DELIVERY_MODE_FLAG |
                                           AMQP_BASIC_MESSAGE_ID_FLAG,
                                 .content_type = amqp_cstring_bytes("application/json"),
                                 .delivery_mode = PERSISTENT,
                                 .message_id = amqp_cstring_bytes(m->message_id)};
    for (int i = 0; i < m->n_headers; i++)
        headers[i] =
            (amqp_table_entry_t){.key = amqp_cstring_bytes(m->headers[i].name),
                                 .value = {.kind = AMQP_FIELD_KIND_UTF8,
                                           .value.bytes = amqp_cstring_bytes(m->headers[i].value)}};
    if (m->n_headers) {
        p._flags |= AMQP_BASIC_HEADERS_FLAG;
        p.headers = (amqp_table_t){m->n_headers, headers};
    }
    if (m->expiration_ms > 0) {
        snprintf(expiration, sizeof expiration, "%" PRId64, m->expiration_ms);
        p._flags |= AMQP_BASIC_EXPIRATION_FLAG;
        p.expiration = amqp_cstring_bytes(expiration);
    }
    amqp_bytes_t body = {m->body_len, (void *)m->body};
    return amqp_basic_publish(b->conn, CHANNEL_PUBLISH, amqp_cstring_bytes(m->exchange),
                              amqp_cstring_bytes(m->routing_key), 1, 0, &p, body);
}

struct err broker_publish(struct broker *b, const struct broker_message *message, uint64_t *tag)
{
    TRY(check_message(b, message));
    TRY(check_ready(b));
    *tag = broker_window_add(&b->window, broker_window_key(message->exchange, message->routing_key,
                                                           message->message_id));
    snprintf(b->routes[*tag % b->window.size], ROUTE_SIZE, "exchange %s with key %s",
             message->exchange, message->routing_key);
    int status = write_message(b, message);
    if (status) return broker_lose_status(b, status, "publishing");
    broker_window_sent(&b->window, *tag, clock_boot_us());
    return err_none();
}

int broker_unconfirmed(const struct broker *b)
{
    return (int)b->window.waiting;
}

bool broker_is_blocked(const struct broker *b)
{
    return b->blocked;
}

struct err broker_ack(struct broker *b, uint64_t delivery_tag)
{
    if (b->lost.code) return b->lost;
    int status = amqp_basic_ack(b->conn, CHANNEL_CONSUME, delivery_tag, 0);
    return status ? broker_lose_status(b, status, "acknowledging") : err_none();
}

struct err broker_reject(struct broker *b, uint64_t delivery_tag)
{
    if (b->lost.code) return b->lost;
    int status = amqp_basic_reject(b->conn, CHANNEL_CONSUME, delivery_tag, 0);
    return status ? broker_lose_status(b, status, "rejecting") : err_none();
}
