/* A run's content: the snapshot of everything a worker must know about the campaign, written by the
 * producer when the run is created and read once by each worker. Stored as JSON in run.content. */
#ifndef MAILFLOCK_CONTENT_H
#define MAILFLOCK_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/mime.h"
#include "common/template.h"

/* CONTENT_BYTES_MAX: of the JSON; its column holds 16 MiB. */
enum { CONTENT_BYTES_MAX = 15 * 1024 * 1024, CONTENT_DELAYS_MAX = 16 };

/* Fields that this version does not know are ignored. A later version is for what earlier workers
 * must not ignore: they leave such a run to newer ones. */
enum { CONTENT_VERSION = 1 };

/* Texts are never NULL; "" means not given. has_text and has_html tell an empty part from none. */
struct content {
    const char *campaign;
    const char *from, *reply_to, *to_name, *subject, *text, *html, *list_unsubscribe;
    bool has_text, has_html;
    const char *text_name, *html_name; /* their files; "" in runs of earlier versions */
    struct template_partials partials; /* none in runs of earlier versions */
    const struct message_file *files;  /* the same */
    size_t n_files;
    const char *transport, *lane;
    bool resend; /* on_crash = "resend" rather than "hold" */
    int max_attempts;
    int64_t max_age_s;                          /* from the scheduled moment */
    int n_delays, delays_s[CONTENT_DELAYS_MAX]; /* before attempt 2, 3, ...; the last one repeats */
    struct arena arena, file_arena;             /* own the texts and files of a decoded one */
};

/* content_encode: appends the JSON; the buffer's too_big tells a content past its maximum. */
void content_encode(const struct content *content, struct buf *out);

/* content_decode: on success the caller owns *out until content_fini. ERR_NEWER for a later version
 * than CONTENT_VERSION, ERR_INPUT for what is wrong in this one. */
struct err content_decode(const char *json, size_t len, struct content *out) MUST_CHECK;
void content_fini(struct content *content);

/* content_drop_files: frees the files of a decoded content, once its mail is compiled. */
void content_drop_files(struct content *content);

/* content_delay_s: how long after attempt the next one comes. */
int content_delay_s(const struct content *content, unsigned attempt);

/* content_delay_hinted_s: the same where a server wants to be asked again after wanted_s at the
 * earliest: the shortest of the campaign's delays that is as long, if need be the longest one, but
 * none over left_s, which is what is left of max_age. Never shorter than content_delay_s. */
int content_delay_hinted_s(const struct content *content, unsigned attempt, int64_t wanted_s,
                           int64_t left_s);

#endif
