/* The worker as a whole: connects, starts the three threads with the queues between them, and ends
 * them in order.
 */
#include "consumer/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/chunk.h"
#include "common/durability.h"
#include "common/log.h"
#include "common/schema.h"
#include "common/start.h"
#include "consumer/intake.h"
#include "consumer/ledger.h"
#include "consumer/metrics.h"
#include "consumer/sender.h"
#include "consumer/stop_signal.h"

/* A job in hand can have this many notes under way at once, beside its outcomes. */
enum { NOTES_PER_JOB = 64, QUEUE_SPARE = 4096 };

/* Messages up to this size are read, so that one which is too large can say so as a dead letter. */
enum { DEAD_LETTER_MAX = 16 * 1024 * 1024 };

struct worker {
    const struct settings *settings;
    char name[64];
    struct db_config db_config;
    struct broker_config broker_config;
    struct db *db;
    struct broker *broker;
};

/* A connection has its socket and two descriptors of libcurl's. */
static void raise_file_limit(const struct settings *settings)
{
    struct rlimit limit;
    const struct settings_transport *transports = settings->transports.items;
    rlim_t wanted = 100;
    for (size_t i = 0; i < settings->transports.count; i++)
        wanted += 3 * (rlim_t)transports[i].connections;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < wanted)
        log_warn("consumer",
                 "msg=\"fewer open files allowed than all connections need\" "
                 "allowed=%llu needed=%llu",
                 (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

static void choose_name(struct worker *w)
{
    char host[48];
    if (gethostname(host, sizeof host)) snprintf(host, sizeof host, "worker");
    host[sizeof host - 1] = '\0';
    if (*w->settings->worker.name)
        snprintf(w->name, sizeof w->name, "%s", w->settings->worker.name);
    else
        snprintf(w->name, sizeof w->name, "%s-%d", host, (int)getpid());
}

static void configure(struct worker *w)
{
    choose_name(w);
    w->db_config = start_db_config(w->settings, "mailflock-consumer");
    w->db_config.session_timeout_s = start_lease_s(w->settings); /* PROTOCOL C5 */
    w->db_config.io_timeout_ms = (int)w->settings->worker.lease_ms;
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
static void run_threads(const struct worker *w, int signal_fd)
{
    const struct settings *settings = w->settings;
    /* Each consumer has its prefetch, and for a while what is left from before. One is the old
     * queue's. */
    size_t consumers = settings->transports.count + 1;
    size_t jobs = consumers * ((size_t)settings->worker.prefetch * 2 + 2);
    struct queue *to_broker = queue_new(jobs * NOTES_PER_JOB);
    struct queue *to_sender = queue_new(jobs * NOTES_PER_JOB + QUEUE_SPARE);
    struct queue *to_ledger = queue_new(jobs * CHUNK_RECIPIENTS_MAX + QUEUE_SPARE);
    struct ledger *ledger = ledger_start(
        &(struct ledger_config){settings, w->db_config, w->name, to_ledger, to_sender, to_broker},
        w->db);
    struct sender *sender = sender_start(&(struct sender_config){settings, to_sender, to_ledger});
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

struct err worker_run(const struct settings *settings)
{
    struct worker w = {.settings = settings};
    struct metrics_server *server;
    raise_file_limit(settings);
    metrics_transports(settings);
    configure(&w);
    struct err e = connect_both(&w);
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
