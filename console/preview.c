/* mailflock preview: the mail that one recipient of the real audience would get now. It goes the
 * way of a real one: the campaign's files, a page of the audience, the chunk message, the worker's
 * compiling and building. Needs no broker; the ledger only for the contact
 * cache, where the campaign asks a contact service. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/campaign_audience.h"
#include "common/campaign_content.h"
#include "common/chunk.h"
#include "common/clock.h"
#include "common/content_mail.h"
#include "common/id_order.h"
#include "common/recipient.h"
#include "common/schema.h"
#include "console/ask.h"
#include "console/console.h"

enum { MAIL_MAX = 64 * 1024 * 1024, LINE_SIZE = 1200 };

struct preview {
    struct console *console;
    const char *name, *id; /* of the campaign; of the recipient, NULL: the first */
    bool text, html, eml;
    int64_t now_s;
    struct campaign campaign;
    struct audience *audience;
    struct message *message;
    struct chunk_message chunk; /* of the one recipient */
    struct buf mail;            /* as it would leave */
};

/* ---- the recipient */

/* The id before an integer, where the audience is to be read from; NULL: the start. */
static const char *id_before(const char *id, char out[CHUNK_ID_MAX + 1])
{
    long long value = strtoll(id, NULL, 10);
    unsigned long long large = strtoull(id, NULL, 10);
    if (id[0] == '-' && value > INT64_MIN)
        snprintf(out, CHUNK_ID_MAX + 1, "%lld", value - 1);
    else if (id[0] != '-')
        snprintf(out, CHUNK_ID_MAX + 1, large ? "%llu" : "-1", large - 1);
    else
        return NULL;
    return out;
}

/* Integers are looked up; texts are in an order that only the database knows, and are searched. */
static struct err seek(const struct preview *p, bool *looked_up)
{
    const struct recipient_columns *columns = audience_columns(p->audience);
    char before[CHUNK_ID_MAX + 1];
    *looked_up = p->id && columns->items[columns->id].kind == DB_KIND_INT;
    if (!*looked_up) return err_none();
    if (!id_order_is_int(p->id))
        return err_make(ERR_INPUT, 0, "'%.64s' is no id of this audience: its ids are integers",
                        p->id);
    return audience_seek(p->audience, id_before(p->id, before));
}

static struct err find_row(const struct preview *p, const struct db_cell **row)
{
    const struct recipient_columns *columns = audience_columns(p->audience);
    uint64_t rows;
    bool looked_up;
    TRY(seek(p, &looked_up));
    do {
        TRY(audience_page(p->audience, &rows));
        do {
            TRY(audience_row(p->audience, row));
            if (*row && (!p->id || strcmp((*row)[columns->id].text, p->id) == 0)) return err_none();
        } while (*row && !looked_up);
    } while (rows && !looked_up);
    *row = NULL;
    return err_none();
}

/* As a run would have it: from the cache, or else from the service. */
static struct err read_contact(struct preview *p, const struct recipient_columns *columns,
                               const struct db_cell *row)
{
    struct ask ask = {0};
    const struct contact *contact;
    TRY(console_reopen(p->console));
    TRY(schema_check(p->console->db));
    ask_open(&ask, &p->campaign.enrich, false, p->console->db, columns);
    enrich_add(ask.stream, row);
    enrich_end(ask.stream);
    struct err e = ask_next(&ask, &row, &contact);
    if (!e.code) e = recipient_read_back(columns, row, contact, &p->chunk);
    ask_close(&ask);
    return e;
}

static struct err read_recipient(struct preview *p)
{
    const struct recipient_columns *columns = audience_columns(p->audience);
    const struct db_cell *row = NULL;
    TRY(find_row(p, &row));
    if (!row && !p->id) return err_make(ERR_INPUT, 0, "the audience is empty now");
    if (!row)
        return err_make(ERR_INPUT, 0, "the audience has no recipient with the id '%.64s' now",
                        p->id);
    if (*p->campaign.enrich.url) return read_contact(p, columns, row);
    return recipient_read_back(columns, row, NULL, &p->chunk);
}

static struct err build(struct preview *p)
{
    TRY(console_read_settings(p->console));
    TRY(campaign_content_load(&p->console->settings, p->name, &p->campaign));
    struct content content = campaign_content(&p->campaign);
    TRY(content_compile(&content, &p->message));
    p->now_s = clock_utc_us() / 1000000;
    TRY(campaign_audience_open(&p->console->settings, &p->campaign, p->now_s, &p->audience));
    TRY(read_recipient(p));
    return content_mail_for(p->message, &p->chunk.recipients[0], p->now_s, &p->mail);
}

