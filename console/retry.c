/* mailflock retry, mailflock unknown: the operator decides about recipients that have an outcome.
 * Whatever is refused is refused before anything changes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "console/console.h"
#include "console/progress.h"
#include "console/recipients.h"
#include "console/reopen.h"
#include "console/tally.h"

enum { CODE_MOST = 65535 };

#define CHANGED "run %" PRIu64 ": %" PRId64 " recipient%s in %" PRId64 " chunk%s %s"
#define CHANGED_ARGS(run, result, what)                                                            \
    (run), (result)->recipients, (result)->recipients == 1 ? "" : "s", (result)->chunks,           \
        (result)->chunks == 1 ? "" : "s", (what)

/* e broke the command off: what was done until then holds. */
static struct err finish(const char *what, uint64_t run, const struct reopen_result *result,
                         struct err e)
{
    if (e.code && !result->chunks) return e;
    if (e.code)
        return err_wrap(e, CHANGED "; repeat the command for the others when these are settled",
                        CHANGED_ARGS(run, result, what));
    printf(CHANGED "\n", CHANGED_ARGS(run, result, what));
    if (!result->refused) return err_none();
    return err_make(ERR_STATE, 0,
                    "%" PRId64 " chunks were taken up by workers meanwhile and are unchanged: run "
                    "the command again when they are done",
                    result->refused);
}

/* The end of a resend, whatever came of it; over a new connection where the old one was lost. */
static struct err open_publishing(struct console *c, uint64_t run, struct err e)
{
    if (e.code == ERR_DB && db_failure_of(&e) == DB_FAILURE_LOST) {
        struct err again = console_reopen(c);
        if (again.code) return e;
    }
    struct err opened = reopen_publishing(c->db, run);
    return e.code ? e : opened;
}

static struct err resend(struct console *c, const struct tally *run,
                         const struct reopen_choice *choice)
{
    struct reopen_result result;
    const char *status = TALLY_STATUS_NAMES[choice->status];
    if (run->control == TALLY_CANCELLED)
        return err_make(ERR_STATE, 0,
                        "run %" PRIu64 " is cancelled: a worker would only skip them again",
                        run->id);
    if (!run->counts[choice->status])
        return err_make(ERR_STATE, 0, "run %" PRIu64 " has no recipient that is %s: nothing to do",
                        run->id, status);
    struct err e = reopen_resend(c->db, run->id, choice, &result);
    if (result.chunks || e.code == ERR_DB) e = open_publishing(c, run->id, e);
    if (!e.code && !result.recipients && !result.refused)
        return err_make(ERR_STATE, 0, "run %" PRIu64 " has no %s recipient with such a code",
                        run->id, status);
    return finish("will be sent again by 'mailflock-producer due'", run->id, &result, e);
}

static bool retry_status(const char *word, enum tally_status *status)
{
    static const enum tally_status allowed[] = {TALLY_FAILED, TALLY_SUPPRESSED, TALLY_SKIPPED};
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        *status = allowed[i];
        if (strcmp(word, TALLY_STATUS_NAMES[*status]) == 0) return true;
    }
    return false;
}

static struct err retry(struct console *c, const char *name, const struct reopen_choice *choice)
{
    struct tally run;
    TRY(tally_find(c->db, name, &run));
    if (!progress_complete(&run))
        return err_make(ERR_STATE, 0,
                        "run %" PRIu64 " is %s, with %" PRId64 " recipients pending and %" PRId64
                        " deferred: only a run that is over can be retried",
                        run.id, progress_word(&run), progress_pending(&run),
                        run.counts[TALLY_DEFERRED]);
    return resend(c, &run, choice);
}

int command_retry(struct console *c, int argc, char **argv)
{
    const char *status = "failed", *code = NULL;
    struct reopen_choice choice = {TALLY_FAILED, 0, CODE_MOST};
    const struct console_option options[] = {{"--status", NULL, &status}, {"--code", NULL, &code}};
    if (!console_options(&argc, argv, options, 2, 1, 1)) return CONSOLE_USAGE;
    if (strcmp(status, "unknown") == 0)
        return console_usage(argv[0],
                             "those may have got it: that is 'mailflock unknown --resend'");
    if (!retry_status(status, &choice.status))
        return console_usage(argv[0], "--status takes failed, suppressed or skipped");
    if (code && !reopen_parse_code(code, &choice.code_least, &choice.code_most))
        return console_usage(argv[0], "--code takes a reply code such as 4xx, 55x or 550");
    c->changes = true;
    struct err e = console_open(c);
    if (!e.code) e = retry(c, argv[1], &choice);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}

static struct err mark_sent(struct console *c, const struct tally *run)
{
    struct reopen_result result;
    if (!run->counts[TALLY_UNKNOWN])
        return err_make(ERR_STATE, 0, "run %" PRIu64 " has no recipient that is unknown", run->id);
    struct err e = reopen_mark_sent(c->db, run->id, &result);
    return finish("now count as sent", run->id, &result, e);
}

int command_unknown(struct console *c, int argc, char **argv)
{
    bool again = false, sent = false, csv = false;
    struct tally run;
    const struct reopen_choice choice = {TALLY_UNKNOWN, 0, CODE_MOST};
    const struct console_option options[] = {
        {"--resend", &again, NULL}, {"--mark-sent", &sent, NULL}, {"--csv", &csv, NULL}};
    if (!console_options(&argc, argv, options, 3, 1, 1)) return CONSOLE_USAGE;
    if (again + sent + csv > 1)
        return console_usage(argv[0], "--resend, --mark-sent and --csv exclude one another");
    c->changes = again || sent;
    struct err e = console_open(c);
    if (!e.code) e = tally_find(c->db, argv[1], &run);
    if (!e.code && again) e = resend(c, &run, &choice);
    if (!e.code && sent) e = mark_sent(c, &run);
    if (!e.code && !again && !sent) e = recipients_print(c->db, run.id, TALLY_UNKNOWN, csv);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}
