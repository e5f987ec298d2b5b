/* Where Debian and its kin keep the system's certificates, for libraries that do not look there by
 * themselves. */
#ifndef MAILFLOCK_CA_FILE_H
#define MAILFLOCK_CA_FILE_H

#define CA_FILE_SYSTEM "/etc/ssl/certs/ca-certificates.crt"

#endif
