/* Opening and closing a connection to RabbitMQ, and turning what the library and the server say
 * into errors. The parts: broker_topology.c declares and consumes, broker_publish.c writes,
 * broker_events.c reads. Only files named broker*.c know librabbitmq.
 *
 * librabbitmq's sends have no deadline of their own. What bounds them: TCP_USER_TIMEOUT ends a
 * connection whose peer takes nothing, keepalive one that is silent. */
#include "common/broker_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/ca_file.h"

enum {
    FRAME_MAX = 131072, /* RabbitMQ's own default: most chunks are one body frame */
    CHANNELS_MAX = 8,
    HEARTBEAT_DEFAULT_S = 20,
    CONNECT_TIMEOUT_DEFAULT_MS = 5000,
    RPC_TIMEOUT_DEFAULT_MS = 10000,
    /* A quorum queue of RabbitMQ 3.10 can be left without a Raft leader when a node dies seconds
     * after the declaration. It then answers a publish with neither confirm nor error. An election
     * takes a few seconds, and a broker slower than RPC_TIMEOUT has lost the connection before. */
    CONFIRM_TIMEOUT_DEFAULT_MS = 30000,
    CLOSE_TIMEOUT_MS = 2000,
    WINDOW_DEFAULT = 1024,
    BODY_DEFAULT = 16 * 1024 * 1024, /* RabbitMQ 4.0's own limit by default */
};

const char *broker_copy(char *out, size_t size, amqp_bytes_t bytes)
{
    size_t len = bytes.len < size ? bytes.len : size - 1;
    if (len) memcpy(out, bytes.bytes, len);
    out[len] = '\0';
    return out;
}

bool broker_err_is_permanent(const struct err *e)
{
    return e->code == ERR_CONFIG;
}

struct err broker_lose(struct broker *b, struct err e)
{
    if (!b->lost.code) b->lost = e;
    return b->lost;
}

struct err broker_lose_status(struct broker *b, int status, const char *doing)
{
    b->said_lost = true;
    return broker_lose(b, err_make(ERR_BROKER, status, "lost RabbitMQ at %s while %s: %s", b->where,
                                   doing, amqp_error_string2(status)));
}

/* 530 is also what a vhost's connection limit answers, and that passes by itself. */
static bool is_permanent(int code, const char *text)
{
    return code == AMQP_ACCESS_REFUSED || code == AMQP_PRECONDITION_FAILED ||
           (code == AMQP_NOT_ALLOWED && !strstr(text, "limit"));
}

