/* What an operator's pause and cancel do to the chunks in hand (PROTOCOL C8, O2). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parked.h"
#include "consumer/ledger_internal.h"

enum { CONTROL_EVERY_US = 1000000, CONTROL_SIZE = 16 };

static struct err read_control(struct ledger *l, uint64_t run, char *control, size_t size)
{
    struct db_result *r;
    TRY(db_queryf(l->db, &r, "SELECT control FROM run WHERE id=%" PRIu64, run));
    snprintf(control, size, "%s", db_next(r) ? db_text(r, 0) : "");
    db_result_free(r);
    return err_none();
}

/* Who resumes the run changes control, then looks for the row: either that row is seen, or the
 * change is seen here. */
void ledger_park(struct ledger *l, struct job *job)
{
    char control[CONTROL_SIZE] = "";
    struct err e = l->db ? parked_record(l->db, job->message.run)
                         : err_make(ERR_DB, 0, "no connection to the database");
    if (!e.code) e = read_control(l, job->message.run, control, sizeof control);
    if (e.code) {
        log_warn("ledger", "msg=\"not parked, but put off\" run=%" PRIu64 " chunk=%u err=\"%s\"",
                 job->message.run, job->message.chunk, e.text);
        ledger_over(l, job, NOTE_COPY, LEDGER_WAIT_DELAY_S);
    } else if (strcmp(control, "paused") == 0) {
        ledger_over(l, job, NOTE_PARK, 0);
    } else {
        ledger_over(l, job, NOTE_COPY, LEDGER_RELEASE_DELAY_S);
    }
}

/* C8, O2: what is paused or cancelled goes back; the next claim of a cancelled one skips it. What
 * is given back while its run is paused is parked, for whatever reason it goes back. */
static void obey(struct ledger *l, struct job *job, const char *control)
{
    if (strcmp(control, "go") != 0) ledger_give_back(l, job, LEDGER_RELEASE_DELAY_S);
    job->park = job->state == JOB_RELEASING && strcmp(control, "paused") == 0;
}

void ledger_obey(struct ledger *l)
{
    int64_t now = clock_boot_us();
    if (now - l->control_read_us < CONTROL_EVERY_US || !l->db || !l->n_jobs) return;
    l->control_read_us = now;
    for (int i = 0; i < l->n_jobs; i++) {
        struct job *job = l->jobs[i];
        char control[CONTROL_SIZE];
        if (job->state != JOB_SENDING && job->state != JOB_RELEASING) continue;
        if (ledger_held_too_long(job)) ledger_give_back(l, job, LEDGER_RELEASE_DELAY_S);
        struct err e = read_control(l, job->message.run, control, sizeof control);
        if (e.code) return; /* the next commit will find out */
        obey(l, job, control);
    }
}
