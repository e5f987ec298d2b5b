/* Reads runs from the ledger. A run's progress is the sum over its chunk rows; nothing else is
 * counted anywhere. Reads only. */
#include "console/tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const TALLY_STATUS_NAMES[TALLY_STATUSES] = {"sent",       "failed",  "deferred",
                                                        "suppressed", "skipped", "unknown"};
const char *const TALLY_CHUNK_STATE_NAMES[TALLY_CHUNK_STATES] = {"planned", "queued", "done",
                                                                 "stuck"};

/* For formats: the percent signs reach the server once. */
#define ISO(column)    "DATE_FORMAT(" column ", '%%Y-%%m-%%dT%%H:%%i:%%sZ')"
#define ISO_US(column) "DATE_FORMAT(" column ", '%%Y-%%m-%%dT%%H:%%i:%%s.%%fZ')"

#define SUMMARY_TIMES                                                                              \
    ISO("r.scheduled_at")                                                                          \
    ", " ISO_US("r.created_at") ", " ISO_US("r.published_at") ", " ISO_US("r.completed_at")
#define SUMMARY_SUMS                                                                               \
    "COALESCE(SUM(c.recipients), 0),"                                                              \
    " COALESCE(SUM(c.sent), 0), COALESCE(SUM(c.failed), 0), COALESCE(SUM(c.deferred), 0),"         \
    " COALESCE(SUM(c.suppressed), 0), COALESCE(SUM(c.skipped), 0), COALESCE(SUM(c.unknown), 0),"   \
    " COALESCE(SUM(c.state = 'planned'), 0), COALESCE(SUM(c.state = 'queued'), 0),"                \
    " COALESCE(SUM(c.state = 'done'), 0), COALESCE(SUM(c.state = 'stuck'), 0),"                    \
    " COALESCE(SUM(c.token IS NOT NULL AND c.lease_until > UTC_TIMESTAMP(6)), 0),"                 \
    " COALESCE(SUM(c.state = 'queued' AND c.recipients > c.sent + c.failed + c.deferred"           \
    " + c.suppressed + c.skipped + c.unknown), 0)"

/* One row a run; the %s chooses the runs. */
static const char SUMMARY[] =
    "SELECT r.id, r.campaign, r.publishing, r.control, " SUMMARY_TIMES ", " SUMMARY_SUMS
    " FROM (SELECT id, campaign, scheduled_at, created_at, published_at, completed_at,"
    " publishing, control FROM run %s) r"
    " LEFT JOIN chunk c ON c.run_id = r.id GROUP BY r.id ORDER BY r.id DESC";

static void copy_cell(const struct db_result *r, unsigned column, char *out, size_t size)
{
    snprintf(out, size, "%s", db_text(r, column));
}

static enum tally_control control_of(const char *word)
{
    if (strcmp(word, "paused") == 0) return TALLY_PAUSED;
    return strcmp(word, "cancelled") == 0 ? TALLY_CANCELLED : TALLY_GO;
}

static void read_row(const struct db_result *r, struct tally *out)
{
    unsigned column = 9;
    out->id = db_u64(r, 0);
    copy_cell(r, 1, out->campaign, sizeof out->campaign);
    out->publishing = strcmp(db_text(r, 2), "open") == 0;
    out->missed = strcmp(db_text(r, 2), "missed") == 0;
    out->control = control_of(db_text(r, 3));
    copy_cell(r, 4, out->scheduled_at, sizeof out->scheduled_at);
    copy_cell(r, 5, out->created_at, sizeof out->created_at);
    copy_cell(r, 6, out->published_at, sizeof out->published_at);
    copy_cell(r, 7, out->completed_at, sizeof out->completed_at);
    out->recipients = db_i64(r, 8);
    for (int i = 0; i < TALLY_STATUSES; i++) out->counts[i] = db_i64(r, column++);
    for (int i = 0; i < TALLY_CHUNK_STATES; i++) out->chunks[i] = db_i64(r, column++);
    out->leased = db_i64(r, column++);
    out->waiting = db_i64(r, column);
}

static struct err read_runs(struct db *db, const char *which, int limit, struct tally *out,
                            int *count)
{
    struct db_result *r;
    *count = 0;
    TRY(db_queryf(db, &r, SUMMARY, which));
    while (*count < limit && db_next(r)) read_row(r, &out[(*count)++]);
    db_result_free(r);
    return err_none();
}

static bool is_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits >= 1 && digits <= 19 && !text[digits];
}

