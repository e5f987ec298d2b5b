/* One value of a configuration: from text into its field, checked against its key. Shared by the
 * parts of common/config.h only. */
#ifndef MAILFLOCK_CONFIG_VALUE_H
#define MAILFLOCK_CONFIG_VALUE_H

#include "common/config.h"

/* In all of these field points at the key's field in its struct, and where is the beginning of an
 * error's text: what the user has to look at. */

/* conf_value_set: parses text as in the environment; replaces and frees the old value. */
struct err conf_value_set(const struct conf_key *key, void *field, const char *text,
                          const char *where) MUST_CHECK;

/* conf_value_set_int: for CONF_INT. */
struct err conf_value_set_int(const struct conf_key *key, void *field, long long value,
                              const char *where) MUST_CHECK;

/* conf_value_add: appends an item to a list. */
struct err conf_value_add(const struct conf_key *key, void *field, const char *text,
                          const char *where) MUST_CHECK;

/* conf_value_free: frees and zeroes; not for CONF_GROUPS. */
void conf_value_free(const struct conf_key *key, void *field);

/* conf_value_wrong: ERR_CONFIG, "WHERE must be ..., not GOT". */
struct err conf_value_wrong(const struct conf_key *key, const char *where,
                            const char *got) MUST_CHECK;

/* conf_value_describe: what the key may hold: "an integer from 1 to 100". */
void conf_value_describe(const struct conf_key *key, struct buf *out);

#endif
