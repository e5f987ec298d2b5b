/* Reads the files, and compares the images with what the HTML shows as cid:NAME. Which names and
 * how many bytes a mail can have is for common/mime.h to say; here is only the bound on what is
 * read. */
#include "common/campaign_files.h"

#include <string.h>

#include "common/template_dir.h"

enum { MEMORY_MAX = MESSAGE_FILES_MAX + (2 << 20) }; /* bytes: files and their names */

struct files {
    const char *dir;
    struct campaign *campaign;
    size_t bytes;
};

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static struct err read_one(struct files *f, const char *path, bool image)
{
    struct arena *memory = &f->campaign->content.file_memory;
    struct buf bytes;
    buf_init(&bytes, MESSAGE_FILES_MAX - f->bytes);
    struct err e = template_dir_read(f->dir, path, &bytes);
    char *copy = e.code ? NULL : arena_copy(memory, bytes.data, bytes.len);
    if (copy)
        f->campaign->content.files[f->campaign->content.n_files++] =
            (struct message_file){name_of(path), copy, bytes.len, image};
    f->bytes += bytes.len;
    buf_fini(&bytes);
    if (copy || (e.code && e.code != ERR_TOO_BIG)) return e;
    return err_make(ERR_TOO_BIG, 0,
                    "with %.200s, images and attachments together have more than %d bytes", path,
                    MESSAGE_FILES_MAX);
}

static struct err read_all(struct files *f, const struct conf_texts *paths, bool image)
{
    for (size_t i = 0; i < paths->count; i++) TRY(read_one(f, paths->items[i], image));
    return err_none();
}

/* What the HTML shows. */
struct shown {
    struct campaign *campaign;
    bool seen[CONF_ITEMS_MAX]; /* per file, images come first */
    bool by_tag;               /* a variable decides: any image may be shown */
};

static struct err show(struct shown *s, const struct template_source *text, const char *name,
                       size_t len)
{
    const struct message_file *files = s->campaign->content.files;
    size_t n = s->campaign->content.image_files.count;
    if (memmem(name, len, "{{", 2)) {
        s->by_tag = true;
        return err_none();
    }
    for (size_t i = 0; i < n; i++) {
        if (strlen(files[i].name) != len || memcmp(files[i].name, name, len) != 0) continue;
        s->seen[i] = true;
        return err_none();
    }
    return err_make(ERR_CONFIG, 0, "%s shows cid:%.*s, an image that is not given here", text->name,
                    (int)(len < 100 ? len : 100), name);
}

/* A cid: URL is an attribute's value, or stands in url() of a style. */
static struct err find_shown(struct shown *s, const struct template_source *text)
{
    const char *at = text->text, *end = text->text + text->len;
    while ((at = memmem(at, (size_t)(end - at), "cid:", 4))) {
        bool is_value = at > text->text && strchr("\"'=(", at[-1]);
        at += 4;
        size_t len = strcspn(at, "\"'()<> \t\r\n;&");
        if (is_value) TRY(show(s, text, at, len));
        at += len;
    }
    return err_none();
}

static struct err compare_images(struct campaign *c)
{
    struct shown s = {.campaign = c};
    TRY(find_shown(&s, &(struct template_source){c->content.html_name, c->content.html,
                                                 strlen(c->content.html)}));
    for (size_t i = 0; i < c->content.partials.count; i++) {
        struct template_source partial = c->content.partials.items[i];
        if (i == 0 && c->content.layout_file[0]) partial.name = c->content.markdown_file;
        TRY(find_shown(&s, &partial));
    }
    for (size_t i = 0; i < c->content.image_files.count && !s.by_tag; i++)
        if (!s.seen[i])
            return err_make(ERR_CONFIG, 0, "%s is not shown: the HTML has no cid:%s",
                            c->content.image_files.items[i], c->content.files[i].name);
    return err_none();
}

struct err campaign_files_read(const struct settings *settings, struct campaign *campaign,
                               const char **key)
{
    struct files f = {.dir = settings->templates_dir, .campaign = campaign};
    const struct conf_texts *images = &campaign->content.image_files;
    const struct conf_texts *attachments = &campaign->content.attachment_files;
    struct arena *memory = &campaign->content.file_memory;
    arena_init(memory, MEMORY_MAX);
    campaign->content.files =
        arena_alloc(memory, (images->count + attachments->count) * sizeof(struct message_file));
    *key = "content.images";
    TRY(read_all(&f, images, true));
    TRY(compare_images(campaign));
    *key = "content.attachments";
    TRY(read_all(&f, attachments, false));
    *key = NULL;
    return err_none();
}
