/* The suppression list's keys and reasons. Pure. */
#ifndef MAILFLOCK_CONSOLE_SUPPRESS_H
#define MAILFLOCK_CONSOLE_SUPPRESS_H

#include <stddef.h>

#include "common/address.h"

enum { SUPPRESS_REASON_MAX = 255 }; /* characters */

/* suppress_key: the address as the list has it, with a NUL behind it; NULL, or the static reason
 * why it is no address. */
const char *suppress_key(const char *address, size_t len, char out[ADDRESS_MAX + 1]);

/* suppress_reason_problem: NULL, or the static reason why the text cannot be a reason. */
const char *suppress_reason_problem(const char *reason, size_t len);

#endif