struct err broker_server_error(struct broker *b, int channel, amqp_method_t method, const char *did)
{
    char text[ERR_TEXT_MAX];
    int code;
    if (method.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *m = method.decoded;
        amqp_connection_close_ok_t ok = {0};
        code = m->reply_code;
        broker_copy(text, sizeof text, m->reply_text);
        amqp_send_method(b->conn, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
        b->said_lost = true;
    } else if (method.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *m = method.decoded;
        amqp_channel_close_ok_t ok = {0};
        code = m->reply_code;
        broker_copy(text, sizeof text, m->reply_text);
        amqp_send_method(b->conn, (amqp_channel_t)channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    } else {
        return err_make(ERR_BROKER, 0, "RabbitMQ at %s %s, by method 0x%08x", b->where, did,
                        (unsigned)method.id);
    }
    return err_make(is_permanent(code, text) ? ERR_CONFIG : ERR_BROKER, code,
                    "RabbitMQ at %s %s: %s (%d)", b->where, did, text, code);
}

struct err broker_can_request(const struct broker *b)
{
    if (b->lost.code || !b->blocked) return b->lost;
    return err_make(ERR_TIMEOUT, 0,
                    "RabbitMQ at %s reads nothing now (%s): free its memory or disk", b->where,
                    b->reason_blocked);
}

struct err broker_rpc_check(struct broker *b, int channel, const char *doing)
{
    amqp_rpc_reply_t r = amqp_get_rpc_reply(b->conn);
    b->drained = false;
    if (r.reply_type == AMQP_RESPONSE_NORMAL) return err_none();
    if (r.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION)
        return broker_lose_status(b, r.library_error, doing);
    char did[ERR_TEXT_MAX];
    snprintf(did, sizeof did, "refused %s", doing);
    struct err e = broker_server_error(b, channel, r.reply, did);
    if (channel == CHANNEL_SIDE && r.reply.id == AMQP_CHANNEL_CLOSE_METHOD) return e;
    return broker_lose(b, e);
}

static struct timeval to_timeval(int ms)
{
    return (struct timeval){ms / 1000, (ms % 1000) * 1000};
}

static int or_default(int value, int fallback)
{
    return value > 0 ? value : fallback;
}

static struct err set_up_tls(const struct broker *b, const struct broker_config *c,
                             amqp_socket_t *s)
{
    const char *ca_file = c->ca_file && *c->ca_file ? c->ca_file : CA_FILE_SYSTEM;
    amqp_ssl_socket_set_verify_peer(s, c->tls_verify);
    amqp_ssl_socket_set_verify_hostname(s, c->tls_verify);
    if (!amqp_ssl_socket_set_ssl_versions(s, AMQP_TLSv1_2, AMQP_TLSvLATEST) &&
        (!c->tls_verify || !amqp_ssl_socket_set_cacert(s, ca_file)))
        return err_none();
    return err_make(ERR_CONFIG, 0, "cannot set up TLS for RabbitMQ at %s: check the CA file %s",
                    b->where, ca_file);
}

/* The connection owns *out. */
static struct err new_socket(struct broker *b, const struct broker_config *c, amqp_socket_t **out)
{
    *out = c->tls ? amqp_ssl_socket_new(b->conn) : amqp_tcp_socket_new(b->conn);
    if (!*out)
        return err_make(ERR_BROKER, AMQP_STATUS_NO_MEMORY,
                        "cannot create a socket for RabbitMQ at %s: no memory", b->where);
    return c->tls ? set_up_tls(b, c, *out) : err_none();
}

static struct err connect_error(const struct broker *b, const struct broker_config *c, int status)
{
    const char *hint = "is RabbitMQ running there?";
    enum err_code code = ERR_BROKER;
    switch (status) {
    case AMQP_STATUS_SOCKET_ERROR:
        return err_make(code, status, "connection to RabbitMQ at %s refused or not routed: %s",
                        b->where, hint);
    case AMQP_STATUS_TIMEOUT:
        hint = "is a firewall in the way?";
        break;
    case AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED:
        hint = "check the broker's host name";
        break;
    case AMQP_STATUS_SSL_PEER_VERIFY_FAILED:
        code = ERR_CONFIG;
        hint = "no certificate of that CA file signed it";
        break;
    case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED:
        code = ERR_CONFIG;
        hint = "its certificate is for another name";
        break;
    case AMQP_STATUS_SSL_CONNECTION_FAILED:
        hint = c->tls_verify ? "is this RabbitMQ's TLS port, and its CA the right one?"
                             : "is this RabbitMQ's TLS port?";
        break;
    default:
        break;
    }
    return err_make(code, status, "cannot connect to RabbitMQ at %s: %s; %s", b->where,
                    amqp_error_string2(status), hint);
}

static struct err connect_socket(struct broker *b, const struct broker_config *c)
{
    amqp_socket_t *s;
    TRY(new_socket(b, c, &s));
    struct timeval timeout =
        to_timeval(or_default(c->connect_timeout_ms, CONNECT_TIMEOUT_DEFAULT_MS));
    int status = amqp_socket_open_noblock(s, c->host, c->port, &timeout);
    if (status) return connect_error(b, c, status);

    int fd = amqp_get_sockfd(b->conn);
    int heartbeat_s = or_default(c->heartbeat_s, HEARTBEAT_DEFAULT_S);
    unsigned user_timeout_ms = (unsigned)heartbeat_s * 2000;
    int one = 1, idle_s = heartbeat_s, interval_s = heartbeat_s / 3 + 1, count = 3;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) ||
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms) ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one) ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s) ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s) ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count))
        return err_make(ERR_IO, 0, "cannot set the socket options for RabbitMQ at %s: %m",
                        b->where);
    return err_none();
}

static amqp_table_entry_t text_entry(const char *key, const char *value)
{
    return (amqp_table_entry_t){
        .key = amqp_cstring_bytes(key),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(value)}};
}

