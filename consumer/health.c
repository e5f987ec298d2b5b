/* When a transport counts as down, and when it is back. */
#include "consumer/health.h"

bool health_failed(struct health *h, int64_t now_us)
{
    enum health_state before = h->state;
    if (!h->failures++) h->first_failure_us = now_us;
    if (before == HEALTH_DOWN) return false;
    h->state = h->failures >= HEALTH_DOWN_FAILURES && now_us - h->first_failure_us >= HEALTH_DOWN_US
                   ? HEALTH_DOWN
                   : HEALTH_FAILING;
    if (h->state == HEALTH_DOWN) {
        if (now_us - h->back_us > HEALTH_STEADY_US) h->n_down = 0;
        h->n_down++;
    }
    return h->state != before;
}

bool health_answered(struct health *h, int64_t now_us)
{
    enum health_state before = h->state;
    if (before == HEALTH_DOWN) h->back_us = now_us;
    h->state = HEALTH_UP;
    h->failures = 0;
    return before != HEALTH_UP;
}

int health_delay_s(const struct health *h)
{
    static const int DELAYS_S[] = {1, 15, 60, 300};
    enum { N = sizeof DELAYS_S / sizeof *DELAYS_S };
    int i = h->n_down > 0 ? h->n_down - 1 : 0;
    return DELAYS_S[i < N ? i : N - 1];
}
