/* File descriptors: a worker raises its limit to what it needs, and opens no more connections to
 * relays than leave enough for everything else. */
#ifndef MAILFLOCK_FILE_LIMIT_H
#define MAILFLOCK_FILE_LIMIT_H

#include <stddef.h>

#include "common/err.h"
#include "common/settings.h"

enum {
    /* Of a connection: its socket, a second one while two addresses are tried, libcurl's pair. */
    FILE_LIMIT_CONNECTION = 4,
    /* Of a transport: the pair and the sockets of one lookup of its name. */
    FILE_LIMIT_TRANSPORT = 4,
    /* Of everything else: queues, epoll, signals (5); database and RabbitMQ, each with the files
     * that are read to connect to it (8); certificates to trust, zones, and lookups that were given
     * up but go on (11). */
    FILE_LIMIT_RESERVE = 24,
    FILE_LIMIT_METRICS = 20, /* worker.listen: the port, and 16 who ask */
};

/* file_limit_needed: descriptors for all connections of the settings, with `open` open already.
 * Pure.
 */
size_t file_limit_needed(const struct settings *settings, size_t open);

/* file_limit_share: what a transport with that many connections gets of `room` connections, at
 * least one for each of `count` transports, which together want `wanted`: one, and its share of the
 * rest. Pure. */
int file_limit_share(int connections, size_t count, size_t room, size_t wanted);

/* file_limit_apply: raises this process's limit as far as it may, and lowers the connections of the
 * transports in settings to what fits, each with a warning. ERR_CONFIG where not even one
 * connection for each transport fits. */
struct err file_limit_apply(struct settings *settings) MUST_CHECK;

#endif