static amqp_table_entry_t true_entry(const char *key)
{
    return (amqp_table_entry_t){.key = amqp_cstring_bytes(key),
                                .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static amqp_rpc_reply_t send_login(struct broker *b, const struct broker_config *c)
{
    /* The library's own list lacks these; without the first a deleted queue leaves a consumer
     * idle for ever, without the second an alarm looks like a hang. */
    amqp_table_entry_t can[] = {true_entry("consumer_cancel_notify"),
                                true_entry("connection.blocked"), true_entry("publisher_confirms"),
                                true_entry("basic.nack")};
    amqp_table_entry_t properties[] = {
        text_entry("product", "mailflock"),
        text_entry("version", MAILFLOCK_VERSION),
        text_entry("connection_name", c->name && *c->name ? c->name : "mailflock"),
        {.key = amqp_cstring_bytes("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {sizeof can / sizeof *can, can}}}};
    amqp_table_t table = {sizeof properties / sizeof *properties, properties};
    return amqp_login_with_properties(b->conn, c->vhost && *c->vhost ? c->vhost : "/", CHANNELS_MAX,
                                      FRAME_MAX, or_default(c->heartbeat_s, HEARTBEAT_DEFAULT_S),
                                      &table, AMQP_SASL_METHOD_PLAIN, c->user ? c->user : "",
                                      c->password ? c->password : "");
}

static struct err log_in(struct broker *b, const struct broker_config *c)
{
    struct timeval timeout =
        to_timeval(or_default(c->connect_timeout_ms, CONNECT_TIMEOUT_DEFAULT_MS));
    amqp_set_handshake_timeout(b->conn, &timeout);
    amqp_rpc_reply_t r = send_login(b, c);
    const char *user = c->user ? c->user : "";
    char did[ERR_TEXT_MAX];
    if (r.reply_type == AMQP_RESPONSE_NORMAL) return err_none();
    if (r.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION)
        return err_make(ERR_BROKER, r.library_error,
                        "RabbitMQ at %s did not answer the login: %s; is this its AMQP port%s?",
                        b->where, amqp_error_string2(r.library_error),
                        c->tls ? "" : ", and without TLS");
    if (r.reply.id == AMQP_CONNECTION_CLOSE_METHOD &&
        ((amqp_connection_close_t *)r.reply.decoded)->reply_code == AMQP_ACCESS_REFUSED)
        snprintf(did, sizeof did,
                 "refused the login of user '%.100s' (check the broker's user and password)", user);
    else
        snprintf(
            did, sizeof did,
            "refused virtual host '%.100s' to user '%.100s' (create it, or grant permissions, or "
            "check the broker's vhost)",
            c->vhost && *c->vhost ? c->vhost : "/", user);
    return broker_server_error(b, 0, r.reply, did);
}

static struct err open_channels(struct broker *b, const struct broker_config *c)
{
    struct timeval timeout = to_timeval(or_default(c->rpc_timeout_ms, RPC_TIMEOUT_DEFAULT_MS));
    amqp_set_rpc_timeout(b->conn, &timeout);
    amqp_channel_open(b->conn, CHANNEL_CONSUME);
    TRY(broker_rpc_check(b, CHANNEL_CONSUME, "opening a channel"));
    amqp_channel_open(b->conn, CHANNEL_PUBLISH);
    TRY(broker_rpc_check(b, CHANNEL_PUBLISH, "opening a channel"));
    amqp_confirm_select(b->conn, CHANNEL_PUBLISH);
    return broker_rpc_check(b, CHANNEL_PUBLISH, "publisher confirms");
}

static struct broker *new_broker(const struct broker_config *c)
{
    struct broker *b = mem_alloc(sizeof *b);
    snprintf(b->where, sizeof b->where, "%.255s:%d", c->host, c->port);
    b->max_body = c->max_body ? c->max_body : BODY_DEFAULT;
    broker_window_init(&b->window, (uint32_t)or_default(c->window, WINDOW_DEFAULT));
    b->routes = mem_alloc(b->window.size * sizeof *b->routes);
    b->confirm_timeout_ms = or_default(c->confirm_timeout_ms, CONFIRM_TIMEOUT_DEFAULT_MS);
    broker_assembly_init(&b->delivery, b->max_body);
    broker_assembly_init(&b->returned, 0);
    init_amqp_pool(&b->header_pool, 4096);
    return b;
}

struct err broker_open(struct broker **out, const struct broker_config *config)
{
    *out = NULL;
    if (!config->host || !*config->host || config->port < 1 || config->port > 65535)
        return err_make(ERR_CONFIG, 0, "the broker needs a host and a port from 1 to 65535");
    struct broker *b = new_broker(config);
    struct err e = err_none();
    b->conn = amqp_new_connection();
    if (!b->conn) e = err_make(ERR_BROKER, 0, "no memory for a connection to RabbitMQ");
    if (!e.code) e = connect_socket(b, config);
    if (!e.code) e = log_in(b, config);
    if (!e.code) e = open_channels(b, config);
    if (e.code) {
        b->said_lost = true;
        broker_close(b);
        return e;
    }
    *out = b;
    return err_none();
}

void broker_close(struct broker *b)
{
    if (!b) return;
    /* Under an alarm RabbitMQ does not read, and would let us wait for nothing. */
    if (b->conn && !b->said_lost && !b->blocked) {
        struct timeval timeout = to_timeval(CLOSE_TIMEOUT_MS);
        amqp_set_rpc_timeout(b->conn, &timeout);
        amqp_connection_close(b->conn, AMQP_REPLY_SUCCESS);
    }
    if (b->conn) amqp_destroy_connection(b->conn);
    broker_window_fini(&b->window);
    free(b->routes);
    broker_assembly_fini(&b->delivery);
    broker_assembly_fini(&b->returned);
    empty_amqp_pool(&b->header_pool);
    free(b->consumers);
    free(b);
}

int broker_fd(const struct broker *b)
{
    return amqp_get_sockfd(b->conn);
}
