/* The watermark's window. */
#include "consumer/window.h"

#define COMMIT_WEIGHT  0.25 /* of the newest observation */
#define RATE_S         0.25 /* the rate is that of about so long */
#define COMMIT_FIRST_S 0.01 /* what the first commits can count for */

/* One slow commit is an outage, or a worker that was stopped: only several in a row are a slow
 * database. Else the window would be at its widest just when workers are dying. */
static double smooth_commit(double old_s, double now_s)
{
    double most_s = 2 * old_s + COMMIT_FIRST_S;
    if (now_s > most_s) now_s = most_s;
    return old_s + COMMIT_WEIGHT * (now_s - old_s);
}

/* Outcomes come in bursts, and commits at any distance: weighted by time, not by commit. */
static double smooth_rate(double old, uint32_t outcomes, double passed_s)
{
    return (old * RATE_S + outcomes) / (RATE_S + passed_s);
}

void window_observe(struct window *w, uint32_t outcomes, int64_t began_us, int64_t ended_us)
{
    w->commit_s = smooth_commit(w->commit_s, (double)(ended_us - began_us) / 1e6);
    if (w->last_us && ended_us > w->last_us)
        w->rate = smooth_rate(w->rate, outcomes, (double)(ended_us - w->last_us) / 1e6);
    w->last_us = ended_us;
}

uint32_t window_size(const struct window *w, uint32_t connections)
{
    uint32_t most = connections * 2 > WINDOW_MAX ? connections * 2 : WINDOW_MAX;
    double ahead = 2 * w->rate * (w->commit_s + WINDOW_GATHER_US / 1e6);
    if (ahead < connections) ahead = connections;
    return connections + ahead < most ? connections + (uint32_t)ahead : most;
}

bool window_runs_low(uint32_t size, uint32_t used, uint32_t connections)
{
    return 2 * used <= size + connections;
}
