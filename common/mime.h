/* Complete mails (RFC 5322, MIME): what a run says is compiled once, then built for every
 * recipient without allocating. Pure: the caller brings the date and the message id. */
#ifndef MAILFLOCK_MIME_H
#define MAILFLOCK_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/template.h"
#include "common/value.h"

enum {
    MESSAGE_MAX = 8 << 20,       /* bytes of a mail without its files, for those who build mails */
    MESSAGE_FILES_MAX = 5 << 20, /* bytes of a mail's files together, before they are encoded */
};

/* A file that goes with every mail: an attachment, or an image that the HTML shows as cid:NAME. The
 * name's extension decides the media type. */
struct message_file {
    const char *name; /* UTF-8, without directories */
    const char *bytes;
    size_t len;
    bool image;
};

/* All are borrowed during message_compile; NULL where a thing is not wanted. from and subject are
 * required, and at least one of text and html. */
struct message_spec {
    const char *from, *reply_to;              /* mailboxes: Name <local@domain> */
    const char *to_name;                      /* template: the recipient's display name */
    const char *subject;                      /* template */
    const char *text, *html;                  /* templates; "" is a part with an empty body */
    const char *text_name, *html_name;        /* their files; NULL: "text", "html" */
    const struct template_partials *partials; /* for text and html; NULL: none */
    const struct message_file *files;
    size_t n_files;
    const char *list_unsubscribe;  /* URL template: {{x}} is percent-encoded, {{{x}}} is not */
    const char *message_id_domain; /* NULL: the domain of from */
};

struct message;

/* message_compile: *out is owned by the caller, immutable, and may be shared by threads. ERR_CONFIG
 * or ERR_TOO_BIG says which of the spec's texts is wrong, where, and why. */
struct err message_compile(const struct message_spec *spec, struct message **out) MUST_CHECK;
void message_free(struct message *m);

enum { MESSAGE_TEMPLATES = 5 };
struct message_template {
    const char *name; /* "subject" */
    const struct template *template;
};

/* message_templates: borrows the templates of the mail, for those who look into them; returns how
 * many there are. */
unsigned message_templates(const struct message *m, struct message_template out[MESSAGE_TEMPLATES]);

/* message_from: borrows the bare address of From, for the envelope. */
const char *message_from(const struct message *m);
/* message_is_utf8: From or Reply-To is an address beyond ASCII: every mail needs SMTPUTF8. */
bool message_is_utf8(const struct message *m);
/* message_id_domain: borrows the right-hand side for message ids. */
const char *message_id_domain(const struct message *m);

/* What differs from mail to mail; all borrowed. */
struct message_recipient {
    const char *to; /* bare address */
    size_t to_len;
    const struct value *vars; /* NULL: none */
    const char *message_id;   /* complete, without < and >, at most 250 bytes */
    int64_t date_s;           /* UTC, seconds since 1970 */
};

enum { MESSAGE_DATE_SIZE = 40, MESSAGE_REASON_SIZE = 200 };

/* Memory that is used again from mail to mail; one per thread. */
struct message_scratch {
    struct buf value, spare;
    int64_t date_s;
    char date[MESSAGE_DATE_SIZE]; /* of date_s; "" before the first mail */
};

/* message_scratch_init: no variable or header value may pass max bytes. */
void message_scratch_init(struct message_scratch *s, size_t max);
void message_scratch_fini(struct message_scratch *s);

/* message_build: appends the mail to out, complete but for the files. Lines end in CRLF, the last
 * one too, have at most 998 octets, and none starts with a dot, so that the caller ends DATA with
 * ".\r\n" and stuffs nothing. False where this recipient cannot have a mail: what template_render
 * refuses, a line break in the address or in a header's variable, invalid UTF-8, a mail past out's
 * maximum. Then reason is one line without data from outside, and out is as it was. */
bool message_build(const struct message *m, const struct message_recipient *r,
                   struct message_scratch *s, struct buf *out, char *reason, size_t reason_size);

/* message_files: borrows what follows in every mail behind what message_build wrote: its images and
 * attachments, encoded, with CRLF at the end; *len is 0 where there are none. */
const char *message_files(const struct message *m, size_t *len);

/* What a mail says, as its reader sees it. */
enum message_piece {
    MESSAGE_TO_NAME,
    MESSAGE_SUBJECT,
    MESSAGE_LIST_UNSUBSCRIBE,
    MESSAGE_TEXT,
    MESSAGE_HTML
};

/* message_show: appends that piece, not encoded; false where the message has none, or this
 * recipient cannot have it (which message_build tells). */
bool message_show(const struct message *m, enum message_piece piece,
                  const struct message_recipient *r, struct message_scratch *s, struct buf *out);

#endif
