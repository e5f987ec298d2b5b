/* The table-driven reader of configuration files. One table per struct says where each key goes,
 * what it may hold, its default and its help; reading, checking, overriding from the environment,
 * freeing and documenting all follow from it. Names begin with conf_ because libconfig, which reads
 * the file, owns config_. */
#ifndef MAILFLOCK_CONFIG_H
#define MAILFLOCK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum { CONF_PATH_MAX = 256, CONF_ITEMS_MAX = 100, CONF_TEXT_MAX = 65536 };

enum conf_type {
    CONF_TEXT,          /* char *, never NULL; UTF-8; one line unless CONF_LINES */
    CONF_INT,           /* int */
    CONF_BOOL,          /* bool */
    CONF_DURATION,      /* int64_t milliseconds; written "250ms" "10s" "5m" "1h" "2d" */
    CONF_CHOICE,        /* int: the index of the text in choices */
    CONF_TEXT_LIST,     /* struct conf_texts */
    CONF_DURATION_LIST, /* struct conf_durations */
    CONF_GROUPS         /* struct conf_groups: groups whose names the user chooses */
};

enum {
    CONF_REQUIRED = 1, /* there is no default */
    CONF_SECRET = 2,   /* a text never shown; may come from a file: KEY_file, VARIABLE_FILE */
    CONF_LINES = 4     /* a text that may hold line breaks and tabs */
};

struct conf_texts {
    char **items;
    size_t count;
};

struct conf_durations {
    int64_t *ms;
    size_t count;
};

struct conf_groups {
    void *items; /* of the struct that the group's table describes */
    size_t count;
};

struct conf_table;

struct conf_key {
    const char *path; /* dotted: "broker.host" */
    enum conf_type type;
    unsigned flags;
    size_t offset;      /* of the field in its struct */
    const char *preset; /* the default, written as in the environment; lists with commas */
    /* INT: the value; DURATION and DURATION_LIST: milliseconds; TEXT and TEXT_LIST: bytes of a
     * text (max 0 = CONF_TEXT_MAX). */
    int64_t min, max;
    const char *const *choices;      /* ends with NULL; also confines a TEXT */
    const struct conf_table *groups; /* of CONF_GROUPS */
    const char *help;                /* a sentence or two, in Markdown */
};

/* The first field of a struct in conf_groups is char *name. */
struct conf_table {
    const struct conf_key *keys;
    size_t count;
    size_t struct_size;
    bool from_environment; /* MAILFLOCK_<PATH>, upper case, dots and hyphens as underscores */
};

/* conf_read: fills the struct at into (borrowed; what it held is not freed) from defaults, file and
 * environment, in rising order. ERR_CONFIG for a syntax error, an unknown key at any depth, a wrong
 * type, a value out of range: with file and line or the variable, and what would be right. ERR_IO
 * where the file cannot be read, ERR_TOO_BIG past 1 MiB. On failure nothing is left to free. */
struct err conf_read(const char *file, const struct conf_table *table, void *into) MUST_CHECK;

/* conf_free: frees all that the table owns; a second time is harmless. */
void conf_free(const struct conf_table *table, void *from);

void conf_texts_free(struct conf_texts *texts);

/* conf_error: ERR_CONFIG for a rule between keys, found after reading; path is given as in the
 * file, and the text begins with file, line (or variable) and path, as those of conf_read do. */
struct err conf_error(const char *file, const struct conf_table *table, const char *path,
                      const char *format, ...) MUST_CHECK __attribute__((format(printf, 4, 5)));

/* conf_file_read: appends the bytes of a regular file to out; ERR_TOO_BIG past out's maximum. */
struct err conf_file_read(const char *path, struct buf *out) MUST_CHECK;

/* conf_utf8_valid: text is well-formed UTF-8 without NUL. */
bool conf_utf8_valid(const char *text, size_t len);

/* conf_variable: the environment's name for a path, cut at size; returns out. */
const char *conf_variable(const char *path, char *out, size_t size);

enum conf_help { CONF_HELP_TEXT, CONF_HELP_MARKDOWN };

/* conf_help: every key with type, default, range and help. */
void conf_help(const struct conf_table *table, enum conf_help form, struct buf *out);

#endif
