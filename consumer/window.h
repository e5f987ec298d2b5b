/* The watermark's window: how many positions may be below the watermark without a committed
 * outcome. It is what a crash leaves ambiguous, and what the sender can do while outcomes are
 * gathered and committed: it sizes itself from the rate of outcomes and the time of a commit.
 * Pure. */
#ifndef MAILFLOCK_WINDOW_H
#define MAILFLOCK_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WINDOW_MAX = 512,        /* with up to 256 connections; above, twice the connections */
    WINDOW_GATHER_US = 8000, /* so long outcomes wait for others to share their commit */
};

struct window {
    double rate;     /* outcomes per second, smoothed */
    double commit_s; /* seconds of one commit, smoothed */
    int64_t last_us; /* end of the last commit observed */
};

/* window_observe: a commit of that many outcomes took from began_us to ended_us. */
void window_observe(struct window *w, uint32_t outcomes, int64_t began_us, int64_t ended_us);

/* window_size: what each connection has on the wire, and beside it what is sent while outcomes are
 * gathered and committed twice, at least once the connections. */
uint32_t window_size(const struct window *w, uint32_t connections);

/* window_runs_low: of a window of that size so many positions are used: half of what lies beyond
 * the connections is left. A wider one is worth a commit of its own. */
bool window_runs_low(uint32_t size, uint32_t used, uint32_t connections);

#endif
