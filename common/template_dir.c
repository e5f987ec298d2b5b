/* A name in a campaign or in a partial's tag becomes a path here, and nowhere else. */
#include "common/template_dir.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/config.h"

static bool leaves_directory(const char *path)
{
    if (path[0] == '/') return true;
    for (const char *p = path; *p; p += strspn(p, "/")) {
        size_t len = strcspn(p, "/");
        if (len == 2 && memcmp(p, "..", 2) == 0) return true;
        p += len;
    }
    return false;
}

/* The real path, symbolic links followed, if it lies inside the directory. */
static struct err find(const char *dir, const char *name, char real[PATH_MAX])
{
    char path[PATH_MAX], real_dir[PATH_MAX];
    if (leaves_directory(name))
        return err_make(ERR_CONFIG, 0,
                        "'%.80s' must be a path inside the templates directory, without ..", name);
    if (!realpath(dir, real_dir))
        return err_make(ERR_CONFIG, 0, "the templates directory %s: %s", dir, strerror(errno));
    if (snprintf(path, sizeof path, "%s/%s", real_dir, name) >= (int)sizeof path)
        return err_make(ERR_CONFIG, 0, "the path of the file is too long");
    if (!realpath(path, real))
        return err_make(ERR_CONFIG, 0, "cannot open the file %s/%s: %s", dir, name,
                        strerror(errno));
    size_t len = strlen(real_dir);
    if (len > 1 && (strncmp(real, real_dir, len) != 0 || real[len] != '/'))
        return err_make(ERR_CONFIG, 0,
                        "'%.80s' is a link that leads outside the templates directory", name);
    return err_none();
}

struct err template_dir_read(const char *dir, const char *name, struct buf *out)
{
    char real[PATH_MAX];
    TRY(find(dir, name, real));
    return conf_file_read(real, out);
}

struct err template_dir_read_text(const char *dir, const char *name, struct buf *out)
{
    size_t start = out->len;
    TRY(template_dir_read(dir, name, out));
    char *text = out->data + start;
    size_t len = out->len - start;
    if (!conf_utf8_valid(text, len))
        return err_make(ERR_CONFIG, 0, "the template %s is not UTF-8; save it in that encoding",
                        name);
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        memmove(text, text + 3, len - 3);
        out->len -= 3;
    }
    return err_none();
}
