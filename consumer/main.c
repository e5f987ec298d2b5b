/* mailflock-consumer: the worker. */
#include <curl/curl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/chunk.h"
#include "common/durability.h"
#include "common/log.h"
#include "common/schema.h"
#include "common/start.h"
#include "consumer/contacts.h"
#include "consumer/intake.h"
#include "consumer/ledger.h"
#include "consumer/metrics.h"
#include "consumer/sender.h"

static const char USAGE[] =
    "usage: mailflock-consumer [-c FILE] [--contacts] [-t] [-V] [-h] [--help-config]\n"
    "Takes chunks from RabbitMQ, sends their mails, records every outcome. SIGTERM finishes what\n"
    "is in flight and gives the rest back.\n"
    "  -c FILE        settings (config/mailflock.cfg)\n"
    "  --contacts     send nothing; keep the contact cache fresh from events\n"
    "  -t             check the settings and exit\n"
    "  --help-config  every setting with its default\n";

/* A job in hand can have this many notes under way at once, beside its outcomes. */
enum { NOTES_PER_JOB = 64, QUEUE_SPARE = 4096 };

/* Messages up to this size are read, so that one which is too large can say so as a dead letter. */
enum { DEAD_LETTER_MAX = 16 * 1024 * 1024 };

static int complain(const struct err *e)
{
    log_error("consumer", "err=\"%s\"", e->text);
    return EXIT_FAILURE;
}

static int block_signals(void)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool run_threads(const struct settings *settings, const char *name, struct db *db,
                        const struct db_config *db_config, struct broker *broker,
                        const struct broker_config *broker_config, int signals)
{
    size_t jobs = (size_t)settings->worker.prefetch * 2 + 2;
    struct queue *to_broker = queue_new(jobs * NOTES_PER_JOB);
    struct queue *to_sender = queue_new(jobs * NOTES_PER_JOB + QUEUE_SPARE);
    struct queue *to_ledger = queue_new(jobs * CHUNK_RECIPIENTS_MAX + QUEUE_SPARE);
    struct ledger *ledger = ledger_start(
        &(struct ledger_config){settings, *db_config, name, to_ledger, to_sender, to_broker}, db);
    struct sender *sender = sender_start(&(struct sender_config){settings, to_sender, to_ledger});
    log_info("consumer", "msg=\"ready\" worker=%s lane=%s", name, settings->worker.lane);
    bool clean = intake_run(
        &(struct intake_config){settings, *broker_config, to_broker, to_ledger, signals}, broker);
    if (!clean) _exit(EXIT_FAILURE); /* threads may be stuck: the next claim recovers */
    ledger_join(ledger);
    queue_push(to_sender, (struct note){.kind = NOTE_STOP});
    sender_join(sender);
    queue_free(to_broker);
    queue_free(to_sender);
    queue_free(to_ledger);
    close(signals);
    return true;
}

static void print_help_config(void)
{
    struct buf help;
    buf_init(&help, 1024 * 1024);
    settings_help(&help, CONF_HELP_TEXT);
    fputs(buf_text(&help), stdout);
    buf_fini(&help);
}

static int run(const struct settings *settings)
{
    char name[64], host[48];
    if (gethostname(host, sizeof host)) snprintf(host, sizeof host, "worker");
    host[sizeof host - 1] = '\0';
    snprintf(name, sizeof name, "%s-%d", host, (int)getpid());
    if (*settings->worker.name) snprintf(name, sizeof name, "%s", settings->worker.name);
    struct db_config db_config = start_db_config(settings, "mailflock-consumer");
    db_config.session_timeout_s = start_lease_s(settings); /* PROTOCOL C5 */
    db_config.io_timeout_ms = (int)settings->worker.lease_ms;
    struct broker_config broker_config = start_broker_config(settings, name);
    broker_config.max_body = DEAD_LETTER_MAX;
    struct db *db;
    struct broker *broker;
    struct err e = start_db(settings, &db_config, &db);
    if (e.code) return complain(&e);
    e = schema_check(db);
    if (!e.code) e = start_broker(settings, &broker_config, &broker);
    if (e.code) {
        db_close(db);
        return complain(&e);
    }
    durability_warn(db);
    METRICS_SET(database_connected, true);
    METRICS_SET(broker_connected, true);
    int signals = block_signals(); /* before any thread, that of the metrics too: they inherit it */
    struct metrics_server *server;
    e = metrics_serve(settings->worker.listen, &server);
    if (e.code) {
        broker_close(broker);
        db_close(db);
        return complain(&e);
    }
    run_threads(settings, name, db, &db_config, broker, &broker_config, signals);
    metrics_stop(server);
    return EXIT_SUCCESS;
}

static int run_contacts(const struct settings *settings)
{
    int signals = block_signals();
    struct err e = contacts_run(settings, signals);
    close(signals);
    return e.code ? complain(&e) : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option LONG[] = {
        {"help-config", no_argument, NULL, 'H'}, {"contacts", no_argument, NULL, 'C'}, {0}};
    const char *file = "config/mailflock.cfg";
    bool check_only = false, contacts = false;
    for (int c; (c = getopt_long(argc, argv, "c:tVh", LONG, NULL)) != -1;) {
        if (c == 'c')
            file = optarg;
        else if (c == 't')
            check_only = true;
        else if (c == 'C')
            contacts = true;
        else if (c == 'V')
            return puts("mailflock-consumer " MAILFLOCK_VERSION), EXIT_SUCCESS;
        else if (c == 'h')
            return fputs(USAGE, stdout), EXIT_SUCCESS;
        else if (c == 'H')
            return print_help_config(), EXIT_SUCCESS;
        else
            return fputs(USAGE, stderr), 2;
    }
    if (optind != argc) return fputs(USAGE, stderr), 2;
    struct settings settings;
    struct err e = settings_read(file, &settings);
    if (e.code) return complain(&e);
    log_setup((enum log_level)settings.log.level, settings.log.format == SETTINGS_LOG_JSON);
    if (check_only) {
        printf("%s: settings are right\n", file);
        settings_free(&settings);
        return EXIT_SUCCESS;
    }
    mallopt(M_ARENA_MAX, 2);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int status = contacts ? run_contacts(&settings) : run(&settings);
    curl_global_cleanup();
    settings_free(&settings);
    return status;
}
