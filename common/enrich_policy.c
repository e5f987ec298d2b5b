/* A service that is down heals by itself and is waited for; one that answers wrongly is not asked
 * again and again. */
#include "common/enrich_policy.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"

enum { RETRY_AFTER_MAX_S = 24 * 3600 }; /* more is taken for a mistake */

static bool is_busy(int status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

/* application/json or application/...+json (RFC 6839, 3.1), with any parameters. */
static bool is_json(const char *type)
{
    size_t len = strcspn(type, "; \t");
    if (len < 16 || strncasecmp(type, "application/", 12) != 0) return false;
    if (len == 16) return strncasecmp(type + 12, "json", 4) == 0;
    return strncasecmp(type + len - 5, "+json", 5) == 0;
}

static struct err broken(const struct http_answer *answer)
{
    return err_make(ERR_IO, 0, "no whole answer: %s", answer->failure);
}

static struct err wrong_status(const struct http_answer *answer)
{
    char location[sizeof answer->location];
    log_text(location, sizeof location, answer->location, strlen(answer->location));
    if (answer->status >= 300 && answer->status < 400)
        return err_make(ERR_INPUT, answer->status,
                        "it answers %d and leads to '%s', where nothing is sent: set the url that "
                        "answers itself",
                        answer->status, location);
    return err_make(ERR_INPUT, answer->status, "it answers %d, not 200", answer->status);
}

static struct err wrong_type(const struct http_answer *answer)
{
    char type[sizeof answer->content_type];
    log_text(type, sizeof type, answer->content_type, strlen(answer->content_type));
    if (!*type)
        return err_make(ERR_INPUT, 0, "its answer has no content type, not application/json");
    return err_make(ERR_INPUT, 0, "its answer is '%s', not application/json", type);
}

enum enrich_verdict enrich_judge(const struct http_answer *answer, struct err *why)
{
    if (answer->status && is_busy(answer->status)) {
        *why = err_make(ERR_IO, answer->status, "it answers %d", answer->status);
        return ENRICH_WAIT;
    }
    if (answer->end == HTTP_BROKEN) {
        *why = broken(answer);
        return ENRICH_WAIT;
    }
    if (answer->end == HTTP_HOPELESS)
        *why = broken(answer);
    else if (answer->status != 200)
        *why = wrong_status(answer);
    else if (!is_json(answer->content_type))
        *why = wrong_type(answer);
    else if (answer->end == HTTP_TOO_BIG)
        *why = err_make(ERR_TOO_BIG, 0,
                        "its answer is larger than the limit; make enrich.batch "
                        "smaller");
    else
        return ENRICH_TAKE;
    return ENRICH_REFUSE;
}

int64_t enrich_pause_us(const struct conf_durations *waits, unsigned tries, int64_t retry_after_s)
{
    size_t i = tries ? tries - 1 : 0;
    if (i >= waits->count) i = waits->count - 1;
    if (retry_after_s > RETRY_AFTER_MAX_S) retry_after_s = RETRY_AFTER_MAX_S;
    int64_t pause_us = waits->ms[i] * 1000, asked_us = retry_after_s * 1000000;
    return pause_us > asked_us ? pause_us : asked_us;
}

int64_t enrich_patience_us(const struct conf_durations *waits, int64_t failed_us,
                           int64_t deadline_us)
{
    int64_t until_us = failed_us;
    for (size_t i = 0; i < waits->count; i++) until_us += waits->ms[i] * 1000;
    return until_us > deadline_us ? until_us : deadline_us;
}

bool enrich_is_patient(const struct conf_durations *waits, unsigned tries, int64_t pause_us,
                       int64_t now_us, int64_t patience_us)
{
    if (now_us + pause_us <= patience_us) return true;
    return tries <= waits->count && pause_us <= waits->ms[tries - 1] * 1000;
}
