/* One line per event on stderr: ts level mod, then key=value pairs; JSON objects when configured.
 * No bodies, no secrets, and addresses only at debug level. */
#ifndef MAILFLOCK_LOG_H
#define MAILFLOCK_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
/* Their names, in that order; the last is NULL. */
extern const char *const LOG_LEVEL_NAMES[];

/* log_setup: call once, before threads. The default is info, key=value. */
void log_setup(enum log_level least, bool json);

/* log_write: format holds key=value pairs, e.g. "msg=\"chunk done\" run=%u". Text values are
 * quoted by the caller and must come from err.text or from log_text. Any thread; a line is
 * written with one write(2). */
void log_write(enum log_level level, const char *mod, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* log_text: copies text as valid UTF-8 without double quotes, backslashes and control characters,
 * cut to size between characters; returns out. */
const char *log_text(char *out, unsigned long size, const char *text, unsigned long len);

/* log_text_masked: as log_text, and what looks like an address becomes [address]: for what a server
 * said. */
const char *log_text_masked(char *out, unsigned long size, const char *text, unsigned long len);

#define log_error(mod, ...) log_write(LOG_LEVEL_ERROR, mod, __VA_ARGS__)
#define log_warn(mod, ...)  log_write(LOG_LEVEL_WARN, mod, __VA_ARGS__)
#define log_info(mod, ...)  log_write(LOG_LEVEL_INFO, mod, __VA_ARGS__)
#define log_debug(mod, ...) log_write(LOG_LEVEL_DEBUG, mod, __VA_ARGS__)

#endif
