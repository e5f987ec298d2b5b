/* The text forms of a run's progress. Pure. */
#include "console/report.h"

#include <stdio.h>
#include <string.h>

#include "console/console.h"

static const char *or_dash(const char *text)
{
    return *text ? text : "-";
}

const char *report_publishing(const struct tally *run)
{
    if (run->missed) return "missed";
    return run->publishing ? "open" : "done";
}

const char *report_control(const struct tally *run)
{
    static const char *const words[] = {"go", "paused", "cancelled"};
    return words[run->control];
}

void report_list(const struct tally *runs, int count, struct buf *out)
{
    if (!count) {
        buf_append_text(out, "there is no run yet\n");
        return;
    }
    buf_append_format(out, "%6s %-20s %-20s %-10s %10s", "run", "campaign", "scheduled", "state",
                      "recipients");
    for (int i = 0; i < TALLY_STATUSES; i++) buf_append_format(out, " %10s", TALLY_STATUS_NAMES[i]);
    buf_append_format(out, " %10s %8s\n", "pending", "percent");
    for (int i = 0; i < count; i++) {
        const struct tally *r = &runs[i];
        buf_append_format(out, "%6llu %-20s %-20s %-10s %10lld", (unsigned long long)r->id,
                          r->campaign, r->scheduled_at, progress_word(r), (long long)r->recipients);
        for (int s = 0; s < TALLY_STATUSES; s++)
            buf_append_format(out, " %10lld", (long long)r->counts[s]);
        buf_append_format(out, " %10lld %7.1f%%\n", (long long)progress_pending(r),
                          progress_percent(r));
    }
}

static void append_count(struct buf *out, const char *name, int64_t count)
{
    buf_append_format(out, "  %-12s", name);
    progress_number(out, count);
    buf_append_char(out, '\n');
}

static void append_counters(const struct tally *run, struct buf *out)
{
    buf_append_text(out, "recipients    ");
    progress_number(out, run->recipients);
    buf_append_format(out, "  (%.1f%% final)\n", progress_percent(run));
    for (int i = 0; i < TALLY_STATUSES; i++)
        append_count(out, TALLY_STATUS_NAMES[i], run->counts[i]);
    append_count(out, "pending", progress_pending(run));
}

static void append_chunks(const struct tally *run, struct buf *out)
{
    int64_t total = 0;
    for (int i = 0; i < TALLY_CHUNK_STATES; i++) total += run->chunks[i];
    buf_append_text(out, "chunks        ");
    progress_number(out, total);
    for (int i = 0; i < TALLY_CHUNK_STATES; i++)
        buf_append_format(out, "%s%lld %s", i ? ", " : ": ", (long long)run->chunks[i],
                          TALLY_CHUNK_STATE_NAMES[i]);
    buf_append_format(out, "; %lld in hand\n", (long long)run->leased);
}

static void append_speed(const struct tally *run, const struct tally_detail *d, struct buf *out)
{
    if (!d->has_accepted || !d->accepted) return;
    buf_append_format(out, "accepted      first %s, last %s, %.1f s\n", d->first_at, d->last_at,
                      (double)d->span_us / 1e6);
    double average = progress_average_per_s(d), recent = progress_recent_per_s(d);
    if (average >= 0) buf_append_format(out, "speed         %.0f mails/s over all", average);
    if (average >= 0 && !progress_over(run))
        buf_append_format(out, ", %.0f mails/s in the last 10 s", recent);
    if (average >= 0) buf_append_char(out, '\n');
    int64_t eta_s = progress_eta_s(run, recent);
    if (eta_s < 0) return;
    buf_append_text(out, "time left     about ");
    progress_duration(out, eta_s);
    buf_append_char(out, '\n');
}

