/* What can be said of a run's numbers: its state in a word, percent, speed, time left. Pure. */
#ifndef MAILFLOCK_CONSOLE_PROGRESS_H
#define MAILFLOCK_CONSOLE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "console/tally.h"

/* progress_pending: positions without an outcome. Negative only where the accounts are broken. */
int64_t progress_pending(const struct tally *run);

/* progress_open: positions that are to get another outcome: pending or deferred. */
int64_t progress_open(const struct tally *run);

/* progress_complete: publishing is done and nothing is open (docs/protocol.md, State). */
bool progress_complete(const struct tally *run);

/* progress_word: publishing | sending | paused | cancelled | complete | stuck | missed. Stuck: all
 * that is left is in stuck chunks, which need an operator. */
const char *progress_word(const struct tally *run);

/* progress_over: nothing more will happen by itself: complete, missed, stuck, or cancelled with no
 * chunk in a worker's hands and none in the queue that workers have yet to skip. Deferred
 * recipients of a cancelled run are skipped when their delay ends; nobody waits for that. */
bool progress_over(const struct tally *run);

/* progress_percent: of recipients in a final state; 100 only when all are. */
double progress_percent(const struct tally *run);

/* The speed over the last PROGRESS_WINDOW_S seconds, from samples taken about once a second. */
enum { PROGRESS_WINDOW_S = 10, PROGRESS_SAMPLES = 16 };
struct progress_speed {
    struct {
        int64_t at_us, sent;
    } samples[PROGRESS_SAMPLES];
    unsigned count; /* of all samples so far; a ring */
};
void progress_speed_add(struct progress_speed *s, int64_t at_us, int64_t sent);
/* progress_speed_per_s: mails/s, or -1 with fewer than two samples. */
double progress_speed_per_s(const struct progress_speed *s);

/* progress_average_per_s: accepted mails over the time from the first to the last; -1 without. */
double progress_average_per_s(const struct tally_detail *d);

/* progress_recent_per_s: mails/s over the last 10 s, or since the first where that is less; -1
 * where the delivery rows were not looked at or nothing was accepted. */
double progress_recent_per_s(const struct tally_detail *d);

/* progress_eta_s: seconds until open positions are sent at that speed; -1 where nobody can say. */
int64_t progress_eta_s(const struct tally *run, double per_s);

/* progress_bar: "[#####-----]" with width characters inside. */
void progress_bar(struct buf *out, double percent, int width);

/* progress_number: with thousands separators: 1,234,567. */
void progress_number(struct buf *out, int64_t number);

/* progress_duration: "42s", "3m 07s", "2h 05m". */
void progress_duration(struct buf *out, int64_t seconds);

#endif
