/* The worker as a whole: connects, starts the three threads with the queues between them, and ends
 * them in order.
 */
#include "consumer/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/chunk.h"
#include "common/durability.h"
#include "common/log.h"
#include "common/schema.h"
#include "common/start.h"
#include "consumer/file_limit.h"
#include "consumer/intake.h"
#include "consumer/ledger.h"
#include "consumer/metrics.h"
#include "consumer/pulse.h"
#include "consumer/sender.h"
#include "consumer/stop_signal.h"
#include "consumer/worker_name.h"

/* A job in hand can have this many notes under way at once, beside its outcomes. */
enum { NOTES_PER_JOB = 64, QUEUE_SPARE = 4096 };

/* Nothing that a worker asks the database takes longer, unless the database stands still. */
enum { IO_TIMEOUT_MAX_S = 30 };

/* Messages up to this size are read, so that one which is too large can say so as a dead letter. */
enum { DEAD_LETTER_MAX = 16 * 1024 * 1024 };

struct worker {
    const struct settings *settings;
    char name[WORKER_NAME_SIZE];
    struct db_config db_config;
    struct broker_config broker_config;
    struct db *db;
    struct broker *broker;
    struct db_clock clock;
};

static void ledger_goes_on(void)
{
    pulse_beat(PULSE_LEDGER);
}

static int at_least(int value, int least)
{
    return value > least ? value : least;
}

static int at_most(int value, int most)
{
    return value < most ? value : most;
}

/* PROTOCOL C5, C6. A lease is renewed each third of it. When a renewal gets no answer, half a lease
 * is left, or with the shortest leases a sixth: to find out, to connect anew and to renew. */
static void bound_database(struct db_config *config, int lease_s)
{
    config->session_timeout_s = lease_s;
    config->lock_wait_s = at_most(at_least(lease_s / 5, 1), 3);
    config->io_timeout_ms =
        1000 * at_most(at_least(lease_s / 6, config->lock_wait_s + 1), IO_TIMEOUT_MAX_S);
}

static void configure(struct worker *w)
{
    worker_name_choose(w->name, w->settings->worker.name);
    w->db_config = start_db_config(w->settings, "mailflock-consumer");
    bound_database(&w->db_config, start_lease_s(w->settings));
    w->db_config.on_call = ledger_goes_on;
    w->broker_config = start_broker_config(w->settings, w->name);
    w->broker_config.max_body = DEAD_LETTER_MAX;
}

static struct err connect_both(struct worker *w)
{
    TRY(start_db(w->settings, &w->db_config, &w->db));
    TRY(schema_check(w->db));
    TRY(start_broker(w->settings, &w->broker_config, &w->broker));
    durability_warn(w->db);
    METRICS_SET(database_connected, true);
    METRICS_SET(broker_connected, true);
    return err_none();
}

/* Until a signal. The threads take the connections. */
static void run_threads(struct worker *w, int signal_fd)
{
    const struct settings *settings = w->settings;
    /* Each consumer has its prefetch, and for a while what is left from before. One is the old
     * queue's. */
    size_t consumers = settings->transports.count + 1;
    size_t jobs = consumers * ((size_t)settings->worker.prefetch * 2 + 2);
    struct queue *to_broker = queue_new(jobs * NOTES_PER_JOB);
    struct queue *to_sender = queue_new(jobs * NOTES_PER_JOB + QUEUE_SPARE);
    struct queue *to_ledger = queue_new(jobs * CHUNK_RECIPIENTS_MAX + QUEUE_SPARE);
    struct ledger *ledger =
        ledger_start(&(struct ledger_config){settings, w->db_config, w->name, to_ledger, to_sender,
                                             to_broker, &w->clock},
                     w->db);
    struct sender *sender =
        sender_start(&(struct sender_config){settings, to_sender, to_ledger, &w->clock});
    log_info("consumer", "msg=\"ready\" worker=%s lane=%s", w->name, settings->worker.lane);
    bool clean = intake_run(
        &(struct intake_config){settings, w->broker_config, to_broker, to_ledger, signal_fd},
        w->broker);
    if (!clean) _exit(EXIT_FAILURE); /* threads may be stuck: the next claim recovers */
    ledger_join(ledger);
    queue_push(to_sender, (struct note){.kind = NOTE_STOP});
    sender_join(sender);
    queue_free(to_broker);
    queue_free(to_sender);
    queue_free(to_ledger);
}

struct err worker_run(struct settings *settings)
{
    struct worker w = {.settings = settings};
    struct metrics_server *server;
    TRY(file_limit_apply(settings));
    metrics_transports(settings);
    configure(&w);
    db_clock_init(&w.clock);
    struct err e = connect_both(&w);
    pulse_start(settings);
    int signal_fd = stop_signal_watch(); /* until here there is nothing to end in order */
    if (!e.code) e = metrics_serve(settings->worker.listen, &server);
    if (e.code) {
        broker_close(w.broker);
        db_close(w.db);
    } else {
        run_threads(&w, signal_fd);
        metrics_stop(server);
    }
    metrics_transports_free();
    close(signal_fd);
    return e;
}
