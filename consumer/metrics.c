/* The worker's counters and their HTTP endpoint (libmicrohttpd, a thread of its own that only reads
 * atomics). */
#include "consumer/metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

enum { PAGE_MAX = 64 * 1024 };

struct metrics METRICS;

struct metrics_server {
    struct MHD_Daemon *daemon;
};

#define GET(field) METRICS_GET(field)

static void put(struct buf *b, const char *name, const char *type, const char *help, double value)
{
    buf_append_format(b, "# HELP mailflock_%s %s\n# TYPE mailflock_%s %s\nmailflock_%s %.17g\n",
                      name, help, name, type, name, value);
}

static void put_refusals(struct buf *b)
{
    static const char *const STAGES[] = {"mail", "rcpt", "data", "dot"};
    buf_append_text(b,
                    "# HELP mailflock_refusals_total Replies of relays that refuse, by command.\n"
                    "# TYPE mailflock_refusals_total counter\n");
    for (int stage = STAGE_MAIL; stage <= STAGE_DOT; stage++)
        for (int permanent = 0; permanent < 2; permanent++)
            buf_append_format(b, "mailflock_refusals_total{stage=\"%s\",class=\"%d\"} %lu\n",
                              STAGES[stage], 4 + permanent, GET(refusals[stage][permanent]));
}

static void write_silence(struct buf *b)
{
    buf_append_text(b, "# HELP mailflock_thread_silent_seconds Since the thread's last turn.\n"
                       "# TYPE mailflock_thread_silent_seconds gauge\n");
    for (int i = 0; i < PULSE_THREADS; i++)
        buf_append_format(b, "mailflock_thread_silent_seconds{thread=\"%s\"} %.3f\n",
                          pulse_name((enum pulse_thread)i),
                          (double)pulse_silent_us((enum pulse_thread)i) / 1e6);
}

static void write_page(struct buf *b)
{
    buf_append_text(b, "# HELP mailflock_outcomes_total Recipients by recorded outcome.\n"
                       "# TYPE mailflock_outcomes_total counter\n");
    for (int s = OUTCOME_SENT; s < OUTCOME_STATUSES; s++)
        buf_append_format(b, "mailflock_outcomes_total{status=\"%s\"} %lu\n",
                          outcome_status_name((enum outcome_status)s), GET(outcomes[s]));
    put_refusals(b);
    histogram_write(&METRICS.queue_wait, "queue_wait",
                    "From the producer's publishing of a chunk to its claim.", b);
    histogram_write(&METRICS.connect, "connect",
                    "Opening a transport connection, TLS and login included.", b);
    histogram_write(&METRICS.dialogue, "dialogue",
                    "From a mail's first command to the reply that settles it.", b);
    histogram_write(&METRICS.commit, "commit", "One ledger transaction.", b);
    put(b, "chunks_claimed_total", "counter", "Chunks claimed.", (double)GET(chunks_claimed));
    put(b, "chunks_ended_total", "counter", "Chunks finished, retried or given back.",
        (double)GET(chunks_ended));
    put(b, "leases_lost_total", "counter", "Chunks lost to another worker.",
        (double)GET(leases_lost));
    put(b, "connections_opened_total", "counter", "Transport connections opened.",
        (double)GET(connections_opened));
    put(b, "connections_failed_total", "counter", "Transport connections that could not be opened.",
        (double)GET(connections_failed));
    put(b, "connections_open", "gauge", "Transport connections now.",
        (double)GET(connections_open));
    put(b, "chunks_in_hand", "gauge", "Chunks now.", (double)GET(chunks_in_hand));
    put(b, "senders_set_aside", "gauge", "Senders that a relay refuses, and whose runs wait.",
        (double)GET(senders_set_aside));
    put(b, "window_positions", "gauge", "Most positions a crash could leave unknown.",
        (double)GET(window));
    put(b, "broker_connected", "gauge", "1 while connected to RabbitMQ.",
        GET(broker_connected) ? 1 : 0);
    put(b, "database_connected", "gauge", "1 while connected to the database.",
        GET(database_connected) ? 1 : 0);
    write_silence(b);
}

