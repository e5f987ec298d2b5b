/* Apart from campaign_content.c, which reads files, so that a worker need not have what that needs.
 */
#include "common/content_mail.h"

static const char *given(const char *text)
{
    return *text ? text : NULL;
}

struct err content_compile(const struct content *content, struct message **out)
{
    struct message_spec spec = {
        .from = content->from,
        .reply_to = given(content->reply_to),
        .to_name = given(content->to_name),
        .subject = content->subject,
        .text = content->has_text ? content->text : NULL,
        .html = content->has_html ? content->html : NULL,
        .text_name = given(content->text_name),
        .html_name = given(content->html_name),
        .partials = &content->partials,
        .files = content->files,
        .n_files = content->n_files,
        .list_unsubscribe = given(content->list_unsubscribe),
    };
    return message_compile(&spec, out);
}
