/* mailflock-consumer: options and settings; worker.c and contacts.c do the work. */
#include <curl/curl.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/core_dump.h"
#include "common/log.h"
#include "common/settings.h"
#include "consumer/contacts.h"
#include "consumer/stop_signal.h"
#include "consumer/worker.h"

static const char USAGE[] =
    "usage: mailflock-consumer [-c FILE] [--contacts] [-t] [-V] [-h] [--help-config]\n"
    "Takes chunks from RabbitMQ, sends their mails, records every outcome. SIGTERM, SIGINT,\n"
    "SIGHUP and SIGQUIT finish what is in flight and give the rest back.\n"
    "  -c FILE        settings (config/mailflock.cfg)\n"
    "  --contacts     send nothing; keep the contact cache fresh from events\n"
    "  -t             check the settings and exit\n"
    "  --help-config  every setting with its default\n";

static int complain(const struct err *e)
{
    log_error("consumer", "err=\"%s\"", e->text);
    return EXIT_FAILURE;
}

static void print_help_config(void)
{
    struct buf help;
    buf_init(&help, 1024 * 1024);
    settings_help(&help, CONF_HELP_TEXT);
    fputs(buf_text(&help), stdout);
    buf_fini(&help);
}

/* Large blocks, such as a run's files, are given back to the system when they are freed. By itself
 * the C library begins to keep them after it has seen the first. */
static void keep_memory_small(void)
{
    enum { LARGE = 1024 * 1024 };
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, LARGE);
    mallopt(M_TRIM_THRESHOLD, 2 * LARGE);
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
    core_dump_forbid();
    struct err e = settings_read(file, &settings);
    if (e.code) return complain(&e);
    if (settings.core_dumps) core_dump_allow();
    log_setup((enum log_level)settings.log.level, settings.log.format == SETTINGS_LOG_JSON);
    if (check_only) {
        printf("%s: settings are right\n", file);
        settings_free(&settings);
        return EXIT_SUCCESS;
    }
    keep_memory_small();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    stop_signal_ends();
    e = contacts ? contacts_run(&settings) : worker_run(&settings);
    curl_global_cleanup();
    settings_free(&settings);
    return e.code ? complain(&e) : EXIT_SUCCESS;
}
