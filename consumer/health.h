/* Whether a transport takes mails, as one worker sees it. Pure: no I/O, reads no clock. */
#ifndef MAILFLOCK_HEALTH_H
#define MAILFLOCK_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

/* HEALTH_FAILING: the last thing it did was to fail. HEALTH_DOWN: it has done nothing else for a
 * while. */
enum health_state { HEALTH_UP, HEALTH_FAILING, HEALTH_DOWN };

enum {
    HEALTH_DOWN_FAILURES = 3,
    HEALTH_DOWN_US = 5000000,    /* from the first failure in a row to the last */
    HEALTH_STEADY_US = 60000000, /* up for so long, it begins anew with the shortest delay */
};

struct health {
    enum health_state state;
    int failures; /* in a row */
    int64_t first_failure_us, back_us;
    int n_down; /* how often it went down without having been up for long */
};

/* health_failed: a connection could not be opened, was refused, or broke before a mail was
 * answered. True: the state is another one now. */
bool health_failed(struct health *h, int64_t now_us);

/* health_answered: a mail got its reply, whatever it was. True: the state is another one now. */
bool health_answered(struct health *h, int64_t now_us);

/* health_delay_s: of chunks that are given back because it is down. It grows while the transport
 * comes and goes: 1, 15, 60, 300. */
int health_delay_s(const struct health *h);

#endif
