/* Follows the tags of partials from file to file. Each file is read once, so a cycle ends here;
 * whether it may be there is for common/template.h to say. */
#include "common/campaign_partials.h"

#include "common/campaign.h"
#include "common/template_dir.h"

struct reading {
    const char *dir;
    struct arena *memory;
    struct template_source *items;
    size_t count, bytes;
};

static struct err add(struct reading *r, const char *file, struct buf *text)
{
    TRY(template_dir_read_text(r->dir, file, text));
    char *name = arena_copy(r->memory, file, strlen(file));
    char *copy = arena_copy(r->memory, text->data, text->len);
    r->bytes += text->len;
    if (!name || !copy || r->bytes > TEMPLATE_TEXT_MAX)
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

struct err campaign_partials_read(const char *templates_dir, const struct template_source *source,
                                  struct arena *memory, struct template_partials *partials)
{
    struct reading r = {
        .dir = templates_dir,
        .memory = memory,
        .items = arena_alloc(memory, TEMPLATE_PARTIALS_MAX * sizeof *r.items),
        .count = partials->count,
    };
    if (!r.items) return err_make(ERR_TOO_BIG, 0, "%s: too many partials", source->name);
    if (r.count) memcpy(r.items, partials->items, r.count * sizeof *r.items);
    TRY(template_each_partial(source, take, &r));
    for (size_t i = 0; i < r.count; i++) TRY(template_each_partial(&r.items[i], take, &r));
    *partials = (struct template_partials){r.items, r.count};
    return err_none();
}
