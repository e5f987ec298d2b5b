/* Shared by the parts of common/config.h only. */
#ifndef MAILFLOCK_CONFIG_SCAN_H
#define MAILFLOCK_CONFIG_SCAN_H

#include "common/err.h"

/* conf_scan: refuses what must not reach libconfig: @include, since it ends the program where the
 * included file cannot be read, and numbers of more than 9 digits, since it keeps their low 32 bits
 * without a word. */
struct err conf_scan(const char *file, const char *text) MUST_CHECK;

#endif
