/* Names of keys: finding them in a table, and what to suggest for one that is not there. Shared by
 * the parts of common/config.h only. */
#ifndef MAILFLOCK_CONFIG_HINT_H
#define MAILFLOCK_CONFIG_HINT_H

#include "common/config.h"

/* conf_find: borrows the key at path; with as_file the secret for which path = KEY_file. NULL where
 * there is none. */
const struct conf_key *conf_find(const struct conf_table *table, const char *path, bool as_file);

/* conf_is_group: some key lies below path. */
bool conf_is_group(const struct conf_table *table, const char *path);

/* conf_hint: "did you mean 'broker.host'?" or else what is known beside path. */
void conf_hint(const struct conf_table *table, const char *path, struct buf *out);

#endif
