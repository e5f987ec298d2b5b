/* The watermark's window. */
#include "consumer/window.h"

#define WEIGHT 0.25 /* of the newest observation */

static double smooth(double old, double now)
{
    return old > 0 ? old + WEIGHT * (now - old) : now;
}

void window_observe(struct window *w, uint32_t outcomes, int64_t began_us, int64_t ended_us)
{
    w->commit_s = smooth(w->commit_s, (double)(ended_us - began_us) / 1e6);
    if (w->last_us && ended_us > w->last_us)
        w->rate = smooth(w->rate, outcomes * 1e6 / (double)(ended_us - w->last_us));
    w->last_us = ended_us;
}

uint32_t window_size(const struct window *w, uint32_t connections)
{
    uint32_t most = connections * 2 > WINDOW_MAX ? connections * 2 : WINDOW_MAX;
    double ahead = 2 * w->rate * w->commit_s;
    if (ahead < connections) ahead = connections;
    return connections + ahead < most ? connections + (uint32_t)ahead : most;
}
