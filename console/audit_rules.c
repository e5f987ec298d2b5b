/* The rules of audit.h, one function each where they need one. Pure. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "console/audit.h"

static const char *const COUNT_RULES[TALLY_STATUSES] = {"count-sent",     "count-failed",
                                                        "count-deferred", "count-suppressed",
                                                        "count-skipped",  "count-unknown"};

/* The breach to fill in, or NULL past those that are shown. */
static struct audit_breach *add(struct audit *a, uint64_t run, int64_t chunk_no, const char *rule)
{
    if (a->breaches++ >= AUDIT_SHOWN) return NULL;
    struct audit_breach *b = &a->shown[a->breaches - 1];
    b->run = run;
    b->chunk_no = chunk_no;
    b->rule = rule;
    return b;
}

static void breach_texts(struct audit *a, uint64_t run, int64_t chunk_no, const char *rule,
                         const char *expected, const char *found)
{
    struct audit_breach *b = add(a, run, chunk_no, rule);
    if (!b) return;
    snprintf(b->expected, sizeof b->expected, "%s", expected);
    snprintf(b->found, sizeof b->found, "%s", found);
}

static void breach_numbers(struct audit *a, const struct audit_chunk *c, const char *rule,
                           const char *relation, int64_t expected, int64_t found)
{
    struct audit_breach *b = add(a, c->run, c->chunk_no, rule);
    if (!b) return;
    snprintf(b->expected, sizeof b->expected, "%s%" PRId64, relation, expected);
    snprintf(b->found, sizeof b->found, "%" PRId64, found);
}

static int64_t outcomes(const struct audit_chunk *c)
{
    int64_t sum = 0;
    for (int i = 0; i < TALLY_STATUSES; i++) sum += c->counts[i];
    return sum;
}

static void check_accounts(struct audit *a, const struct audit_chunk *c,
                           const struct audit_rows *rows)
{
    int64_t pending = c->recipients - outcomes(c);
    if (pending < 0) breach_numbers(a, c, "pending", ">=", 0, pending);
    for (int i = 0; i < TALLY_STATUSES; i++)
        if (c->counts[i] != rows->counts[i])
            breach_numbers(a, c, COUNT_RULES[i], "", rows->counts[i], c->counts[i]);
    int64_t open = (pending > 0 ? pending : 0) + c->counts[TALLY_DEFERRED];
    if (c->state == TALLY_DONE && open) breach_numbers(a, c, "done-open", "", 0, open);
}

static void check_rows(struct audit *a, const struct audit_chunk *c, const struct audit_rows *rows)
{
    if (rows->total && rows->max_position >= c->recipients)
        breach_numbers(a, c, "position", "<", c->recipients, rows->max_position);
    if (rows->max_attempt > c->attempt)
        breach_numbers(a, c, "attempt", "<=", c->attempt, rows->max_attempt);
    if (rows->maybe_ended) breach_numbers(a, c, "maybe", "", 0, rows->maybe_ended);
}

static const char *holding(bool token, bool lease)
{
    static const char *const words[2][2] = {{"neither", "lease-only"}, {"token-only", "both"}};
    return words[token][lease];
}

static void check_holding(struct audit *a, const struct audit_chunk *c)
{
    if (c->has_token != c->has_lease)
        breach_texts(a, c->run, c->chunk_no, "lease", "token-and-lease-or-neither",
                     holding(c->has_token, c->has_lease));
    if ((c->state == TALLY_DONE || c->state == TALLY_STUCK) && c->has_token)
        breach_texts(a, c->run, c->chunk_no, "over-token", "no-token",
                     c->state == TALLY_DONE ? "done-with-token" : "stuck-with-token");
}

static void check_progress(struct audit *a, const struct audit_chunk *c)
{
    if (c->started > c->recipients)
        breach_numbers(a, c, "started", "<=", c->recipients, c->started);
    if (outcomes(c) && !c->seq) breach_texts(a, c->run, c->chunk_no, "commit", "seq>0", "seq=0");
    if (outcomes(c) && !c->has_digest)
        breach_texts(a, c->run, c->chunk_no, "commit", "digest", "no-digest");
    if (c->state == TALLY_PLANNED && !c->publishing)
        breach_texts(a, c->run, c->chunk_no, "planned", "published", "planned");
}

void audit_check_chunk(struct audit *a, const struct audit_chunk *c, const struct audit_rows *rows)
{
    a->chunks++;
    a->recipients += c->recipients;
    a->deliveries += rows->total;
    check_accounts(a, c, rows);
    check_rows(a, c, rows);
    check_holding(a, c);
    check_progress(a, c);
}

void audit_check_dense(struct audit *a, uint64_t run, int64_t expected, int64_t found)
{
    struct audit_breach *b = expected == found ? NULL : add(a, run, found, "dense");
    if (!b) return;
    snprintf(b->expected, sizeof b->expected, "chunk-%" PRId64, expected);
    snprintf(b->found, sizeof b->found, "chunk-%" PRId64, found);
}

void audit_check_run(struct audit *a, uint64_t run, bool publishing, bool completed, int64_t open)
{
    if (!completed || (!publishing && !open)) return;
    char found[AUDIT_TEXT_SIZE];
    snprintf(found, sizeof found, "publishing-%s,open=%" PRId64, publishing ? "open" : "done",
             open);
    breach_texts(a, run, -1, "completed", "publishing-done,open=0", found);
}

void audit_orphans(struct audit *a, uint64_t run, int64_t chunk_no, const char *rule, int64_t rows)
{
    char found[AUDIT_TEXT_SIZE];
    a->deliveries += rows;
    snprintf(found, sizeof found, "%" PRId64 "-rows", rows);
    breach_texts(a, run, chunk_no, rule, "no-rows", found);
}

void audit_report(const struct audit *a, struct buf *out)
{
    int64_t shown = a->breaches < AUDIT_SHOWN ? a->breaches : AUDIT_SHOWN;
    for (int64_t i = 0; i < shown; i++) {
        const struct audit_breach *b = &a->shown[i];
        buf_append_format(out, "breach: run=%" PRIu64, b->run);
        if (b->chunk_no >= 0) buf_append_format(out, " chunk=%" PRId64, b->chunk_no);
        buf_append_format(out, " rule=%s expected=%s found=%s\n", b->rule, b->expected, b->found);
    }
    if (a->breaches > shown)
        buf_append_format(out, "... and %" PRId64 " more\n", a->breaches - shown);
    buf_append_format(out,
                      "audit: runs=%" PRId64 " chunks=%" PRId64 " recipients=%" PRId64
                      " deliveries=%" PRId64 " breaches=%" PRId64 " balanced=%s\n",
                      a->runs, a->chunks, a->recipients, a->deliveries, a->breaches,
                      a->breaches ? "no" : "yes");
}
