/* Envelope senders that a relay has refused, and until when this worker sets them aside
 * (PROTOCOL S2): a refused sender stops its own runs on that transport, and no others. Owned by the
 * ledger thread. Pure: times are CLOCK_BOOTTIME in microseconds and come from the caller. */
#ifndef MAILFLOCK_SET_ASIDE_H
#define MAILFLOCK_SET_ASIDE_H

#include <stdbool.h>
#include <stdint.h>

/* The waits after the first refusal, the second and so on; the last one repeats. They are delay
 * queues too (common/start.c). */
enum { SET_ASIDE_STEPS = 3 };
extern const int SET_ASIDE_DELAYS_S[SET_ASIDE_STEPS];

struct set_aside_sender {
    char *transport, *from; /* owned */
    int refusals;           /* in a row */
    int64_t until_us;
};

struct set_aside {
    struct set_aside_sender *senders; /* owned; zeroed: none */
    int n;
};

void set_aside_fini(struct set_aside *s);

/* set_aside_refused: the relay has refused from. Returns the seconds to wait, one of
 * SET_ASIDE_DELAYS_S; 0: it is set aside already, and this refusal belongs to the same trouble. */
int set_aside_refused(struct set_aside *s, const char *transport, const char *from, int64_t now_us);

/* set_aside_wait: which of SET_ASIDE_DELAYS_S a chunk of that sender has to wait; 0: none. */
int set_aside_wait(const struct set_aside *s, const char *transport, const char *from,
                   int64_t now_us);

/* set_aside_answered: a mail of from was answered. Forgets a sender whose time is over: true. */
bool set_aside_answered(struct set_aside *s, const char *transport, const char *from,
                        int64_t now_us);

/* set_aside_count: senders that wait now. */
int set_aside_count(const struct set_aside *s, int64_t now_us);

#endif
