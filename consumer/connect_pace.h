/* When a transport may open connections, and how many: waits that grow after failures, and the
 * number of connections that the relay takes. Pure: times are CLOCK_BOOTTIME in microseconds and
 * come from the caller. */
#ifndef MAILFLOCK_CONNECT_PACE_H
#define MAILFLOCK_CONNECT_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CONNECT_WAIT_BASE_MS = 250, /* the first wait after a failure; it doubles */
    CONNECT_WAIT_MAX_MS = 30000,
    CONNECT_MORE_BASE_MS = 30000, /* the first wait before one more connection is tried */
    CONNECT_MORE_MAX_MS = 300000,
};

struct connect_pace {
    int most;              /* connections of the settings */
    int limit;             /* connections that the relay takes; most while it has refused none */
    int failures;          /* in a row, since a MAIL was accepted */
    int fruitless;         /* connections in a row that were lost before a mail was answered */
    int refusals;          /* in a row, of connections beyond the limit */
    int64_t wait_until_us; /* no new connections before */
    int64_t more_at_us;    /* when one connection beyond the limit is tried */
};

void connect_pace_init(struct connect_pace *p, int most);

/* connect_pace_room: how many connections may be opened now, where n_open are open and n_connecting
 * are being opened. */
int connect_pace_room(const struct connect_pace *p, int n_open, int n_connecting, int64_t now_us);

/* What a failure came to. */
enum connect_pace_result {
    CONNECT_PACE_WAITS,   /* the transport waits for *wait_ms before the next connection */
    CONNECT_PACE_COUNTED, /* one of several that fail together: nothing has changed */
    CONNECT_PACE_LIMITED, /* the relay takes no more than limit; one more after *wait_ms */
};

/* connect_pace_failed: a connection could not be opened, or the server ended it. n_welcome: others
 * on which the server has accepted a MAIL; while there are any, the relay is not down, it takes no
 * more connections. */
enum connect_pace_result connect_pace_failed(struct connect_pace *p, int n_welcome, int64_t now_us,
                                             int *wait_ms);

/* connect_pace_lost: a connection was lost before a mail was answered on it. */
enum connect_pace_result connect_pace_lost(struct connect_pace *p, int64_t now_us, int *wait_ms);

/* connect_pace_ended: the server has ended a connection that did good: the shortest wait. */
enum connect_pace_result connect_pace_ended(struct connect_pace *p, int64_t now_us, int *wait_ms);

/* connect_pace_welcome: the server has accepted the first MAIL of a connection; n_welcome with this
 * one. It ends a failure. */
void connect_pace_welcome(struct connect_pace *p, int n_welcome, int64_t now_us);

/* connect_pace_answered: the server has answered for a mail. */
void connect_pace_answered(struct connect_pace *p);

#endif