/* ---- what is shown */

static void print_line(const char *name, const char *text, size_t len)
{
    char line[LINE_SIZE], copy[LINE_SIZE];
    snprintf(copy, sizeof copy, "%.*s", (int)(len < sizeof copy ? len : sizeof copy - 1), text);
    if (len) printf("%s: %s\n", name, console_text(line, sizeof line, copy));
}

static void print_files(const struct preview *p)
{
    for (size_t i = 0; i < p->campaign.content.n_files; i++) {
        const struct message_file *file = &p->campaign.content.files[i];
        char name[LINE_SIZE];
        printf("%s: %s, %zu bytes\n", file->image ? "Image" : "Attachment",
               console_text(name, sizeof name, file->name), file->len);
    }
}

/* Appends a piece of the mail; false where it has none. */
static bool show(const struct preview *p, enum message_piece piece, struct buf *out)
{
    const struct chunk_recipient *to = &p->chunk.recipients[0];
    struct message_recipient r = {to->to, to->to_len, &to->vars, "", p->now_s};
    struct message_scratch scratch;
    message_scratch_init(&scratch, MAIL_MAX);
    bool there = message_show(p->message, piece, &r, &scratch, out);
    message_scratch_fini(&scratch);
    return there;
}

static void print_piece(const struct preview *p, const char *name, enum message_piece piece)
{
    struct buf text;
    buf_init(&text, MAIL_MAX);
    if (show(p, piece, &text)) print_line(name, text.data, text.len);
    buf_fini(&text);
}

static void print_to(const struct preview *p)
{
    const struct chunk_recipient *to = &p->chunk.recipients[0];
    struct buf text;
    buf_init(&text, MAIL_MAX);
    bool named = show(p, MESSAGE_TO_NAME, &text) && text.len;
    buf_append_format(&text, named ? " <%s>" : "%s", to->to);
    print_line("To", text.data, text.len);
    buf_fini(&text);
}

static void print_headers(const struct preview *p)
{
    const char *from = p->campaign.content.from, *reply_to = p->campaign.content.reply_to;
    print_line("From", from, strlen(from));
    print_line("Reply-To", reply_to, strlen(reply_to));
    print_to(p);
    print_piece(p, "Subject", MESSAGE_SUBJECT);
    print_piece(p, "List-Unsubscribe", MESSAGE_LIST_UNSUBSCRIBE);
    print_files(p);
    print_line("Recipient", p->chunk.recipients[0].id, strlen(p->chunk.recipients[0].id));
    printf("Size: %zu bytes\n", p->mail.len);
}

/* With a line end behind it, whatever it ends with. */
static void print_text(const struct buf *text)
{
    fwrite(text->data, 1, text->len, stdout);
    if (text->len && text->data[text->len - 1] != '\n') putchar('\n');
}

static struct err print_part(const struct preview *p, enum message_piece piece, const char *what)
{
    struct buf text;
    buf_init(&text, MAIL_MAX);
    bool there = show(p, piece, &text);
    if (there) print_text(&text);
    buf_fini(&text);
    if (there) return err_none();
    return err_make(ERR_INPUT, 0, "the mails of this campaign have no %s part", what);
}

static struct err print(const struct preview *p)
{
    if (p->eml) {
        fwrite(p->mail.data, 1, p->mail.len, stdout);
        return err_none();
    }
    if (p->text) return print_part(p, MESSAGE_TEXT, "text");
    if (p->html) return print_part(p, MESSAGE_HTML, "HTML");
    print_headers(p);
    putchar('\n');
    bool text = *p->campaign.content.text_name != '\0';
    return print_part(p, text ? MESSAGE_TEXT : MESSAGE_HTML, text ? "text" : "HTML");
}

int command_preview(struct console *c, int argc, char **argv)
{
    struct preview p = {.console = c};
    const struct console_option options[] = {{"--recipient", NULL, &p.id},
                                             {"--text", &p.text, NULL},
                                             {"--html", &p.html, NULL},
                                             {"--eml", &p.eml, NULL}};
    if (!console_options(&argc, argv, options, 4, 1, 1)) return CONSOLE_USAGE;
    if (p.text + p.html + p.eml > 1)
        return console_usage(argv[0], "--text, --html and --eml exclude one another");
    p.name = argv[1];
    buf_init(&p.mail, MAIL_MAX);
    struct err e = build(&p);
    if (!e.code) e = print(&p);
    buf_fini(&p.mail);
    chunk_fini(&p.chunk);
    message_free(p.message);
    audience_close(p.audience);
    campaign_free(&p.campaign);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}
