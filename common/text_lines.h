/* Writing a plain text template line by line, for html_text.c. Blanks and blank lines are asked for
 * where they are due and written once something follows. A line that holds only tags of sections
 * becomes one line for each of them, which vanish when the text is rendered. Pure. */
#ifndef MAILFLOCK_TEXT_LINES_H
#define MAILFLOCK_TEXT_LINES_H

#include <stdbool.h>

#include "common/tag_cover.h"

struct text_lines {
    struct buf *out;
    struct buf line, tags;  /* the current line; the tags in it, each as a line */
    bool visible;           /* the line holds more than tags of sections and partials */
    bool calls;             /* it holds a partial */
    bool after_blank;       /* a blank is the last of it, tags apart */
    int blanks;             /* due before what follows in it */
    bool gap_due, gap_made; /* a blank line, before what follows or as the last thing written */
    unsigned ended;         /* lines so far */
};

void text_lines_init(struct text_lines *l, struct buf *out);
void text_lines_fini(struct text_lines *l);

/* text_lines_blank: n blanks if more follows in this line; of some in a row the most count. */
void text_lines_blank(struct text_lines *l, int n);
/* text_lines_put: text without tags; braces in it mean nothing. */
void text_lines_put(struct text_lines *l, const char *text, size_t len);
void text_lines_tag(struct text_lines *l, const struct template_tag *tag);
/* text_lines_target: a link's target, tags in it, in parentheses or bare. */
void text_lines_target(struct text_lines *l, const char *target, size_t len, bool parentheses);

/* text_lines_gap: a blank line before the next line. */
void text_lines_gap(struct text_lines *l);
/* text_lines_is_empty: nothing is in the current line. */
bool text_lines_is_empty(const struct text_lines *l);
/* text_lines_end: ends the line, if anything is in it. before begins it, where it shows. */
void text_lines_end(struct text_lines *l, const struct buf *before);

#endif
