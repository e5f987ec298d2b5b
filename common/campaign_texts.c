/* From files to text and HTML: Markdown becomes HTML, goes into its layout, and HTML becomes text.
 * All of it happens when the campaign is read, so that what is wrong shows there, and the run's
 * content holds nothing but templates. Knows the names of files; their syntax is for other modules.
 */
#include "common/campaign_texts.h"

#include "common/campaign_partials.h"
#include "common/html_text.h"
#include "common/markdown.h"
#include "common/template_dir.h"
#include "common/template_expand.h"
#include "common/template_parse.h"

enum { MEMORY_MAX = 6 * TEMPLATE_TEXT_MAX }; /* bytes: texts, partials and their names */

static const char LETTER[] = "content"; /* the layout's partial */

struct texts {
    const char *dir;
    struct campaign *campaign;
    struct arena *memory;
    const char **key; /* who is to blame for an error */
};

/* Copies what is made into the campaign's memory, NUL-terminated. */
static struct err keep(const struct texts *t, const char *name, const struct buf *text,
                       struct template_source *out)
{
    char *copy = arena_copy(t->memory, text->data, text->len);
    *out = (struct template_source){name, copy, text->len};
    return copy ? err_none() : err_make(ERR_TOO_BIG, 0, "%s: the texts are too large", name);
}

/* Reads a file that a key names; no name gives an empty text. */
static struct err read_file(const struct texts *t, const char *key, const char *name,
                            struct template_source *out)
{
    struct buf text;
    struct err e = err_none();
    buf_init(&text, CAMPAIGN_TEMPLATE_MAX);
    *t->key = key;
    if (name[0]) e = template_dir_read_text(t->dir, name, &text);
    if (!e.code) e = keep(t, name, &text, out);
    if (!e.code) *t->key = NULL;
    buf_fini(&text);
    return e;
}

/* Source with its partials in their places; replaces them. */
static struct err expand(const struct texts *t, const struct template_partials *partials,
                         struct template_source *source)
{
    struct buf whole;
    buf_init(&whole, TEMPLATE_TEXT_MAX);
    struct err e = template_expand(source, partials, &whole);
    if (!e.code) e = keep(t, source->name, &whole, source);
    buf_fini(&whole);
    return e;
}

/* Its partials are Markdown too, and are put into their places before it is converted. */
static struct err read_markdown(const struct texts *t, const char *name,
                                struct template_source *html)
{
    struct template_source markdown;
    struct template_partials partials = {0};
    struct buf converted;
    TRY(read_file(t, "content.markdown", name, &markdown));
    TRY(campaign_partials_read(t->dir, &markdown, t->memory, &partials));
    TRY(expand(t, &partials, &markdown));
    buf_init(&converted, TEMPLATE_TEXT_MAX);
    struct err e = markdown_to_html(&markdown, &converted);
    if (!e.code) e = keep(t, name, &converted, html);
    buf_fini(&converted);
    return e;
}

struct search {
    const char *file;
    bool found;
};

static struct err search(void *arg, const char *file)
{
    struct search *s = arg;
    s->found = s->found || strcmp(s->file, file) == 0;
    return err_none();
}

static struct err check_layout(const struct texts *t, const struct template_source *layout,
                               const struct template_partials *partials)
{
    struct search s = {.file = partials->items[0].name};
    TRY(template_each_partial(layout, search, &s));
    for (size_t i = 1; i < partials->count; i++)
        TRY(template_each_partial(&partials->items[i], search, &s));
    if (s.found) return err_none();
    *t->key = "content.layout";
    return err_make(ERR_CONFIG, 0, "%s has no {{> %s}}, where the letter goes", layout->name,
                    LETTER);
}

/* The letter is the layout's partial of that name, and the layout is the HTML. */
static struct err apply_layout(const struct texts *t, const char *name,
                               struct template_partials *partials, struct template_source *html)
{
    struct template_source *letter = arena_alloc(t->memory, sizeof *letter);
    char file[TEMPLATE_FILE_MAX], *copy;
    template_partial_file(&(struct template_source){.name = name},
                          &(struct template_tag){.text = LETTER, .len = sizeof LETTER - 1}, file);
    copy = arena_copy(t->memory, file, strlen(file));
    if (!letter || !copy) return err_make(ERR_TOO_BIG, 0, "%s: the texts are too large", name);
    *letter = (struct template_source){copy, html->text, html->len};
    *partials = (struct template_partials){letter, 1};
    TRY(read_file(t, "content.layout", name, html));
    TRY(campaign_partials_read(t->dir, html, t->memory, partials));
    return check_layout(t, html, partials);
}

static struct err read_html(const struct texts *t, struct template_source *html)
{
    struct campaign *c = t->campaign;
    struct template_partials *partials = &c->content.partials;
    if (!c->content.markdown_file[0]) {
        TRY(read_file(t, "content.html", c->content.html_file, html));
        return campaign_partials_read(t->dir, html, t->memory, partials);
    }
    TRY(read_markdown(t, c->content.markdown_file, html));
    if (!c->content.layout_file[0]) return err_none();
    return apply_layout(t, c->content.layout_file, partials, html);
}

/* A mail that is nothing but images has no text. */
static struct err derive_text(const struct texts *t, const struct template_source *html,
                              struct template_source *text)
{
    struct template_source whole = *html;
    struct buf derived;
    struct template_tags tags;
    TRY(expand(t, &t->campaign->content.partials, &whole));
    buf_init(&derived, TEMPLATE_TEXT_MAX);
    struct err e = html_to_text(&whole, &derived);
    if (!e.code) e = keep(t, derived.len ? html->name : "", &derived, text);
    buf_fini(&derived);
    if (e.code) return e;
    e = template_parse(text, &tags);
    template_tags_free(&tags);
    return e;
}

static struct err add_derived_text(const struct texts *t, const struct template_source *html,
                                   struct template_source *text)
{
    struct err e = derive_text(t, html, text);
    if (!e.code) return e;
    *t->key = "content.derive_text";
    return err_make(e.code, 0,
                    "no text can be made of the HTML; give content.text, or turn this off: %s",
                    e.text);
}

struct err campaign_texts_read(const struct settings *settings, struct campaign *campaign,
                               const char **key)
{
    struct template_source text, html;
    struct texts t = {settings->templates_dir, campaign, &campaign->content.memory, key};
    arena_init(t.memory, MEMORY_MAX);
    TRY(read_html(&t, &html));
    TRY(read_file(&t, "content.text", campaign->content.text_file, &text));
    TRY(campaign_partials_read(t.dir, &text, t.memory, &campaign->content.partials));
    if (!text.name[0] && html.name[0] && campaign->content.derive_text)
        TRY(add_derived_text(&t, &html, &text));
    campaign->content.text = text.text;
    campaign->content.text_name = text.name;
    campaign->content.html = html.text;
    campaign->content.html_name = html.name;
    return err_none();
}