/* Appends the names of threads that are stuck, or "no"; whether there are any. */
static bool write_stuck(struct buf *b)
{
    bool any = false;
    buf_append_text(b, "stuck=");
    for (int i = 0; i < PULSE_THREADS; i++) {
        if (!pulse_is_stuck((enum pulse_thread)i)) continue;
        buf_append_format(b, "%s%s", any ? "," : "", pulse_name((enum pulse_thread)i));
        any = true;
    }
    buf_append_text(b, any ? "\n" : "no\n");
    return any;
}

static unsigned write_health(struct buf *b)
{
    bool well = GET(broker_connected) && GET(database_connected) && !GET(stopping);
    buf_append_format(b, "broker=%s database=%s stopping=%s ",
                      GET(broker_connected) ? "connected" : "lost",
                      GET(database_connected) ? "connected" : "lost", GET(stopping) ? "yes" : "no");
    return !write_stuck(b) && well ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static void write_transports(struct buf *b)
{
    if (!METRICS.n_transports) return;
    buf_append_text(b, "# HELP mailflock_transport_up 0 while the transport takes no mails.\n"
                       "# TYPE mailflock_transport_up gauge\n");
    for (size_t i = 0; i < METRICS.n_transports; i++)
        buf_append_format(
            b, "mailflock_transport_up{transport=\"%s\"} %d\n", METRICS.transports[i].name,
            atomic_load_explicit(&METRICS.transports[i].down, memory_order_relaxed) ? 0 : 1);
}

static unsigned write_answer(const char *url, struct buf *b)
{
    if (strcmp(url, "/metrics") == 0) {
        write_page(b);
        write_transports(b);
        return MHD_HTTP_OK;
    }
    if (strcmp(url, "/healthz") == 0) return write_health(b);
    if (strcmp(url, "/livez") == 0)
        return write_stuck(b) ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;
    buf_append_text(b, "there is /metrics, /healthz and /livez\n");
    return MHD_HTTP_NOT_FOUND;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **state)
{
    (void)user, (void)version, (void)data, (void)data_size, (void)state;
    struct buf page;
    buf_init(&page, PAGE_MAX);
    bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0;
    unsigned status = get ? write_answer(url, &page) : MHD_HTTP_METHOD_NOT_ALLOWED;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(page.len, page.data, MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                            "text/plain; version=0.0.4; charset=utf-8");
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    buf_fini(&page);
    return queued;
}

void metrics_transports(const struct settings *settings)
{
    const struct settings_transport *transports = settings->transports.items;
    METRICS.n_transports = settings->transports.count;
    METRICS.transports = mem_alloc(METRICS.n_transports * sizeof *METRICS.transports);
    for (size_t i = 0; i < METRICS.n_transports; i++)
        METRICS.transports[i].name = transports[i].name;
}

void metrics_transport_up(size_t i, bool up)
{
    if (i < METRICS.n_transports)
        atomic_store_explicit(&METRICS.transports[i].down, !up, memory_order_relaxed);
}

void metrics_transports_free(void)
{
    METRICS.n_transports = 0;
    free(METRICS.transports);
    METRICS.transports = NULL;
}

struct err metrics_serve(const char *listen, struct metrics_server **out)
{
    char host[256];
    const char *colon = strrchr(listen, ':');
    *out = NULL;
    if (!*listen || !colon) return err_none();
    snprintf(host, sizeof host, "%.*s", (int)(colon - listen), listen);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *address;
    if (getaddrinfo(host, colon + 1, &hints, &address))
        return err_make(ERR_CONFIG, 0, "worker.listen: '%s' is no address to listen on", listen);
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD |
                     (address->ai_family == AF_INET6 ? (unsigned)MHD_USE_IPv6 : 0u);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, address->ai_addr,
        MHD_OPTION_CONNECTION_TIMEOUT, 10u, MHD_OPTION_CONNECTION_LIMIT, 16u, MHD_OPTION_END);
    freeaddrinfo(address);
    if (!daemon)
        return err_make(ERR_IO, errno, "worker.listen: cannot listen on %s: %s", listen,
                        strerror(errno));
    *out = mem_alloc(sizeof **out);
    (*out)->daemon = daemon;
    return err_none();
}

void metrics_stop(struct metrics_server *server)
{
    if (!server) return;
    MHD_stop_daemon(server->daemon);
    free(server);
}
