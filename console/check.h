/* What the parts of `mailflock check` share. */
#ifndef MAILFLOCK_CONSOLE_CHECK_H
#define MAILFLOCK_CONSOLE_CHECK_H

#include <stdbool.h>

#include "common/audience.h"
#include "common/campaign.h"
#include "common/mime.h"
#include "console/console.h"

enum check_result { CHECK_OK, CHECK_WARNING, CHECK_ERROR };

struct check {
    struct console *console;
    const char *name; /* the campaign's */
    struct campaign campaign;
    struct message *message;
    bool json, schema_right;
    unsigned said, counts[3]; /* by result */
    struct buf out;
};

/* check_say: one line (or object) of the answer; what is a word or two. */
void check_say(struct check *k, enum check_result result, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* check_good: says the error, if there is one; true where there is none. */
bool check_good(struct check *k, const char *what, struct err e);

/* check_audience: whether it can be read, how its pages are read, and whether the templates have
 * what they name. campaign and message are there. */
void check_audience(struct check *k);

#endif
