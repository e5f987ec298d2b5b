/* The partials of a campaign's templates. Used by campaign_texts.c. */
#ifndef MAILFLOCK_CAMPAIGN_PARTIALS_H
#define MAILFLOCK_CAMPAIGN_PARTIALS_H

#include "common/arena.h"
#include "common/template.h"

/* campaign_partials_read: adds to partials, which may hold some already, the files of all
 * {{>partials}} in the source (and in the partials) that are not there yet. What it adds is in
 * memory. ERR_CONFIG or ERR_TOO_BIG begins with the place of what is wrong: "file:line:column: ".
 */
struct err campaign_partials_read(const char *templates_dir, const struct template_source *source,
                                  struct arena *memory,
                                  struct template_partials *partials) MUST_CHECK;

#endif
