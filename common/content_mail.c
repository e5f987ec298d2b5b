/* Apart from campaign_content.c, which reads files, so that a worker need not have what that needs.
 */
#include "common/content_mail.h"

#include <stdio.h>

enum { VALUE_MAX = 4 * 1024 * 1024 };

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

struct err content_mail_for(const struct message *message, const struct chunk_recipient *to,
                            int64_t date_s, struct buf *out)
{
    char id[300], reason[MESSAGE_REASON_SIZE];
    struct message_scratch scratch;
    size_t files_len;
    if (to->fail) return err_make(ERR_INPUT, 0, "recipient %s would fail: %s", to->id, to->fail);
    snprintf(id, sizeof id, "preview@%s", message_id_domain(message));
    struct message_recipient recipient = {to->to, to->to_len, &to->vars, id, date_s};
    message_scratch_init(&scratch, VALUE_MAX);
    bool built = message_build(message, &recipient, &scratch, out, reason, sizeof reason);
    message_scratch_fini(&scratch);
    if (!built) return err_make(ERR_INPUT, 0, "recipient %s would fail: %s", to->id, reason);
    const char *files = message_files(message, &files_len);
    buf_append(out, files, files_len);
    return buf_check(out, "the mail");
}
