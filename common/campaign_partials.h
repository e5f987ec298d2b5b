/* The partials of a campaign's templates. Used by campaign.c. */
#ifndef MAILFLOCK_CAMPAIGN_PARTIALS_H
#define MAILFLOCK_CAMPAIGN_PARTIALS_H

#include "common/campaign.h"

/* campaign_partials_read: reads the files of all {{>partials}} in the campaign's text and html, and
 * in these partials, into content.partials. ERR_CONFIG or ERR_TOO_BIG begins with the place of what
 * is wrong: "file:line:column: ". */
struct err campaign_partials_read(const char *templates_dir, struct campaign *campaign) MUST_CHECK;

#endif
