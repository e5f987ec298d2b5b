/* Follows the tags of partials from file to file. Each file is read once, so a cycle ends here;
 * whether it may be there is for common/template.h to say. */
#include "common/campaign_partials.h"

#include "common/template_dir.h"

enum { MEMORY_MAX = TEMPLATE_TEXT_MAX + (1 << 20) }; /* bytes: texts and names */

struct reading {
    const char *dir;
    struct arena *memory;
    struct template_source *items;
    size_t count;
};

static struct err add(struct reading *r, const char *file, struct buf *text)
{
    TRY(template_dir_read_text(r->dir, file, text));
    char *name = arena_copy(r->memory, file, strlen(file));
    char *copy = arena_copy(r->memory, text->data, text->len);
    if (!name || !copy)
        return err_make(ERR_TOO_BIG, 0, "all partials together are larger than %d bytes",
                        TEMPLATE_TEXT_MAX);
    r->items[r->count++] = (struct template_source){name, copy, text->len};
    return err_none();
}

static struct err take(void *arg, const char *file)
{
    struct reading *r = arg;
    struct buf text;
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->items[i].name, file) == 0) return err_none();
    if (r->count == TEMPLATE_PARTIALS_MAX)
        return err_make(ERR_TOO_BIG, 0, "there are more than %d partials", TEMPLATE_PARTIALS_MAX);
    buf_init(&text, CAMPAIGN_TEMPLATE_MAX);
    struct err e = add(r, file, &text);
    buf_fini(&text);
    return e;
}

static struct err follow(struct reading *r, const struct campaign *c)
{
    struct template_source text = {c->content.text_file, c->content.text, c->content.text_len};
    struct template_source html = {c->content.html_file, c->content.html, c->content.html_len};
    TRY(template_each_partial(&text, take, r));
    TRY(template_each_partial(&html, take, r));
    for (size_t i = 0; i < r->count; i++) TRY(template_each_partial(&r->items[i], take, r));
    return err_none();
}

struct err campaign_partials_read(const char *templates_dir, struct campaign *campaign)
{
    struct arena *memory = &campaign->content.memory;
    arena_init(memory, MEMORY_MAX);
    struct reading r = {
        .dir = templates_dir,
        .memory = memory,
        .items = arena_alloc(memory, TEMPLATE_PARTIALS_MAX * sizeof *r.items),
    };
    TRY(follow(&r, campaign));
    campaign->content.partials = (struct template_partials){r.items, r.count};
    return err_none();
}
