/* The arithmetic of status. Pure. */
#include "console/progress.h"

#include <stdio.h>
#include <string.h>

int64_t progress_pending(const struct tally *run)
{
    int64_t pending = run->recipients;
    for (int i = 0; i < TALLY_STATUSES; i++) pending -= run->counts[i];
    return pending;
}

int64_t progress_open(const struct tally *run)
{
    return progress_pending(run) + run->counts[TALLY_DEFERRED];
}

bool progress_complete(const struct tally *run)
{
    return !run->publishing && !run->missed && progress_open(run) == 0;
}

static bool is_stuck(const struct tally *run)
{
    return run->chunks[TALLY_STUCK] && !run->chunks[TALLY_PLANNED] && !run->chunks[TALLY_QUEUED] &&
           !run->publishing;
}

const char *progress_word(const struct tally *run)
{
    if (run->missed) return "missed";
    if (run->control == TALLY_CANCELLED) return "cancelled";
    if (progress_complete(run)) return "complete";
    if (run->control == TALLY_PAUSED) return "paused";
    if (is_stuck(run)) return "stuck";
    return run->publishing ? "publishing" : "sending";
}

bool progress_over(const struct tally *run)
{
    if (progress_complete(run) || run->missed || is_stuck(run)) return true;
    return run->control == TALLY_CANCELLED && !run->leased && !run->waiting;
}

double progress_percent(const struct tally *run)
{
    int64_t open = progress_open(run);
    if (run->recipients <= 0) return progress_complete(run) ? 100.0 : 0.0;
    double percent = 100.0 * (double)(run->recipients - open) / (double)run->recipients;
    /* One decimal is shown: 99.96 must not round to a lie. */
    return open > 0 && percent > 99.9 ? 99.9 : percent;
}

void progress_speed_add(struct progress_speed *s, int64_t at_us, int64_t sent)
{
    s->samples[s->count % PROGRESS_SAMPLES].at_us = at_us;
    s->samples[s->count % PROGRESS_SAMPLES].sent = sent;
    s->count++;
}

double progress_speed_per_s(const struct progress_speed *s)
{
    if (s->count < 2) return -1;
    unsigned last = s->count - 1, first = last;
    unsigned kept = s->count < PROGRESS_SAMPLES ? s->count : PROGRESS_SAMPLES;
    int64_t now_us = s->samples[last % PROGRESS_SAMPLES].at_us;
    for (unsigned back = 1; back < kept; back++) {
        unsigned i = last - back;
        /* Half a second of grace: samples are never exactly a second apart. */
        if (now_us - s->samples[i % PROGRESS_SAMPLES].at_us > PROGRESS_WINDOW_S * 1000000 + 500000)
            break;
        first = i;
    }
    int64_t span_us = now_us - s->samples[first % PROGRESS_SAMPLES].at_us;
    int64_t sent =
        s->samples[last % PROGRESS_SAMPLES].sent - s->samples[first % PROGRESS_SAMPLES].sent;
    return span_us <= 0 ? -1 : (double)sent * 1e6 / (double)span_us;
}

double progress_average_per_s(const struct tally_detail *d)
{
    if (!d->has_accepted || d->accepted < 2 || d->span_us <= 0) return -1;
    return (double)d->accepted * 1e6 / (double)d->span_us;
}

double progress_recent_per_s(const struct tally_detail *d)
{
    if (!d->has_accepted || !d->accepted) return -1;
    double window_us = PROGRESS_WINDOW_S * 1e6, since_us = (double)d->since_us;
    if (since_us > 0 && since_us < window_us) window_us = since_us;
    return (double)d->last_10s * 1e6 / window_us;
}

int64_t progress_eta_s(const struct tally *run, double per_s)
{
    if (run->publishing || run->control != TALLY_GO || progress_over(run) || per_s <= 0) return -1;
    double left_s = (double)progress_open(run) / per_s;
    return left_s > 1e9 ? -1 : (int64_t)(left_s + 0.999);
}

void progress_bar(struct buf *out, double percent, int width)
{
    int full = (int)(percent * width / 100.0);
    buf_append_char(out, '[');
    for (int i = 0; i < width; i++) buf_append_char(out, i < full ? '#' : '-');
    buf_append_char(out, ']');
}

void progress_number(struct buf *out, int64_t number)
{
    char digits[24];
    bool negative = number < 0;
    int len = snprintf(digits, sizeof digits, "%lld", (long long)number);
    for (int i = 0; i < len; i++) {
        if (i > negative && (len - i) % 3 == 0) buf_append_char(out, ',');
        buf_append_char(out, digits[i]);
    }
}

void progress_duration(struct buf *out, int64_t seconds)
{
    long long s = seconds;
    if (s < 60)
        buf_append_format(out, "%llds", s);
    else if (s < 3600)
        buf_append_format(out, "%lldm %02llds", s / 60, s % 60);
    else
        buf_append_format(out, "%lldh %02lldm", s / 3600, s % 3600 / 60);
}
