/* The pace of connecting. */
#include "consumer/connect_pace.h"

#include "common/clock.h"

enum { MORE_SOON_MS = 1000 }; /* after one more was taken, the next is tried */

void connect_pace_init(struct connect_pace *p, int most)
{
    *p = (struct connect_pace){.most = most, .limit = most};
}

static int64_t after_ms(int64_t now_us, int ms)
{
    return now_us + (int64_t)ms * 1000;
}

/* After trouble one connection goes first, to see whether it is over. */
static int allowed(const struct connect_pace *p, int64_t now_us)
{
    if (p->failures || p->fruitless > 1) return 1;
    return p->limit + (p->limit < p->most && now_us >= p->more_at_us);
}

int connect_pace_room(const struct connect_pace *p, int n_open, int n_connecting, int64_t now_us)
{
    if (now_us < p->wait_until_us) return 0;
    int room = allowed(p, now_us) - n_open - n_connecting;
    return room > 0 ? room : 0;
}

/* Those that fail together are one failure: else a few of them would make the first wait the
 * longest. */
static enum connect_pace_result wait(struct connect_pace *p, int *count, int64_t now_us,
                                     int *wait_ms)
{
    if (now_us < p->wait_until_us) return CONNECT_PACE_COUNTED;
    *wait_ms = clock_backoff_ms((*count)++, CONNECT_WAIT_BASE_MS, CONNECT_WAIT_MAX_MS);
    p->wait_until_us = after_ms(now_us, *wait_ms);
    return CONNECT_PACE_WAITS;
}

enum connect_pace_result connect_pace_failed(struct connect_pace *p, int n_welcome, int64_t now_us,
                                             int *wait_ms)
{
    if (!n_welcome) {
        p->limit = p->most; /* it is down: how many it will take is not known */
        return wait(p, &p->failures, now_us, wait_ms);
    }
    if (n_welcome < p->limit) p->limit = n_welcome;
    if (now_us < p->more_at_us) return CONNECT_PACE_COUNTED;
    *wait_ms = clock_backoff_ms(p->refusals++, CONNECT_MORE_BASE_MS, CONNECT_MORE_MAX_MS);
    p->more_at_us = after_ms(now_us, *wait_ms);
    return CONNECT_PACE_LIMITED;
}

enum connect_pace_result connect_pace_lost(struct connect_pace *p, int64_t now_us, int *wait_ms)
{
    return wait(p, &p->fruitless, now_us, wait_ms);
}

enum connect_pace_result connect_pace_ended(struct connect_pace *p, int64_t now_us, int *wait_ms)
{
    int none = 0;
    return wait(p, &none, now_us, wait_ms);
}

void connect_pace_welcome(struct connect_pace *p, int n_welcome, int64_t now_us)
{
    p->failures = 0;
    if (n_welcome <= p->limit) return;
    p->limit = n_welcome;
    p->refusals = 0;
    p->more_at_us = after_ms(now_us, MORE_SOON_MS);
}

void connect_pace_answered(struct connect_pace *p)
{
    p->fruitless = 0;
}
