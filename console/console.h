/* What all commands of `mailflock` share: settings, database, options, errors for people. */
#ifndef MAILFLOCK_CONSOLE_CONSOLE_H
#define MAILFLOCK_CONSOLE_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"
#include "common/settings.h"

enum { CONSOLE_UNKNOWN_DATABASE = 1049 /* ER_BAD_DB_ERROR, of both servers */ };
enum { CONSOLE_DONE = 0, CONSOLE_FAILED = 1, CONSOLE_USAGE = 2 };

/* Zeroed but for config_file at first; console_close frees what the functions below put in. */
struct console {
    const char *config_file;
    bool changes; /* set before opening: row locks of workers' chunks go soon after their client */
    struct settings settings;
    struct db *db;
};

/* A command: argv[0] is its name; the answer is the exit status. */
struct console_command {
    const char *name, *args, *help;
    int (*run)(struct console *c, int argc, char **argv);
};

/* All of them, in the order of the help; the last has no name. */
extern const struct console_command CONSOLE_COMMANDS[];

int command_init(struct console *c, int argc, char **argv);
int command_status(struct console *c, int argc, char **argv);
int command_runs(struct console *c, int argc, char **argv);
int command_schedule(struct console *c, int argc, char **argv);
int command_audit(struct console *c, int argc, char **argv);
int command_pause(struct console *c, int argc, char **argv);
int command_resume(struct console *c, int argc, char **argv);
int command_cancel(struct console *c, int argc, char **argv);
int command_failures(struct console *c, int argc, char **argv);
int command_unknown(struct console *c, int argc, char **argv);
int command_retry(struct console *c, int argc, char **argv);
int command_skip(struct console *c, int argc, char **argv);
int command_dead(struct console *c, int argc, char **argv);
int command_check(struct console *c, int argc, char **argv);
int command_preview(struct console *c, int argc, char **argv);
int command_import(struct console *c, int argc, char **argv);
int command_suppress(struct console *c, int argc, char **argv);

/* console_read_settings: the configuration file, and logging as it says. */
struct err console_read_settings(struct console *c) MUST_CHECK;

/* console_db_config: what the console's connections have in common. Borrows the settings. */
struct db_config console_db_config(const struct console *c);

/* console_open: settings, database, and a schema of the right version. console_open_ledger: the
 * same, when the settings have been read. */
struct err console_open(struct console *c) MUST_CHECK;
struct err console_open_ledger(struct console *c) MUST_CHECK;

/* console_reopen: a new connection in place of one that was lost. */
struct err console_reopen(struct console *c) MUST_CHECK;
void console_close(struct console *c);

/* console_fail: prints the error; returns CONSOLE_FAILED. */
int console_fail(const struct err *e);

/* console_usage: prints what is wrong with the arguments; returns CONSOLE_USAGE. */
int console_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* An option: --name sets *set; or, where value is not NULL, --name TEXT or --name=TEXT. */
struct console_option {
    const char *name; /* with its dashes */
    bool *set;
    const char **value;
};

/* console_options: takes the options out of argv (argv[0] stays; "--" ends them) and checks that
 * min to max arguments are left. False after having said what is wrong. */
bool console_options(int *argc, char **argv, const struct console_option *options, size_t count,
                     int min, int max);

/* console_number: text as a whole number from least to most; false for anything else. Pure. */
bool console_number(const char *text, uint32_t least, uint32_t most, uint32_t *number);

/* console_character: the bytes of the character at text (len is not 0), and whether it must not
 * reach a terminal: a control character (of U+0080 to U+009F too, which are commands to some), or a
 * byte that is not UTF-8. Pure. */
size_t console_character(const char *text, size_t len, bool *hidden);

/* console_text: text for a terminal: a character that must not get there becomes '?', and what
 * does not fit is cut off between characters. Returns out. */
const char *console_text(char *out, size_t size, const char *text);

#endif
