/* One text of a template, cut into its tags. Used by template_compile.c. Pure. */
#ifndef MAILFLOCK_TEMPLATE_PARSE_H
#define MAILFLOCK_TEMPLATE_PARSE_H

#include "common/template.h"

/* A literal, a tag, or the end of a section. text: the literal, which may be empty, or the name. */
struct template_tag {
    enum template_kind kind; /* partials are TEMPLATE_CALL */
    bool alone;              /* nothing else is on its line, and the line is gone */
    bool in_section;         /* a call inside a section that is not inverted */
    const char *text;
    size_t len;
    size_t at;     /* bytes of the source before it */
    size_t indent; /* of a call that is alone: the blanks before it */
};

struct template_tags {
    struct template_tag *items;
    size_t count, room;
};

/* template_parse: sections in *out nest properly, no deeper than TEMPLATE_DEPTH_MAX. The caller
 * frees with template_tags_free, also after an error. Errors as template_compile. */
struct err template_parse(const struct template_source *source,
                          struct template_tags *out) MUST_CHECK;
void template_tags_free(struct template_tags *tags);

/* template_error: ERR_CONFIG with "file:line:column: " before the text. */
struct err template_error(const struct template_source *source, size_t at, const char *format,
                          ...) MUST_CHECK __attribute__((format(printf, 3, 4)));

/* template_partial_file: the file that a tag of this name means in source; out has
 * TEMPLATE_FILE_MAX bytes. */
void template_partial_file(const struct template_source *source, const struct template_tag *call,
                           char *out);

#endif
