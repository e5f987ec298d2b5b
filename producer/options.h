/* The command line of mailflock-producer. */
#ifndef MAILFLOCK_PRODUCER_OPTIONS_H
#define MAILFLOCK_PRODUCER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum options_command {
    OPTIONS_RUN,
    OPTIONS_DUE,
    OPTIONS_CHECK,       /* -t */
    OPTIONS_VERSION,     /* -V */
    OPTIONS_HELP,        /* -h */
    OPTIONS_HELP_CONFIG, /* --help-config */
};

/* The texts are borrowed from argv. */
struct options {
    enum options_command command;
    const char *config;   /* -c */
    const char *campaign; /* of run; of -t: NULL for all */
    bool has_at, dry_run;
    int64_t at_s;
};

/* options_read: false, with a line on stderr, where the command line is wrong. */
bool options_read(int argc, char **argv, struct options *options);

const char *options_help(void);

#endif
