/* What stands around the texts of a mail: the multiparts, and the files in them. It is the same for
 * every recipient, so it is written once. Used by mime.c. Pure. */
#ifndef MAILFLOCK_MIME_FRAME_H
#define MAILFLOCK_MIME_FRAME_H

#include "common/mime.h"
#include "common/mime_part.h"

/* In the order of the mail, the texts between them:
 *
 *     multipart/mixed              where there are attachments
 *       multipart/related          where there are images
 *         multipart/alternative    where there are text and HTML
 *           head, text, between, HTML, end
 *         images
 *       attachments                both in files, to the end of the mail */
struct mime_frame {
    struct buf head;    /* from the first Content-Type to the text, or to the only part */
    struct buf between; /* text and HTML, where there are both */
    struct buf end;     /* of the alternatives */
    struct buf files;   /* empty without files */
};

void mime_frame_init(struct mime_frame *f);
void mime_frame_fini(struct mime_frame *f);

/* mime_frame_write: text and html: NULL for none, at least one is there; spec is that of the mail.
 * ERR_CONFIG says which file cannot be in a mail and why, ERR_TOO_BIG past MESSAGE_FILES_MAX. */
struct err mime_frame_write(struct mime_frame *f, const struct message_spec *spec,
                            const struct mime_part *text, const struct mime_part *html) MUST_CHECK;

/* mime_frame_is_multipart: a line break before a boundary belongs to it; a mail of one part needs
 * one at its end. */
static inline bool mime_frame_is_multipart(const struct mime_frame *f)
{
    return f->end.len || f->files.len;
}

#endif
