/* getopt_long and the rules between options. */
#include "producer/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

enum { OPT_AT = 256, OPT_DRY_RUN, OPT_HELP_CONFIG };

static const struct option LONG[] = {
    {"at", required_argument, NULL, OPT_AT}, {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"help", no_argument, NULL, 'h'},        {"help-config", no_argument, NULL, OPT_HELP_CONFIG},
    {"version", no_argument, NULL, 'V'},     {NULL, 0, NULL, 0},
};

const char *options_help(void)
{
    return "usage: mailflock-producer [-c FILE] run CAMPAIGN [--at TIME] [--dry-run]\n"
           "       mailflock-producer [-c FILE] due\n"
           "       mailflock-producer [-c FILE] -t [CAMPAIGN]\n"
           "\n"
           "run CAMPAIGN   publish one run of the campaign; again: go on where it stopped\n"
           "  --at TIME    the scheduled moment, which names the run: 2026-01-02T03:04:05Z\n"
           "               (default: now); the mails go out at once all the same\n"
           "  --dry-run    count the audience, show the first recipient's mail, write nothing\n"
           "due            start what the schedules ask for, go on with runs left open, publish "
           "again\n"
           "               what nobody took up\n"
           "-c FILE        the settings (default: config/mailflock.cfg)\n"
           "-t             check settings, campaigns and templates, and exit\n"
           "--help-config  list every setting\n"
           "-V, -h         version, this help\n"
           "\n"
           "Exit status: 0 done, 1 failed, 2 wrong usage.\n";
}

static bool wrong(const char *what, const char *value)
{
    fprintf(stderr, "mailflock-producer: %s%s; see mailflock-producer -h\n", what, value);
    return false;
}

static bool take_option(int option, struct options *o)
{
    switch (option) {
    case 'c':
        o->config = optarg;
        return true;
    case 't':
        o->command = OPTIONS_CHECK;
        return true;
    case 'V':
        o->command = OPTIONS_VERSION;
        return true;
    case 'h':
        o->command = OPTIONS_HELP;
        return true;
    case OPT_HELP_CONFIG:
        o->command = OPTIONS_HELP_CONFIG;
        return true;
    case OPT_DRY_RUN:
        return o->dry_run = true;
    case OPT_AT:
        o->has_at = true;
        if (clock_iso_parse(optarg, &o->at_s) && o->at_s >= 0) return true;
        return wrong("--at takes a time like 2026-01-02T03:04:05Z, not ", optarg);
    default:
        return wrong("what is given is not understood", "");
    }
}

/* The words that are no options: run CAMPAIGN, due, or with -t a campaign. */
static bool take_words(int n, char **words, struct options *o)
{
    bool named = n && strcmp(words[0], "run") == 0;
    if (named) words++, n--;
    if (o->command == OPTIONS_CHECK) {
        if (n > 1) return wrong("-t takes one campaign, or none for all", "");
        o->campaign = n ? words[0] : NULL;
        return true;
    }
    if (!named && n == 1 && strcmp(words[0], "due") == 0) {
        o->command = OPTIONS_DUE;
        return !(o->has_at || o->dry_run) || wrong("due takes neither --at nor --dry-run", "");
    }
    if (!named)
        return wrong(n ? "there is no command " : "a command is missing", n ? words[0] : "");
    if (n != 1) return wrong("run takes one campaign", "");
    o->campaign = words[0];
    return true;
}

bool options_read(int argc, char **argv, struct options *options)
{
    int option;
    *options = (struct options){.command = OPTIONS_RUN, .config = "config/mailflock.cfg"};
    while ((option = getopt_long(argc, argv, "c:tVh", LONG, NULL)) != -1)
        if (!take_option(option, options)) return false;
    if (options->command > OPTIONS_CHECK) return true;
    return take_words(argc - optind, argv + optind, options);
}
