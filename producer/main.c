/* mailflock-producer: cuts a campaign's audience into chunks and publishes them. */
#include <stdio.h>

#include "common/buf.h"
#include "common/campaign.h"
#include "common/campaign_content.h"
#include "common/core_dump.h"
#include "common/log.h"
#include "common/settings.h"
#include "producer/dry_run.h"
#include "producer/due.h"
#include "producer/options.h"
#include "producer/run.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, OUTPUT_MAX = 32 * 1024 * 1024 };

static struct err check_one(const struct settings *settings, const char *name, struct buf *out)
{
    struct campaign campaign;
    TRY(campaign_content_load(settings, name, &campaign));
    buf_append_format(out, "campaign %s: ok\n", name);
    campaign_free(&campaign);
    return err_none();
}

/* Every campaign is checked, also after one that is wrong. */
static struct err check(const struct settings *settings, const char *name, struct buf *out)
{
    struct conf_texts names = {0};
    unsigned wrong = 0;
    if (name) return check_one(settings, name, out);
    struct err e = campaign_list(settings, &names);
    for (size_t i = 0; i < names.count && !e.code; i++) {
        struct err one = check_one(settings, names.items[i], out);
        if (!one.code) continue;
        log_error("producer", "err=\"%s\"", one.text);
        wrong++;
    }
    conf_texts_free(&names);
    if (e.code) return e;
    buf_append_text(out, wrong ? "" : "settings: ok");
    return wrong ? err_make(ERR_CONFIG, 0, "%u campaigns are wrong", wrong) : err_none();
}

static struct err perform(const struct options *o, const struct settings *settings, struct buf *out)
{
    struct run_request request = {
        .settings = settings, .campaign = o->campaign, .has_at = o->has_at, .at_s = o->at_s};
    switch (o->command) {
    case OPTIONS_CHECK:
        return check(settings, o->campaign, out);
    case OPTIONS_DUE:
        return due(settings, out);
    default:
        return o->dry_run ? dry_run(&request, out) : run_campaign(&request, out);
    }
}

/* One line end after the last line, whatever the output is. */
static void print(struct buf *out)
{
    if (!out->len) return;
    if (out->data[out->len - 1] != '\n') buf_append_char(out, '\n');
    fwrite(out->data, 1, out->len, stdout);
}

static int finish(struct err e, struct buf *out)
{
    print(out);
    buf_fini(out);
    if (!e.code && fflush(stdout) == 0) return EXIT_DONE;
    log_error("producer", "err=\"%s\"", e.code ? e.text : "cannot write to standard output");
    return EXIT_FAILED;
}

static int with_settings(const struct options *o)
{
    struct settings settings;
    struct buf out;
    buf_init(&out, OUTPUT_MAX);
    core_dump_forbid();
    struct err e = settings_read(o->config, &settings);
    if (e.code) return finish(e, &out);
    if (settings.core_dumps) core_dump_allow();
    log_setup((enum log_level)settings.log.level, settings.log.format == SETTINGS_LOG_JSON);
    e = perform(o, &settings, &out);
    if (!e.code) e = buf_check(&out, "the output");
    settings_free(&settings);
    return finish(e, &out);
}

static int help_config(void)
{
    struct buf out;
    buf_init(&out, OUTPUT_MAX);
    settings_help(&out, CONF_HELP_TEXT);
    buf_append_text(&out, "\nA campaign, campaigns/NAME.cfg:\n\n");
    campaign_help(&out, CONF_HELP_TEXT);
    return finish(buf_check(&out, "the help"), &out);
}

int main(int argc, char **argv)
{
    struct options options;
    if (!options_read(argc, argv, &options)) return EXIT_USAGE;
    switch (options.command) {
    case OPTIONS_VERSION:
        puts("mailflock-producer " MAILFLOCK_VERSION);
        return EXIT_DONE;
    case OPTIONS_HELP:
        fputs(options_help(), stdout);
        return EXIT_DONE;
    case OPTIONS_HELP_CONFIG:
        return help_config();
    default:
        return with_settings(&options);
    }
}
