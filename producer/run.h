/* One occurrence of a campaign: found or created, locked, published to its end or as far as it
 * goes. Calling again goes on where it stopped, whatever stopped it. */
#ifndef MAILFLOCK_PRODUCER_RUN_H
#define MAILFLOCK_PRODUCER_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/campaign.h"
#include "common/db.h"
#include "common/settings.h"

struct run_request {
    const struct settings *settings;
    const char *campaign;
    bool has_at;
    int64_t at_s; /* the scheduled moment; without one: now, by the database's clock */
    /* Of an occurrence of the campaign's schedule: it begins at_s or up to within_s later, by the
     * database's clock, or not at all; and only where it has not begun already. not_before_us is
     * at_s by clock_boot_us, or soon after it. */
    bool scheduled;
    int64_t within_s, not_before_us;
};

/* run_campaign: appends the one-line summary to out; nothing for a scheduled one that another
 * producer has begun. ERR_STATE where another producer has the run, or where publishing stopped
 * early; then the log says how to go on. */
struct err run_campaign(const struct run_request *request, struct buf *out) MUST_CHECK;

/* run_open_control: the connection for locks and ledger; schema checked. */
struct err run_open_control(const struct settings *settings, struct db **out) MUST_CHECK;

#endif
