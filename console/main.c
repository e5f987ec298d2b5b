/* mailflock: the operator's command line. Reads the common options and hands the rest to one
 * command of the table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/campaign.h"
#include "console/console.h"

static const struct console_command COMMANDS[] = {
    {"init", "", "create or upgrade the tables, declare the broker's queues", command_init},
    {"check", "CAMPAIGN [--json]",
     "look for everything that would go wrong with a campaign, and write nothing; exit 1 where "
     "something would",
     command_check},
    {"preview", "CAMPAIGN [--recipient ID] [--text | --html | --eml]",
     "show the mail of the first recipient, or of that one; its text, its HTML, or as it leaves",
     command_preview},
    {"status", "[RUN] [--watch] [--json]", "show the newest runs, or one in detail",
     command_status},
    {"runs", "[--limit N] [--json]", "list runs, newest first", command_runs},
    {"schedule", "[CAMPAIGN] [--next N] [--json]", "list the runs that the schedules ask for next",
     command_schedule},
    {"audit", "[RUN]", "check the ledger's accounts; exit 1 where they break", command_audit},
    {"pause", "RUN", "stop sending until resume", command_pause},
    {"resume", "RUN", "go on with a paused run", command_resume},
    {"cancel", "RUN", "send nothing more of this run, for ever", command_cancel},
    {"failures", "RUN [--by-reason] [--csv]", "list the recipients that failed", command_failures},
    {"unknown", "RUN [--csv] [--resend | --mark-sent]",
     "list or settle those that may or may not have got their mail", command_unknown},
    {"retry", "RUN [--status failed|suppressed|skipped] [--code 4xx]",
     "send again to the chosen recipients of a finished run", command_retry},
    {"skip", "RUN --chunk N",
     "give up what is left of one chunk whose message is lost and cannot be published again",
     command_skip},
    {"dead", "list [--json] | show N | requeue N|all [--force] | drop N|all",
     "messages that were given up: N is a letter's number or its run/chunk/attempt", command_dead},
    {"import", "FILE.csv --table NAME [--separator C] [--json]",
     "put the rows of a CSV file (- reads standard input) into a table, which is created when it "
     "is "
     "not there; rows that are there, by id or else by email, are updated; exit 1 where a row is "
     "wrong",
     command_import},
    {"suppress",
     "add ADDRESS [--reason TEXT] | remove ADDRESS | list [--csv | --json] | import FILE.csv "
     "[--separator C] [--json]",
     "the list of addresses that get no mail, whatever campaign it is", command_suppress},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof COMMANDS[0] };

static void print_help(FILE *to)
{
    fputs("usage: mailflock [-c FILE] COMMAND ...\n\n", to);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %s %s\n      %s\n", COMMANDS[i].name, COMMANDS[i].args, COMMANDS[i].help);
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
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[0], COMMANDS[i].name) != 0) continue;
        if (argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))) {
            printf("usage: mailflock [-c FILE] %s %s\n%s\n", COMMANDS[i].name, COMMANDS[i].args,
                   COMMANDS[i].help);
            return CONSOLE_DONE;
        }
        int status = COMMANDS[i].run(c, argc, argv);
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
