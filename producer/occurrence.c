/* From when on, until when, and what is too late. */
#include "producer/occurrence.h"

#include <string.h>

enum { SECOND_US = 1000000, MINUTE_S = 60 };

/* Occurrences after this second are looked at. A campaign seen for the first time begins with the
 * current minute. After a change nothing before that minute is lost that the mark has not passed:
 * another host may have moved the mark by the schedule from before the change. */
static int64_t beginning(const struct schedule *schedule, const struct occurrence_mark *mark,
                         int64_t now_s)
{
    int64_t current_s = now_s - now_s % MINUTE_S - 1;
    if (!mark->known) return current_s;
    bool changed = mark->digest != schedule_digest(schedule);
    return changed && current_s < mark->until_s ? current_s : mark->until_s;
}

/* The newest ones between from_s and before_s, found from their end. */
static void find_missed(const struct schedule *schedule, int64_t from_s, int64_t before_s,
                        struct occurrences *out)
{
    unsigned n = 0;
    int64_t at_s = before_s;
    while (schedule_previous(schedule, at_s, &at_s) && at_s > from_s) {
        out->more_missed = n == OCCURRENCE_MAX;
        if (out->more_missed) break;
        out->missed[OCCURRENCE_MAX - ++n] = at_s;
    }
    memmove(out->missed, out->missed + OCCURRENCE_MAX - n, n * sizeof *out->missed);
    out->n_missed = n;
}

void occurrences_find(const struct schedule *schedule, const struct occurrence_mark *mark,
                      int64_t now_us, struct occurrences *out)
{
    int64_t now_s = now_us / SECOND_US, within_s = schedule->start_within_ms / 1000;
    int64_t from_s = beginning(schedule, mark, now_s);
    /* Before this second one is too late. */
    int64_t in_time_s = (now_us + SECOND_US - 1) / SECOND_US - within_s;
    int64_t until_s = (now_us + (int64_t)OCCURRENCE_AHEAD_MS * 1000) / SECOND_US;
    out->n_missed = out->n_due = 0;
    out->more_missed = false;
    /* What a changed schedule would have said of the past was never announced to anybody. */
    if (mark->known && mark->digest == schedule_digest(schedule))
        find_missed(schedule, from_s, in_time_s, out);
    int64_t at_s = from_s < in_time_s ? in_time_s - 1 : from_s;
    while (out->n_due < OCCURRENCE_MAX && schedule_next(schedule, at_s, &at_s) && at_s <= until_s)
        out->due[out->n_due++] = at_s;
    out->until_s = out->n_due < OCCURRENCE_MAX || at_s > now_s ? now_s : at_s;
}
