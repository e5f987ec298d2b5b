/* All policy about replies. */
#include "consumer/outcome.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "consumer/retry_after.h"

static const char *const NAMES[] = {"",           "sent",    "failed",  "deferred",
                                    "suppressed", "skipped", "unknown", "deferred"};

const char *outcome_status_name(enum outcome_status status)
{
    return NAMES[status];
}

enum outcome_status outcome_status_parse(const char *name)
{
    for (int i = OUTCOME_SENT; i < OUTCOME_STATUSES; i++)
        if (strcmp(NAMES[i], name) == 0) return (enum outcome_status)i;
    return OUTCOME_NONE;
}

void outcome_set(struct outcome *out, enum outcome_status status, const char *reason)
{
    out->status = (uint8_t)status;
    out->code = 0;
    out->enhanced[0] = '\0';
    log_text(out->detail, sizeof out->detail, reason, strlen(reason));
}

static void set_from_reply(struct outcome *out, enum outcome_status status, const struct reply *r)
{
    out->status = (uint8_t)status;
    out->code = (uint16_t)r->code;
    memcpy(out->enhanced, r->enhanced, sizeof out->enhanced);
    log_text(out->detail, sizeof out->detail, r->text, r->text_len);
}

/* PROTOCOL S2: at MAIL FROM these speak of this message. */
static bool about_this_message(const struct reply *r)
{
    return r->code == 552 || strcmp(r->enhanced, "5.3.4") == 0 || strcmp(r->enhanced, "5.6.7") == 0;
}

static bool begins_with(const char *enhanced, const char *start)
{
    return strncmp(enhanced, start, strlen(start)) == 0;
}

/* PROTOCOL S2: the server is in trouble: its system, the network, its policy for clients (RFC 3463
 * 3.4, 3.5, 3.8). Without an enhanced code RFC 5321 4.2.3 says it: 451, 452, and 454 of RFC 4954.
 */
static bool about_the_server(const struct reply *r)
{
    if (!*r->enhanced) return r->code == 451 || r->code == 452 || r->code == 454;
    return begins_with(r->enhanced, "4.3.") || begins_with(r->enhanced, "4.4.") ||
           begins_with(r->enhanced, "4.7.");
}

/* RFC 3463 3.2: 5.1.x is the address; 5.1.7 and 5.1.8 are the sender's. */
static bool address_is_dead(const struct reply *r)
{
    return strncmp(r->enhanced, "5.1.", 4) == 0 && strcmp(r->enhanced, "5.1.7") != 0 &&
           strcmp(r->enhanced, "5.1.8") != 0;
}

/* PROTOCOL S2: the server has not heard of the recipient yet. */
static enum outcome_verdict judge_mail_refusal(const struct reply *r, struct outcome *out)
{
    if (r->code == 421) return VERDICT_CONNECTION;
    if (r->code < 500 && about_the_server(r)) return VERDICT_TRANSPORT;
    bool message = r->code >= 500 && about_this_message(r);
    set_from_reply(out, message ? OUTCOME_FAILED : OUTCOME_NONE, r);
    if (r->code < 500) out->retry_after_s = retry_after_parse(r->text, r->text_len);
    return message ? VERDICT_RECIPIENT : VERDICT_SENDER;
}

static enum outcome_verdict judge_refusal(enum outcome_stage stage, const struct reply *r,
                                          struct outcome *out)
{
    if (stage == STAGE_MAIL) return judge_mail_refusal(r, out);
    if (r->code < 500) {
        if (r->code == 421 && stage != STAGE_DOT) return VERDICT_CONNECTION;
        set_from_reply(out, OUTCOME_DEFERRED, r);
        out->retry_after_s = retry_after_parse(r->text, r->text_len);
        return VERDICT_RECIPIENT;
    }
    set_from_reply(out, OUTCOME_FAILED, r);
    out->suppress = stage == STAGE_RCPT && address_is_dead(r);
    return VERDICT_RECIPIENT;
}

enum outcome_verdict outcome_judge(enum outcome_stage stage, const struct reply *r,
                                   struct outcome *out)
{
    bool positive = stage == STAGE_DATA ? r->code == 354 : r->code >= 200 && r->code < 300;
    out->suppress = false;
    out->retry_after_s = 0;
    if (positive) {
        if (stage == STAGE_DOT) set_from_reply(out, OUTCOME_SENT, r);
        return VERDICT_OK;
    }
    if (r->code >= 400 && r->code < 600) return judge_refusal(stage, r, out);
    /* Neither yes nor no: the dialogue is out of step. After the final dot it may be a yes. */
    if (stage != STAGE_DOT) return VERDICT_CONNECTION;
    set_from_reply(out, OUTCOME_UNKNOWN, r);
    return VERDICT_RECIPIENT;
}

static void give_up(struct outcome *out, const struct outcome_rules *rules)
{
    char text[sizeof out->detail + 64];
    int len =
        snprintf(text, sizeof text, "gave up after attempt %u: %s", rules->attempt, out->detail);
    out->status = OUTCOME_FAILED;
    log_text(out->detail, sizeof out->detail, text, (size_t)len);
}

void outcome_settle(struct outcome *out, const struct outcome_rules *rules)
{
    if (out->status == OUTCOME_DEFERRED &&
        ((int64_t)rules->attempt >= rules->max_attempts || rules->age_s > rules->max_age_s))
        give_up(out, rules);
    /* PROTOCOL C12 */
    if (out->maybe && (out->status == OUTCOME_FAILED || out->status == OUTCOME_SKIPPED ||
                       out->status == OUTCOME_SUPPRESSED))
        out->status = OUTCOME_UNKNOWN;
    if (out->status == OUTCOME_OPEN) {
        out->maybe = true;
        if (!rules->resend) out->status = OUTCOME_UNKNOWN;
    }
    if (out->status == OUTCOME_UNKNOWN) out->maybe = true;
}
