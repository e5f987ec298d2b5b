/* mailflock: the operator's command line. Reads the common options and hands the rest to one
 * command of commands.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/campaign.h"
#include "console/console.h"

static void print_help(FILE *to)
{
    fputs("usage: mailflock [-c FILE] COMMAND ...\n\n", to);
    for (const struct console_command *k = CONSOLE_COMMANDS; k->name; k++)
        fprintf(to, "  %s %s\n      %s\n", k->name, k->args, k->help);
    fputs("\nRUN is a run's number, or a campaign's name for its newest run.\n"
          "  -c FILE         the configuration (or MAILFLOCK_CONFIG; config/mailflock.cfg)\n"
          "  --help-config   every key of the configuration and of campaigns\n"
          "  -V              the version\n"
          "  -h              this text; 'mailflock COMMAND -h' for one command\n"
          "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
          to);
}

static int print_help_config(void)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    settings_help(&text, CONF_HELP_TEXT);
    buf_append_text(&text, "\n");
    campaign_help(&text, CONF_HELP_TEXT);
    fputs(buf_text(&text), stdout);
    buf_fini(&text);
    return CONSOLE_DONE;
}

static int run_command(struct console *c, int argc, char **argv)
{
    for (const struct console_command *k = CONSOLE_COMMANDS; k->name; k++) {
        if (strcmp(argv[0], k->name) != 0) continue;
        if (argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))) {
            printf("usage: mailflock [-c FILE] %s %s\n%s\n", k->name, k->args, k->help);
            return CONSOLE_DONE;
        }
        int status = k->run(c, argc, argv);
        console_close(c);
        return status;
    }
    fprintf(stderr, "mailflock: there is no command '%.100s'; see 'mailflock -h'\n", argv[0]);
    return CONSOLE_USAGE;
}

/* Output that did not arrive (a full disk, say) is a failure, not an answer. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    perror("mailflock: cannot write the answer");
    return CONSOLE_FAILED;
}

int main(int argc, char **argv)
{
    const char *from_environment = getenv("MAILFLOCK_CONFIG");
    struct console c = {.config_file = from_environment && *from_environment
                                           ? from_environment
                                           : "config/mailflock.cfg"};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
            print_help(stdout);
            return finish(CONSOLE_DONE);
        }
        if (!strcmp(argv[i], "-V") || !strcmp(argv[i], "--version")) {
            puts("mailflock " MAILFLOCK_VERSION);
            return finish(CONSOLE_DONE);
        }
        if (!strcmp(argv[i], "--help-config")) return finish(print_help_config());
        if (strcmp(argv[i], "-c") != 0 || i + 1 == argc) break;
        c.config_file = argv[++i];
    }
    if (i < argc && argv[i][0] != '-') return finish(run_command(&c, argc - i, argv + i));
    if (i < argc)
        fprintf(stderr, "mailflock: option '%.100s' is unknown or lacks its value\n", argv[i]);
    print_help(stderr);
    return CONSOLE_USAGE;
}
