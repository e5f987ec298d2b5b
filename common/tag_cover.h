/* The tags of a template covered up, so that a parser of Markdown or HTML can work on the text
 * around them: each becomes a word of letters and digits that the text does not hold, to be found
 * again in what the parser made of it. Pure. */
#ifndef MAILFLOCK_TAG_COVER_H
#define MAILFLOCK_TAG_COVER_H

#include "common/template_parse.h"

/* What becomes of a tag that is alone on its line (and would vanish with it). */
enum tag_cover_form {
    TAG_COVER_MARKDOWN, /* <?word?> on a line of its own, which is a block in Markdown */
    TAG_COVER_HTML      /* the word; its line is gone */
};

/* text is the source with words for tags, without comments and changes of delimiters. */
struct tag_cover {
    struct template_tags tags; /* point into the source, which must stay */
    char mark[24];             /* begins every word */
    struct buf text;
};

/* tag_cover_init: the caller frees with tag_cover_fini, also after an error; errors as
 * template_compile, for what is wrong in this text alone. */
struct err tag_cover_init(struct tag_cover *c, const struct template_source *source,
                          enum tag_cover_form form) MUST_CHECK;
void tag_cover_fini(struct tag_cover *c);

/* tag_cover_find: the first word in text: its place, length and tag; NULL where there is none. */
const struct template_tag *tag_cover_find(const struct tag_cover *c, const char *text, size_t len,
                                          size_t *at, size_t *word_len);

/* tag_cover_show: text with its words as tags again, in the usual delimiters; braces that are no
 * tag stay what they are. */
void tag_cover_show(const struct tag_cover *c, const char *text, size_t len, struct buf *out);

/* tag_cover_write_tag, tag_cover_write_literal: the two halves of it. */
void tag_cover_write_tag(const struct template_tag *tag, struct buf *out);
void tag_cover_write_literal(const char *text, size_t len, struct buf *out);

#endif
