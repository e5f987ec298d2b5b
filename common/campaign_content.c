/* Nothing is written and no recipient read before the campaign has passed here. */
#include "common/campaign_content.h"

#include "common/content_mail.h"

struct content campaign_content(const struct campaign *c)
{
    struct content out = {
        .campaign = c->name,
        .from = c->content.from,
        .reply_to = c->content.reply_to,
        .to_name = c->content.to_name,
        .subject = c->content.subject,
        .text = c->content.text,
        .html = c->content.html,
        .list_unsubscribe = c->content.list_unsubscribe,
        .text_name = c->content.text_name,
        .html_name = c->content.html_name,
        .partials = c->content.partials,
        .has_text = *c->content.text_name != '\0',
        .has_html = *c->content.html_name != '\0',
        .files = c->content.files,
        .n_files = c->content.n_files,
        .transport = c->delivery.transport,
        .lane = c->delivery.lane,
        .resend = c->delivery.on_crash == CAMPAIGN_RESEND,
        .max_attempts = c->delivery.max_attempts,
        .max_age_s = c->delivery.max_age_ms / 1000,
    };
    for (size_t i = 0; i < c->delivery.delays.count && out.n_delays < CONTENT_DELAYS_MAX; i++)
        out.delays_s[out.n_delays++] = (int)(c->delivery.delays.ms[i] / 1000);
    return out;
}

static struct err check(const struct campaign *c)
{
    struct content content = campaign_content(c);
    struct message *message = NULL;
    if (c->delivery.delays.count > CONTENT_DELAYS_MAX)
        return err_make(ERR_CONFIG, 0, "delivery.retry.delays has %zu durations, at most %d fit",
                        c->delivery.delays.count, CONTENT_DELAYS_MAX);
    TRY(content_compile(&content, &message));
    message_free(message);
    return err_none();
}

struct err campaign_content_load(const struct settings *settings, const char *name,
                                 struct campaign *campaign)
{
    TRY(campaign_read(settings, name, campaign));
    struct err e = check(campaign);
    if (!e.code) return e;
    campaign_free(campaign);
    return err_wrap(e, "%s/%s.cfg", settings->campaigns_dir, name);
}