struct err tally_find(struct db *db, const char *name, struct tally *out)
{
    char which[CAMPAIGN_NAME_MAX + 80];
    int count = 0;
    if (!name)
        snprintf(which, sizeof which, "WHERE publishing <> 'missed' ORDER BY id DESC LIMIT 1");
    else if (is_number(name))
        snprintf(which, sizeof which, "WHERE id = %s", name);
    else if (campaign_name_valid(name))
        snprintf(which, sizeof which,
                 "WHERE campaign = '%s' AND publishing <> 'missed' ORDER BY id DESC LIMIT 1", name);
    else
        return err_make(ERR_INPUT, 0, "'%.80s' is neither a run's number nor a campaign's name",
                        name);
    TRY(read_runs(db, which, 1, out, &count));
    if (count) return err_none();
    if (!name) return err_make(ERR_STATE, 0, "there is no run yet");
    return err_make(ERR_STATE, 0, "there is no run %s%s: 'mailflock runs' lists them",
                    is_number(name) ? "" : "of campaign ", name);
}

struct err tally_reread(struct db *db, struct tally *run)
{
    char id[24];
    snprintf(id, sizeof id, "%" PRIu64, run->id);
    return tally_find(db, id, run);
}

struct err tally_list(struct db *db, int limit, struct tally *out, int *count)
{
    char which[48];
    snprintf(which, sizeof which, "ORDER BY id DESC LIMIT %d", limit);
    return read_runs(db, which, limit, out, count);
}

static struct err read_accepted(struct db *db, uint64_t run, struct tally_detail *out)
{
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT COUNT(*), " ISO_US("MIN(at)") ", " ISO_US(
                      "MAX(at)") ","
                                 " TIMESTAMPDIFF(MICROSECOND, MIN(at), MAX(at)),"
                                 " COALESCE(SUM(at > UTC_TIMESTAMP(6) - INTERVAL 10 SECOND), 0),"
                                 " TIMESTAMPDIFF(MICROSECOND, MIN(at), UTC_TIMESTAMP(6))"
                                 " FROM delivery WHERE run_id = %" PRIu64 " AND status = 'sent'",
                  run));
    if (db_next(r)) {
        out->has_accepted = true;
        out->accepted = db_i64(r, 0);
        copy_cell(r, 1, out->first_at, sizeof out->first_at);
        copy_cell(r, 2, out->last_at, sizeof out->last_at);
        out->span_us = db_i64(r, 3);
        out->last_10s = db_i64(r, 4);
        out->since_us = db_i64(r, 5);
    }
    db_result_free(r);
    return err_none();
}

static struct err read_holders(struct db *db, uint64_t run, struct tally_detail *out)
{
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT COALESCE(owner, '?'), COUNT(*),"
                  " MIN(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), lease_until))"
                  " FROM chunk WHERE run_id = %" PRIu64 " AND token IS NOT NULL"
                  " GROUP BY owner ORDER BY owner LIMIT %d",
                  run, TALLY_HOLDERS_MAX));
    while (out->n_holders < TALLY_HOLDERS_MAX && db_next(r)) {
        struct tally_holder *h = &out->holders[out->n_holders++];
        copy_cell(r, 0, h->owner, sizeof h->owner);
        h->chunks = db_i64(r, 1);
        h->lease_left_us = db_i64(r, 2);
    }
    db_result_free(r);
    return err_none();
}

static struct err read_oldest(struct db *db, uint64_t run, struct tally_detail *out)
{
    struct db_result *r;
    TRY(db_queryf(
        db, &r,
        "SELECT chunk_no, attempt, CAST(recipients AS SIGNED) -"
        " CAST(sent + failed + deferred + suppressed + skipped + unknown AS SIGNED), deferred,"
        " state,"
        " " ISO(
            "next_due") " FROM chunk WHERE run_id = %" PRIu64 " AND recipients <>"
                        " sent + failed + suppressed + skipped + unknown ORDER BY chunk_no LIMIT 1",
        run));
    if (db_next(r)) {
        out->has_oldest = true;
        out->oldest.chunk = db_i64(r, 0);
        out->oldest.attempt = db_i64(r, 1);
        out->oldest.pending = db_i64(r, 2);
        out->oldest.deferred = db_i64(r, 3);
        copy_cell(r, 4, out->oldest.state, sizeof out->oldest.state);
        copy_cell(r, 5, out->oldest.next_due, sizeof out->oldest.next_due);
    }
    db_result_free(r);
    return err_none();
}

struct err tally_read_detail(struct db *db, const struct tally *run, bool accepted,
                             struct tally_detail *out)
{
    *out = (struct tally_detail){0};
    if (accepted) TRY(read_accepted(db, run->id, out));
    TRY(read_holders(db, run->id, out));
    return read_oldest(db, run->id, out);
}
