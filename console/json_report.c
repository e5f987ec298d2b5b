/* The JSON forms of a run's progress; report.h lists the keys. Written straight into the buffer. */
#include <string.h>

#include "common/chunk.h"
#include "console/report.h"

/* A text the database gave; it is UTF-8, but null is better than a broken document. */
static void append_text(struct buf *out, const char *key, const char *text)
{
    buf_append_format(out, "\"%s\":", key);
    if (!*text || !chunk_write_text(out, text, strlen(text))) buf_append_text(out, "null");
}

static void append_int(struct buf *out, const char *key, int64_t number)
{
    buf_append_format(out, ",\"%s\":%lld", key, (long long)number);
}

static void append_time(struct buf *out, const char *key, const char *text)
{
    buf_append_char(out, ',');
    append_text(out, key, text);
}

static void append_number_or_null(struct buf *out, const char *key, double number)
{
    if (number < 0)
        buf_append_format(out, ",\"%s\":null", key);
    else
        buf_append_format(out, ",\"%s\":%.3f", key, number);
}

static void append_chunks(const struct tally *run, struct buf *out)
{
    int64_t total = 0;
    for (int i = 0; i < TALLY_CHUNK_STATES; i++) total += run->chunks[i];
    buf_append_format(out, ",\"chunks\":{\"total\":%lld", (long long)total);
    for (int i = 0; i < TALLY_CHUNK_STATES; i++)
        append_int(out, TALLY_CHUNK_STATE_NAMES[i], run->chunks[i]);
    append_int(out, "leased", run->leased);
    buf_append_char(out, '}');
}

static void append_run(const struct tally *run, struct buf *out)
{
    buf_append_format(out, "{\"run\":%llu,", (unsigned long long)run->id);
    append_text(out, "campaign", run->campaign);
    append_time(out, "scheduled_at", run->scheduled_at);
    buf_append_format(out, ",\"state\":\"%s\",\"publishing\":\"%s\",\"control\":\"%s\"",
                      progress_word(run), report_publishing(run), report_control(run));
    append_time(out, "created_at", run->created_at);
    append_time(out, "published_at", run->published_at);
    append_time(out, "completed_at", run->completed_at);
    append_int(out, "recipients", run->recipients);
    for (int i = 0; i < TALLY_STATUSES; i++) append_int(out, TALLY_STATUS_NAMES[i], run->counts[i]);
    append_int(out, "pending", progress_pending(run));
    append_number_or_null(out, "percent", progress_percent(run));
    append_chunks(run, out);
}

static void append_holders(const struct tally_detail *d, struct buf *out)
{
    buf_append_text(out, ",\"holders\":[");
    for (int i = 0; i < d->n_holders; i++) {
        buf_append_text(out, i ? ",{" : "{");
        append_text(out, "owner", d->holders[i].owner);
        append_int(out, "chunks", d->holders[i].chunks);
        buf_append_format(out, ",\"lease_left_s\":%.3f}",
                          (double)d->holders[i].lease_left_us / 1e6);
    }
    buf_append_char(out, ']');
}

static void append_oldest(const struct tally_detail *d, struct buf *out)
{
    if (!d->has_oldest) {
        buf_append_text(out, ",\"oldest_open\":null");
        return;
    }
    buf_append_format(out, ",\"oldest_open\":{\"chunk\":%lld,", (long long)d->oldest.chunk);
    append_text(out, "state", d->oldest.state);
    append_int(out, "attempt", d->oldest.attempt);
    append_int(out, "pending", d->oldest.pending);
    append_int(out, "deferred", d->oldest.deferred);
    append_time(out, "next_due", d->oldest.next_due);
    buf_append_char(out, '}');
}

void report_json_run(const struct tally *run, const struct tally_detail *d, double per_s,
                     struct buf *out)
{
    append_run(run, out);
    append_number_or_null(out, "rate", progress_average_per_s(d));
    append_number_or_null(out, "rate_10s", per_s);
    append_time(out, "first_accepted_at", d->first_at);
    append_time(out, "last_accepted_at", d->last_at);
    append_number_or_null(out, "seconds",
                          d->has_accepted && d->accepted ? (double)d->span_us / 1e6 : -1);
    int64_t eta_s = progress_eta_s(run, per_s);
    if (eta_s < 0)
        buf_append_text(out, ",\"eta_s\":null");
    else
        append_int(out, "eta_s", eta_s);
    append_holders(d, out);
    append_oldest(d, out);
    buf_append_char(out, '}');
}

void report_json_list(const struct tally *runs, int count, struct buf *out)
{
    buf_append_text(out, "{\"runs\":[");
    for (int i = 0; i < count; i++) {
        if (i) buf_append_char(out, ',');
        append_run(&runs[i], out);
        buf_append_char(out, '}');
    }
    buf_append_text(out, "]}");
}