static void append_holders(const struct tally_detail *d, struct buf *out)
{
    for (int i = 0; i < d->n_holders; i++) {
        char owner[TALLY_OWNER_MAX];
        double left_s = (double)d->holders[i].lease_left_us / 1e6;
        buf_append_format(out, "holder        %s: %lld chunk%s, lease %s %.1f s%s\n",
                          console_text(owner, sizeof owner, d->holders[i].owner),
                          (long long)d->holders[i].chunks, d->holders[i].chunks == 1 ? "" : "s",
                          left_s < 0 ? "passed" : "ends in", left_s < 0 ? -left_s : left_s,
                          left_s < 0 ? " ago" : "");
    }
}

void report_detail(const struct tally *run, const struct tally_detail *d, struct buf *out)
{
    buf_append_format(out,
                      "run           %llu\ncampaign      %s\nscheduled     %s\nstate         %s"
                      "  (publishing %s, control %s)\npublished     %s\ncompleted     %s\n",
                      (unsigned long long)run->id, run->campaign, run->scheduled_at,
                      progress_word(run), report_publishing(run), report_control(run),
                      or_dash(run->published_at), or_dash(run->completed_at));
    append_counters(run, out);
    append_chunks(run, out);
    append_speed(run, d, out);
    append_holders(d, out);
    if (!d->has_oldest) return;
    buf_append_format(out,
                      "oldest open   chunk %lld, %s, attempt %lld: %lld pending, %lld deferred",
                      (long long)d->oldest.chunk, d->oldest.state, (long long)d->oldest.attempt,
                      (long long)d->oldest.pending, (long long)d->oldest.deferred);
    if (*d->oldest.next_due) buf_append_format(out, ", due %s", d->oldest.next_due);
    buf_append_char(out, '\n');
}

void report_line(const struct tally *run, double per_s, struct buf *out)
{
    buf_append_format(out, "run=%llu state=%s recipients=%lld", (unsigned long long)run->id,
                      progress_word(run), (long long)run->recipients);
    for (int i = 0; i < TALLY_STATUSES; i++)
        buf_append_format(out, " %s=%lld", TALLY_STATUS_NAMES[i], (long long)run->counts[i]);
    buf_append_format(out, " pending=%lld percent=%.1f", (long long)progress_pending(run),
                      progress_percent(run));
    if (per_s >= 0) buf_append_format(out, " rate=%.0f", per_s);
    int64_t eta_s = progress_eta_s(run, per_s);
    if (eta_s >= 0) buf_append_format(out, " eta_s=%lld", (long long)eta_s);
    buf_append_char(out, '\n');
}

static void append_bar_facts(const struct tally *run, double per_s, struct buf *out)
{
    buf_append_format(out, " %5.1f%%  ", progress_percent(run));
    progress_number(out, run->recipients - progress_open(run));
    buf_append_char(out, '/');
    progress_number(out, run->recipients);
    if (per_s >= 0) {
        buf_append_text(out, "  ");
        progress_number(out, (int64_t)(per_s + 0.5));
        buf_append_text(out, "/s");
    }
    int64_t eta_s = progress_eta_s(run, per_s);
    if (eta_s >= 0) {
        buf_append_text(out, "  left ");
        progress_duration(out, eta_s);
    }
    for (int i = TALLY_FAILED; i < TALLY_STATUSES; i++)
        if (run->counts[i])
            buf_append_format(out, "  %lld %s", (long long)run->counts[i], TALLY_STATUS_NAMES[i]);
    buf_append_format(out, "  %s", progress_word(run));
}

void report_bar(const struct tally *run, double per_s, int columns, struct buf *out)
{
    enum { BAR_WIDTH = 30, COLUMNS_LEAST = 20 };
    size_t start = out->len, most = (size_t)(columns > COLUMNS_LEAST ? columns : COLUMNS_LEAST) - 1;
    buf_append_format(out, "%s #%llu ", run->campaign, (unsigned long long)run->id);
    progress_bar(out, progress_percent(run), BAR_WIDTH);
    append_bar_facts(run, per_s, out);
    if (out->len - start > most) out->len = start + most; /* a wrapped line cannot be redrawn */
}
