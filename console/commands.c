/* Every command of `mailflock`, with the words that help prints. */
#include "console/console.h"

const struct console_command CONSOLE_COMMANDS[] = {
    {"init", "", "create or upgrade the tables, declare the broker's queues", command_init},
    {"check", "CAMPAIGN [--json]",
     "look for everything that would go wrong with a campaign before it runs; exit 1 where "
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
     "is not there; rows that are there, by id or else by email, are updated; exit 1 where "
     "a row is wrong",
     command_import},
    {"suppress",
     "add ADDRESS [--reason TEXT] | remove ADDRESS | list [--csv | --json] | import FILE.csv "
     "[--separator C] [--json]",
     "the list of addresses that get no mail, whatever campaign it is", command_suppress},
    {0},
};
