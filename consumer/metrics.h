/* What a worker shows of itself: counters that any thread adds to and the HTTP endpoint reads.
 * GET /metrics: Prometheus text. GET /healthz: 200 while broker and database are connected, no
 * thread is stuck and the worker is not stopping: whether it can work. GET /livez: 503 only where a
 * thread is stuck: whether a new start would help. */
#ifndef MAILFLOCK_METRICS_H
#define MAILFLOCK_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/err.h"
#include "common/settings.h"
#include "consumer/histogram.h"
#include "consumer/outcome.h"
#include "consumer/pulse.h"

/* The only global mutable state of the consumer. */
struct metrics {
    atomic_ulong outcomes[OUTCOME_STATUSES]; /* as they came, by status */
    atomic_ulong chunks_claimed, chunks_ended, leases_lost;
    atomic_ulong connections_opened, connections_failed;
    atomic_ulong refusals[STAGE_DOT + 1][2]; /* by stage; 4yz and 5yz */
    atomic_long connections_open, chunks_in_hand, window, senders_set_aside;
    struct histogram queue_wait, connect, dialogue, commit;
    atomic_bool broker_connected, database_connected, stopping;
    /* Of pulse.h. CLOCK_BOOTTIME when each thread said last that it goes on, 0 = it does not run;
     * and how long it may be silent. */
    atomic_llong beat_us[PULSE_THREADS], stuck_us[PULSE_THREADS];
    struct metrics_transport *transports; /* as the settings have them */
    size_t n_transports;
};

struct metrics_transport {
    const char *name;
    atomic_bool down;
};
extern struct metrics METRICS;

#define METRICS_ADD(field, n)      atomic_fetch_add_explicit(&METRICS.field, (n), memory_order_relaxed)
#define METRICS_OBSERVE(field, us) histogram_observe(&METRICS.field, (us))
#define METRICS_SET(field, n)      atomic_store_explicit(&METRICS.field, (n), memory_order_relaxed)
#define METRICS_GET(field)         atomic_load_explicit(&METRICS.field, memory_order_relaxed)

/* metrics_transports: before anything is counted; borrows the settings until
 * metrics_transports_free. metrics_transport_up: of the transport at that place in the settings. */
void metrics_transports(const struct settings *settings);
void metrics_transport_up(size_t i, bool up);
void metrics_transports_free(void);

struct metrics_server;

/* metrics_serve: answers on listen ("host:port"); *out is NULL where listen is "". ERR_IO where the
 * port cannot be had. */
struct err metrics_serve(const char *listen, struct metrics_server **out) MUST_CHECK;
void metrics_stop(struct metrics_server *server);

#endif
