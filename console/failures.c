/* mailflock failures: who did not get the mail, and why. */
#include "console/console.h"
#include "console/recipients.h"
#include "console/tally.h"

int command_failures(struct console *c, int argc, char **argv)
{
    bool by_reason = false, csv = false;
    struct tally run;
    const struct console_option options[] = {{"--by-reason", &by_reason, NULL},
                                             {"--csv", &csv, NULL}};
    if (!console_options(&argc, argv, options, 2, 1, 1)) return CONSOLE_USAGE;
    struct err e = console_open(c);
    if (!e.code) e = tally_find(c->db, argv[1], &run);
    if (!e.code)
        e = by_reason ? recipients_print_reasons(c->db, run.id, TALLY_FAILED, csv)
                      : recipients_print(c->db, run.id, TALLY_FAILED, csv);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}
