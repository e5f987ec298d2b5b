/* SHA-1 (FIPS 180-4), for names that have to be the same as before; it protects nothing. Pure. */
#ifndef MAILFLOCK_SHA1_H
#define MAILFLOCK_SHA1_H

#include <stddef.h>

enum { SHA1_HEX_SIZE = 41 };

/* sha1_hex: 40 lower case digits and a NUL. */
void sha1_hex(const void *bytes, size_t len, char out[SHA1_HEX_SIZE]);

#endif
