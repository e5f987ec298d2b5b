/* Many failed recipients. */
#include "consumer/failing.h"

bool failing_count(struct failing *f, const struct outcome *outcome, int64_t now_us)
{
    if (now_us - f->since_us >= FAILING_EVERY_S * 1000000LL) {
        f->failed = f->outcomes = 0;
        f->since_us = now_us;
    }
    f->outcomes++;
    if (outcome->status != OUTCOME_FAILED) return false;
    f->failed++;
    f->last = *outcome;
    return f->failed >= FAILING_LEAST && f->failed >= f->outcomes / FAILING_SHARE &&
           now_us >= f->next_us;
}

void failing_said(struct failing *f, int64_t now_us)
{
    *f = (struct failing){.since_us = now_us, .next_us = now_us + FAILING_EVERY_S * 1000000LL};
}
