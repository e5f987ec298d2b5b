/* One campaign as its owner wrote it: config/campaigns/NAME.cfg and its template files. */
#ifndef MAILFLOCK_CAMPAIGN_H
#define MAILFLOCK_CAMPAIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/config.h"
#include "common/err.h"
#include "common/mime.h"
#include "common/schedule.h"
#include "common/settings.h"
#include "common/template.h"

enum { CAMPAIGN_NAME_MAX = 64, CAMPAIGN_TEMPLATE_MAX = 1024 * 1024 };

/* What becomes of a recipient whose mail was on the way when a worker died. */
enum campaign_on_crash {
    CAMPAIGN_HOLD,  /* never a second copy: the recipient is listed as unknown */
    CAMPAIGN_RESEND /* never a missing mail: it is sent again */
};

/* The HTTP service that knows more of the recipients than the audience does; without a url there is
 * none. docs/enrichment.md is the contract with it. */
struct campaign_enrich {
    char *url;    /* http:// or https://, without user, blanks and fragment */
    char *method; /* "POST" or "PUT" */
    char *ca_file;
    char *cache;        /* the name under which answers are kept, never "" with a url */
    char *headers_file; /* for those that are secret; beside the campaign's file if relative */
    int batch, concurrency;
    int64_t delay_ms, timeout_ms, cache_ttl_ms; /* cache_ttl_ms 0: nothing is kept */
    struct conf_durations retry;                /* at least one */
    struct conf_texts headers, secret_headers;  /* "Name: value"; the second from headers_file */
};

/* No text is ever NULL; "" means not given. */
struct campaign {
    char *name; /* the file's name; [a-z0-9-]{1,64} */
    struct schedule schedule;
    struct {
        char *sql;              /* audience_sql_problem has none */
        char *database;         /* exists in the settings; "" = the ledger's */
        struct conf_texts json; /* columns to be taken as JSON */
        int chunk_size;         /* recipients in one chunk */
    } audience;
    struct campaign_enrich enrich;
    struct {
        char *from, *reply_to, *to_name, *subject, *list_unsubscribe;
        char *text_file, *html_file; /* relative to the templates directory, as all files */
        char *markdown_file, *layout_file;
        bool derive_text; /* from HTML where there is no text_file */
        struct conf_texts image_files, attachment_files;
        /* What is made of the files: text and html are templates, UTF-8; their names, "" where
         * there is none, are the files they come from. partials: all that they need; with a layout,
         * the first is the letter. */
        const char *text, *html, *text_name, *html_name;
        struct template_partials partials;
        struct message_file *files;
        size_t n_files;
        struct arena memory, file_memory; /* of the texts, of the files */
    } content;
    struct {
        char *transport; /* exists in the settings */
        char *lane;      /* "bulk" or "fast" */
        int on_crash;    /* enum campaign_on_crash */
        /* Attempt n + 1 follows attempt n after delays.ms[n - 1], the last one repeating; each is a
         * whole number of seconds, and there is at least one. */
        struct conf_durations delays;
        int max_attempts;
        int64_t max_age_ms; /* from the run's scheduled moment */
    } delivery;
};

/* campaign_read: reads campaign name and its templates, and checks all that can be checked without
 * a database; the syntax of templates is checked by common/template.h. ERR_CONFIG says file, line
 * and what would be right; ERR_IO where a file cannot be read. On failure nothing is left to free.
 */
struct err campaign_read(const struct settings *settings, const char *name,
                         struct campaign *campaign) MUST_CHECK;

/* campaign_read_schedule: the same, but opens no template and checks only the schedule of what was
 * read: for those who look at every campaign to see when it runs. */
struct err campaign_read_schedule(const struct settings *settings, const char *name,
                                  struct campaign *campaign) MUST_CHECK;

/* campaign_free: frees what campaign_read filled in; harmless on a zeroed struct. */
void campaign_free(struct campaign *campaign);

/* campaign_name_valid: [a-z0-9-]{1,64} with a letter among them: digits alone are a run's number to
 * the operator's commands. */
bool campaign_name_valid(const char *name);

/* campaign_list: the names in the campaigns directory, in order. Returns owned texts, freed with
 * conf_texts_free, also after ERR_CONFIG for a .cfg file whose name cannot be a campaign's: then
 * they are the others. ERR_IO where the directory cannot be read. */
struct err campaign_list(const struct settings *settings, struct conf_texts *names) MUST_CHECK;

/* campaign_help: every key, for --help-config or docs/configuration.md. Check out at the end. */
void campaign_help(struct buf *out, enum conf_help form);

#endif
