/* The occurrences of several cron expressions in one zone, merged. */
#include "common/schedule.h"

#include <stdlib.h>
#include <string.h>

struct err schedule_compile(struct schedule *s, size_t *wrong)
{
    struct cron *crons = mem_alloc((s->expressions.count + 1) * sizeof *crons);
    struct err e = err_none();
    for (*wrong = 0; *wrong < s->expressions.count; ++*wrong) {
        e = cron_parse(s->expressions.items[*wrong], &crons[*wrong]);
        if (e.code) break;
    }
    if (!e.code) e = zone_load(&s->zone, s->timezone);
    if (e.code)
        free(crons);
    else
        s->crons = crons;
    return e;
}

void schedule_free(struct schedule *s)
{
    free(s->crons);
    zone_free(s->zone);
    s->crons = NULL;
    s->zone = NULL;
}

bool schedule_next(const struct schedule *s, int64_t after_s, int64_t *at_s)
{
    bool found = false;
    for (size_t i = 0; i < s->expressions.count; i++) {
        int64_t next_s;
        if (!cron_next(&s->crons[i], s->zone, after_s, &next_s)) continue;
        if (!found || next_s < *at_s) *at_s = next_s;
        found = true;
    }
    return found;
}

bool schedule_previous(const struct schedule *s, int64_t before_s, int64_t *at_s)
{
    bool found = false;
    for (size_t i = 0; i < s->expressions.count; i++) {
        int64_t previous_s;
        if (!cron_previous(&s->crons[i], s->zone, before_s, &previous_s)) continue;
        if (!found || previous_s > *at_s) *at_s = previous_s;
        found = true;
    }
    return found;
}

/* FNV-1a over the texts, each with its NUL. */
static uint64_t digest_add(uint64_t digest, const char *text)
{
    for (size_t i = 0; i <= strlen(text); i++)
        digest = (digest ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return digest;
}

uint64_t schedule_digest(const struct schedule *s)
{
    uint64_t digest = digest_add(UINT64_C(0xcbf29ce484222325), s->timezone);
    for (size_t i = 0; i < s->expressions.count; i++)
        digest = digest_add(digest, s->expressions.items[i]);
    return digest;
}
