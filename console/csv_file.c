/* Reads blocks and feeds them to the parser. Owns the descriptor. */
#include "console/csv_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_SIZE = 64 * 1024 };

struct csv_file {
    char *name;
    int fd;
    struct csv csv;
    char block[BLOCK_SIZE];
};

struct err csv_file_open(struct csv_file **out, const char *path, char separator)
{
    bool is_stdin = strcmp(path, "-") == 0;
    *out = NULL;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_make(ERR_IO, errno, "cannot open %s: %s", path, strerror(errno));
    struct csv_file *f = mem_alloc(sizeof *f);
    f->name = mem_copy_text(is_stdin ? "standard input" : path);
    f->fd = fd;
    csv_init(&f->csv, separator);
    *out = f;
    return err_none();
}

void csv_file_close(struct csv_file *f)
{
    if (!f) return;
    if (f->fd != STDIN_FILENO) close(f->fd);
    csv_fini(&f->csv);
    free(f->name);
    free(f);
}

bool csv_file_separator(const char *option, char *out)
{
    if (!option) option = ",";
    if (strcmp(option, "tab") == 0) option = "\t";
    *out = option[0];
    return strlen(option) == 1 && strchr(",;|\t", option[0]);
}

static struct err feed(struct csv_file *f)
{
    ssize_t n;
    do n = read(f->fd, f->block, sizeof f->block);
    while (n < 0 && errno == EINTR);
    if (n < 0) return err_make(ERR_IO, errno, "cannot read %s: %s", f->name, strerror(errno));
    csv_feed(&f->csv, f->block, (size_t)n);
    return err_none();
}

struct err csv_file_next(struct csv_file *f, enum csv_result *result)
{
    while ((*result = csv_next(&f->csv)) == CSV_MORE) TRY(feed(f));
    return err_none();
}

const struct csv *csv_file_row(const struct csv_file *f)
{
    return &f->csv;
}

const char *csv_file_name(const struct csv_file *f)
{
    return f->name;
}

void csv_file_complain(const struct csv_file *f, uint64_t line, const char *problem)
{
    fprintf(stderr, "%s:%" PRIu64 ": %s", f->name, line, problem);
    if (line == f->csv.first_line && line < f->csv.last_line)
        fprintf(stderr, " (the row ends in line %" PRIu64 ")", f->csv.last_line);
    fputc('\n', stderr);
}
