/* mailflock pause, resume, cancel: change run.control by a conditional UPDATE (docs/protocol.md
 * O2); workers see it within 2 s. Messages that were parked meanwhile are moved back. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/parked.h"
#include "console/console.h"
#include "console/progress.h"
#include "console/report.h"

/* A change of control: allowed from the states in from, an SQL list. */
struct change {
    const char *command, *from, *to, *done;
};

static struct err already(const struct change *change, const struct tally *run)
{
    const char *now = report_control(run);
    if (strcmp(now, change->to) == 0) {
        printf("run %" PRIu64 " is %s already: nothing changed\n", run->id,
               run->control == TALLY_GO ? "not paused" : now);
        return err_none();
    }
    return err_make(ERR_STATE, 0, "cannot %s run %" PRIu64 ": it is %s", change->command, run->id,
                    now);
}

static void postpone(struct console *c, uint64_t run)
{
    struct err e = parked_postpone(c->db, run);
    if (e.code)
        fprintf(stderr,
                "mailflock: chunks of run %" PRIu64
                " may be published a second time, which workers drop: %s\n",
                run, e.text);
}

/* The run goes on in any case: `due` moves what is left. */
static void move_parked(struct console *c, uint64_t run)
{
    uint64_t moved;
    struct err e = parked_move(&c->settings, c->db, run, NULL, &moved);
    if (moved) printf("run %" PRIu64 ": %" PRIu64 " parked messages moved back\n", run, moved);
    if (e.code)
        fprintf(stderr,
                "mailflock: parked messages of run %" PRIu64
                " were not moved back; 'mailflock-producer due' will do so: %s\n",
                run, e.text);
}

static struct err apply(struct console *c, const struct change *change, const char *name)
{
    struct tally run;
    uint64_t matched;
    bool goes_on = strcmp(change->to, "paused") != 0;
    TRY(tally_find(c->db, name, &run));
    if (progress_complete(&run) || run.missed)
        return err_make(ERR_STATE, 0, "cannot %s run %" PRIu64 ": it is %s", change->command,
                        run.id, run.missed ? "missed" : "complete");
    if (goes_on && run.control == TALLY_PAUSED) postpone(c, run.id);
    TRY(db_execf(c->db, &matched,
                 "UPDATE run SET control = '%s' WHERE id = %" PRIu64 " AND control IN (%s)",
                 change->to, run.id, change->from));
    if (matched) {
        printf("run %" PRIu64 " of %s: %s\n", run.id, run.campaign, change->done);
    } else {
        TRY(tally_reread(c->db, &run));
        TRY(already(change, &run));
    }
    fflush(stdout);
    if (goes_on) move_parked(c, run.id);
    return err_none();
}

static int command(struct console *c, int argc, char **argv, const struct change *change)
{
    if (!console_options(&argc, argv, NULL, 0, 1, 1)) return CONSOLE_USAGE;
    c->changes = true;
    struct err e = console_open(c);
    if (!e.code) e = apply(c, change, argv[1]);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}

int command_pause(struct console *c, int argc, char **argv)
{
    static const struct change pause = {"pause", "'go'", "paused", "paused"};
    return command(c, argc, argv, &pause);
}

int command_resume(struct console *c, int argc, char **argv)
{
    static const struct change resume = {"resume", "'paused'", "go", "resumed"};
    return command(c, argc, argv, &resume);
}

int command_cancel(struct console *c, int argc, char **argv)
{
    static const struct change cancel = {"cancel", "'go', 'paused'", "cancelled", "cancelled"};
    return command(c, argc, argv, &cancel);
}
