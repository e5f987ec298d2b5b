/* The texts of a campaign's mails, made of its files. Used by campaign.c. */
#ifndef MAILFLOCK_CAMPAIGN_TEXTS_H
#define MAILFLOCK_CAMPAIGN_TEXTS_H

#include "common/campaign.h"

/* campaign_texts_read: fills content.text, html and partials from the files that the campaign
 * names: text and HTML as they are, HTML from Markdown and its layout, text from HTML where none is
 * given. ERR_CONFIG or ERR_TOO_BIG; *key is the campaign's key that is to blame, or NULL where the
 * error begins with the place of what is wrong: "file:line:column: ". */
struct err campaign_texts_read(const struct settings *settings, struct campaign *campaign,
                               const char **key) MUST_CHECK;

#endif
