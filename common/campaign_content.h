/* From a campaign's files to the content of a run. */
#ifndef MAILFLOCK_CAMPAIGN_CONTENT_H
#define MAILFLOCK_CAMPAIGN_CONTENT_H

#include "common/campaign.h"
#include "common/content.h"
#include "common/err.h"

/* campaign_content_load: reads the campaign and checks all that can be checked without a database,
 * its templates included. The caller frees with campaign_free; on failure nothing is left. */
struct err campaign_content_load(const struct settings *settings, const char *name,
                                 struct campaign *campaign) MUST_CHECK;

/* campaign_content: what a run of the campaign takes with it; the texts stay borrowed, and there is
 * nothing to free. */
struct content campaign_content(const struct campaign *campaign);

#endif
