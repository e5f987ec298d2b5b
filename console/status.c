/* mailflock status, mailflock runs: reads and prints; with --watch once a second until the run is
 * over. The database is asked for sums over chunk rows only while watching; delivery rows are
 * scanned once for a single answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "console/console.h"
#include "console/report.h"

enum { NEWEST_RUNS = 20, INTERVAL_MS = 1000, COLUMNS_ASSUMED = 100 };

/* Prints and empties the buffer. */
static struct err print(struct buf *text)
{
    TRY(buf_check(text, "the answer"));
    fwrite(text->data, 1, text->len, stdout);
    fflush(stdout);
    buf_reset(text);
    return ferror(stdout) ? err_make(ERR_IO, 0, "cannot write the answer") : err_none();
}

static struct err print_list(struct console *c, int limit, bool json)
{
    struct buf text;
    int count;
    struct tally *runs = mem_alloc(sizeof *runs * (size_t)limit);
    struct err e = tally_list(c->db, limit, runs, &count);
    buf_init(&text, REPORT_MAX);
    if (!e.code && json) {
        report_json_list(runs, count, &text);
        buf_append_char(&text, '\n');
    } else if (!e.code) {
        report_list(runs, count, &text);
    }
    if (!e.code) e = print(&text);
    buf_fini(&text);
    free(runs);
    return e;
}

static struct err print_one(struct console *c, const struct tally *run, bool json)
{
    struct tally_detail detail;
    struct buf text;
    TRY(tally_read_detail(c->db, run, true, &detail));
    buf_init(&text, REPORT_MAX);
    if (json) {
        double recent = progress_over(run) ? -1 : progress_recent_per_s(&detail);
        report_json_run(run, &detail, recent, &text);
        buf_append_char(&text, '\n');
    } else {
        report_detail(run, &detail, &text);
    }
    struct err e = print(&text);
    buf_fini(&text);
    return e;
}

static int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col) return size.ws_col;
    return COLUMNS_ASSUMED;
}

enum form { FORM_BAR, FORM_LINE, FORM_JSON };

static struct err print_state(struct console *c, const struct tally *run, double per_s,
                              enum form form, struct buf *text)
{
    struct tally_detail detail;
    bool over = progress_over(run);
    switch (form) {
    case FORM_BAR:
        buf_append_text(text, "\r\033[K");
        report_bar(run, per_s, terminal_columns(), text);
        if (over) buf_append_char(text, '\n');
        break;
    case FORM_LINE:
        report_line(run, per_s, text);
        break;
    case FORM_JSON:
        TRY(tally_read_detail(c->db, run, over, &detail));
        report_json_run(run, &detail, per_s, text);
        buf_append_char(text, '\n');
        break;
    }
    return print(text);
}

/* Another connection, with patience, where the old one was lost; else the error as it is. */
static struct err mend(struct console *c, struct err e)
{
    if (e.code != ERR_DB || db_failure_of(&e) != DB_FAILURE_LOST) return e;
    return console_reopen(c);
}

static struct err watch(struct console *c, struct tally *run, enum form form)
{
    struct progress_speed speed = {0};
    struct buf text;
    struct err e = err_none();
    int64_t next_us = clock_boot_us();
    buf_init(&text, REPORT_MAX);
    while (!e.code) {
        progress_speed_add(&speed, clock_boot_us(), run->counts[TALLY_SENT]);
        e = mend(c, print_state(c, run, progress_speed_per_s(&speed), form, &text));
        if (e.code || progress_over(run)) break;
        next_us += INTERVAL_MS * 1000;
        int64_t wait_us = next_us - clock_boot_us();
        if (wait_us > 0)
            clock_sleep_ms((int)(wait_us / 1000));
        else
            next_us -= wait_us;
        e = tally_reread(c->db, run);
        if (e.code) e = mend(c, e);
    }
    buf_fini(&text);
    if (!e.code && strcmp(progress_word(run), "stuck") == 0)
        e = err_make(ERR_STATE, 0, "run %llu is stuck: %lld chunks wait for 'mailflock dead'",
                     (unsigned long long)run->id, (long long)run->chunks[TALLY_STUCK]);
    return e;
}

static enum form form_for(bool json)
{
    if (json) return FORM_JSON;
    return isatty(STDOUT_FILENO) ? FORM_BAR : FORM_LINE;
}

int command_status(struct console *c, int argc, char **argv)
{
    bool watching = false, json = false;
    struct tally run;
    const struct console_option options[] = {{"--watch", &watching, NULL}, {"--json", &json, NULL}};
    if (!console_options(&argc, argv, options, 2, 0, 1)) return CONSOLE_USAGE;
    const char *name = argc > 1 ? argv[1] : NULL;
    struct err e = console_open(c);
    if (!e.code && !name && !watching) {
        e = print_list(c, NEWEST_RUNS, json);
    } else if (!e.code) {
        e = tally_find(c->db, name, &run);
        if (!e.code) e = watching ? watch(c, &run, form_for(json)) : print_one(c, &run, json);
    }
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}

int command_runs(struct console *c, int argc, char **argv)
{
    bool json = false;
    const char *limit_text = "100";
    const struct console_option options[] = {{"--limit", NULL, &limit_text},
                                             {"--json", &json, NULL}};
    if (!console_options(&argc, argv, options, 2, 0, 0)) return CONSOLE_USAGE;
    uint32_t limit;
    if (!console_number(limit_text, 1, TALLY_LIST_MAX, &limit))
        return console_usage(argv[0], "--limit takes 1 to %d", TALLY_LIST_MAX);
    struct err e = console_open(c);
    if (!e.code) e = print_list(c, (int)limit, json);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}
