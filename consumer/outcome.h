/* What happened to one recipient in one attempt, and all policy about it. A refused mail is data,
 * never a program error. Pure. */
#ifndef MAILFLOCK_OUTCOME_H
#define MAILFLOCK_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum outcome_status {
    OUTCOME_NONE,
    OUTCOME_SENT,
    OUTCOME_FAILED,
    OUTCOME_DEFERRED,
    OUTCOME_SUPPRESSED,
    OUTCOME_SKIPPED,
    OUTCOME_UNKNOWN,
    /* Given back unanswered under on_crash = resend, or not sent again when an earlier worker may
     * have sent it: no outcome of this attempt, but it may have been sent. Recorded as deferred
     * from the attempt before, with maybe (PROTOCOL C8). */
    OUTCOME_OPEN,
};
enum { OUTCOME_STATUSES = OUTCOME_UNKNOWN + 1 };

struct outcome {
    uint8_t status; /* enum outcome_status */
    bool maybe;     /* an earlier hand-over of this position may have reached the recipient */
    bool suppress;  /* the address does not exist: put it on the suppression list */
    uint16_t code;  /* of the reply; 0 without one */
    uint32_t retry_after_s; /* when the server wants a deferred one again; 0 = it does not say */
    int64_t at_us;          /* UTC, by the database's clock */
    char enhanced[12];      /* RFC 3463 "5.1.1", or "" */
    char detail[160];       /* the reply's text or our reason; one line */
};

/* outcome_status_name: the ledger's word, "" for NONE. outcome_status_parse: NONE for others. */
const char *outcome_status_name(enum outcome_status status);
enum outcome_status outcome_status_parse(const char *name);

/* Where in the dialogue a reply came. */
enum outcome_stage { STAGE_MAIL, STAGE_RCPT, STAGE_DATA, STAGE_DOT };

enum outcome_verdict {
    VERDICT_OK,         /* go on; at STAGE_DOT: out is sent */
    VERDICT_RECIPIENT,  /* out says what became of this recipient */
    VERDICT_CONNECTION, /* close it; the recipient is taken up again, no attempt used */
    VERDICT_SENDER,     /* the server refuses the envelope sender; out has the reply, no status */
    VERDICT_TRANSPORT,  /* the server is in trouble, or wrong for us: wait, then connect anew */
};

/* A server's reply, borrowed. text is the last line behind code and enhanced code. */
struct reply {
    int code;
    char enhanced[12];
    const char *text;
    size_t text_len;
};

/* outcome_judge: docs/protocol.md, S1 to S4. Fills out for VERDICT_RECIPIENT and at
 * STAGE_DOT; at_us is the caller's. */
enum outcome_verdict outcome_judge(enum outcome_stage stage, const struct reply *reply,
                                   struct outcome *out);

/* outcome_set: status with a reason of our own. */
void outcome_set(struct outcome *out, enum outcome_status status, const char *reason);

struct outcome_rules {
    unsigned attempt;
    int max_attempts;
    int64_t age_s, max_age_s; /* since the scheduled moment, when the next attempt would come */
    bool resend;
};

/* outcome_settle: turns what happened into what is recorded: deferred becomes failed after
 * max_attempts or max_age; a position that may have been sent and ends in anything but sent ends
 * unknown (PROTOCOL C12). */
void outcome_settle(struct outcome *out, const struct outcome_rules *rules);

#endif
