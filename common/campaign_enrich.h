/* The group enrich of a campaign: the rules between its keys, and its file of secret headers. */
#ifndef MAILFLOCK_CAMPAIGN_ENRICH_H
#define MAILFLOCK_CAMPAIGN_ENRICH_H

#include "common/campaign.h"

/* campaign_enrich_complete: checks campaign->enrich as it was read from file by table, and fills in
 * what does not come from the table. */
struct err campaign_enrich_complete(const char *file, const struct conf_table *table,
                                    struct campaign *campaign) MUST_CHECK;

/* campaign_enrich_free: what campaign_enrich_complete filled in. */
void campaign_enrich_free(struct campaign_enrich *enrich);

#endif
