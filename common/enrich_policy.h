/* What an answer of a contact service means, and how long to wait for the next one. All policy of
 * enrichment is here. Pure. */
#ifndef MAILFLOCK_ENRICH_POLICY_H
#define MAILFLOCK_ENRICH_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/http_client.h"

enum enrich_verdict {
    ENRICH_TAKE,   /* the body can be read */
    ENRICH_WAIT,   /* the service is down or busy: ask again later */
    ENRICH_REFUSE, /* it answers, but not what was asked for: somebody has to look */
};

/* enrich_judge: *why says what is wrong, for a log or an error; untouched for ENRICH_TAKE. */
enum enrich_verdict enrich_judge(const struct http_answer *answer, struct err *why);

/* enrich_pause_us: from a failed try to the next one. tries counts the failed ones, from 1; the
 * last of the waits repeats; a longer Retry-After counts instead. */
int64_t enrich_pause_us(const struct conf_durations *waits, unsigned tries, int64_t retry_after_s);

/* enrich_patience_us: the moment past which nothing is waited for, of a call that failed first at
 * failed_us: the deadline, but at least all of the waits once. All on the same clock. */
int64_t enrich_patience_us(const struct conf_durations *waits, int64_t failed_us,
                           int64_t deadline_us);

/* enrich_is_patient: whether a call that has failed for the tries-th time is tried again after
 * pause_us: within its patience, and in any case once after each of the waits. */
bool enrich_is_patient(const struct conf_durations *waits, unsigned tries, int64_t pause_us,
                       int64_t now_us, int64_t patience_us);

#endif
