/* From a campaign to its audience, on a connection of its own. */
#ifndef MAILFLOCK_CAMPAIGN_AUDIENCE_H
#define MAILFLOCK_CAMPAIGN_AUDIENCE_H

#include <stdint.h>

#include "common/audience.h"
#include "common/campaign.h"
#include "common/settings.h"

/* campaign_audience_config: where the audience is, as db.h wants it. Borrows both. */
struct db_config campaign_audience_config(const struct settings *settings,
                                          const struct campaign *campaign);

/* campaign_audience_open: takes db, as audience_open does. */
struct err campaign_audience_open(const struct settings *settings, const struct campaign *campaign,
                                  int64_t scheduled_s, struct db *db,
                                  struct audience **out) MUST_CHECK;

/* campaign_audience_start: connects with the patience of start_db, and opens. */
struct err campaign_audience_start(const struct settings *settings, const struct campaign *campaign,
                                   int64_t scheduled_s, struct audience **out) MUST_CHECK;

#endif
