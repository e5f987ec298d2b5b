/* The one place that knows which database an audience is read from, and with how much patience. */
#include "common/campaign_audience.h"

#include <stdio.h>

#include "common/start.h"

enum { PAGE_TIMEOUT_MS = 600 * 1000, FILE_SIZE = 4096 };

static struct db_config config_for(const struct settings *settings, const struct campaign *campaign)
{
    const struct settings_database *d =
        settings_find_database(settings, campaign->audience.database);
    struct db_config config = start_db_config_at(d, "mailflock audience");
    config.io_timeout_ms = PAGE_TIMEOUT_MS;
    return config;
}

/* Takes db. */
static struct err open_over(struct db *db, const struct settings *settings,
                            const struct campaign *campaign, int64_t scheduled_s,
                            struct audience **out)
{
    char file[FILE_SIZE];
    snprintf(file, sizeof file, "%s/%s.cfg", settings->campaigns_dir, campaign->name);
    struct audience_spec spec = {
        .file = file,
        .sql = campaign->audience.sql,
        .scheduled_s = scheduled_s,
        .json = (const char *const *)campaign->audience.json.items,
        .n_json = campaign->audience.json.count,
        .email_elsewhere = *campaign->enrich.url,
    };
    return audience_open(out, db, &spec);
}

struct err campaign_audience_open(const struct settings *settings, const struct campaign *campaign,
                                  int64_t scheduled_s, struct audience **out)
{
    struct db_config config = config_for(settings, campaign);
    struct db *db;
    *out = NULL;
    TRY(db_open(&db, &config));
    return open_over(db, settings, campaign, scheduled_s, out);
}

struct err campaign_audience_start(const struct settings *settings, const struct campaign *campaign,
                                   int64_t scheduled_s, struct audience **out)
{
    struct db_config config = config_for(settings, campaign);
    struct db *db;
    *out = NULL;
    TRY(start_db(settings, &config, &db));
    return open_over(db, settings, campaign, scheduled_s, out);
}
