/* From a campaign to its audience, on a connection of its own. */
#ifndef MAILFLOCK_CAMPAIGN_AUDIENCE_H
#define MAILFLOCK_CAMPAIGN_AUDIENCE_H

#include <stdint.h>

#include "common/audience.h"
#include "common/campaign.h"
#include "common/settings.h"

/* campaign_audience_open: connects, in one attempt, and opens. Borrows the settings and the
 * campaign. */
struct err campaign_audience_open(const struct settings *settings, const struct campaign *campaign,
                                  int64_t scheduled_s, struct audience **out) MUST_CHECK;

/* campaign_audience_start: the same, with the patience of start_db. */
struct err campaign_audience_start(const struct settings *settings, const struct campaign *campaign,
                                   int64_t scheduled_s, struct audience **out) MUST_CHECK;

#endif
