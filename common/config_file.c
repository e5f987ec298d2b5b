/* Files named in a configuration, read whole and bounded; and the names of variables. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"

static struct err read_all(int fd, const char *path, struct buf *out, char *chunk, size_t size)
{
    for (;;) {
        ssize_t got = read(fd, chunk, size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_make(ERR_IO, errno, "reading %s: %s", path, strerror(errno));
        if (got == 0) return buf_check(out, path);
        buf_append(out, chunk, (size_t)got);
        if (out->too_big) return buf_check(out, path);
    }
}

/* What was read may be a secret. */
static struct err read_and_wipe(int fd, const char *path, struct buf *out)
{
    char chunk[16384];
    struct err e = read_all(fd, path, out, chunk, sizeof chunk);
    explicit_bzero(chunk, sizeof chunk);
    return e;
}

struct err conf_file_read(const char *path, struct buf *out)
{
    /* O_NONBLOCK: a fifo must not hold up the start before fstat has seen that it is one. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return err_make(ERR_IO, errno, "cannot open %s: %s", path, strerror(errno));
    struct stat st;
    struct err e;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        e = err_make(ERR_IO, EINVAL, "%s is not a regular file", path);
    else
        e = read_and_wipe(fd, path, out);
    close(fd);
    return e;
}

const char *conf_variable(const char *path, char *out, size_t size)
{
    snprintf(out, size, "MAILFLOCK_%s", path);
    for (char *p = out; *p; p++) {
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
        else if (*p == '.' || *p == '-')
            *p = '_';
    }
    return out;
}
