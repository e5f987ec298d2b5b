/* The images and attachments of a campaign's mails. Used by campaign.c. */
#ifndef MAILFLOCK_CAMPAIGN_FILES_H
#define MAILFLOCK_CAMPAIGN_FILES_H

#include "common/campaign.h"

/* campaign_files_read: fills content.files, and checks that the HTML (content.html and partials are
 * there) shows the images that are given and no others. Errors as campaign_texts_read. */
struct err campaign_files_read(const struct settings *settings, struct campaign *campaign,
                               const char **key) MUST_CHECK;

#endif
