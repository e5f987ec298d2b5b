/* The record of accepted mails: one line each, message-id, connection, recipient, time; buffered,
 * and on its way to the file within 20 ms. The file is appended to, so that a server that is
 * stopped and started again goes on where it was. */
#include "fakesmtp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RECORD_SIZE = 262144,
    RECORD_LINE_MAX = MESSAGE_ID_MAX + ADDRESS_MAX + 64,
    FLUSH_US = 20000
};

static int file = -1;
static char pending[RECORD_SIZE];
static size_t pending_len;
static int64_t pending_since;

void record_open(const char *path)
{
    file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0) {
        fprintf(stderr, "fakesmtp: cannot open record %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

void record_flush(void)
{
    for (size_t done = 0; done < pending_len;) {
        ssize_t n = write(file, pending + done, pending_len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            fprintf(stderr, "fakesmtp: cannot write the record: %s\n", strerror(errno));
            abort(); /* a server with an incomplete record would make tests lie */
        }
        done += (size_t)n;
    }
    pending_len = 0;
}

int64_t record_due(int64_t now)
{
    if (!pending_len) return -1;
    int64_t left = pending_since + FLUSH_US - now;
    return left > 0 ? left : 0;
}

static void add_bytes(const char *bytes, size_t len)
{
    memcpy(pending + pending_len, bytes, len);
    pending_len += len;
}

static void add_number(uint64_t number, char end)
{
    char digits[24], *p = digits + sizeof digits;
    *--p = end;
    do *--p = (char)('0' + number % 10);
    while (number /= 10);
    add_bytes(p, (size_t)(digits + sizeof digits - p));
}

void record_add(const struct conn *c, const char *rcpt, int64_t now)
{
    if (file < 0) return;
    if (pending_len + RECORD_LINE_MAX > RECORD_SIZE) record_flush();
    if (!pending_len) pending_since = now;
    add_bytes(c->id_len ? c->id : "-", c->id_len ? c->id_len : 1);
    add_bytes("\t", 1);
    add_number(c->number, '\t');
    add_bytes(rcpt, strlen(rcpt));
    add_bytes("\t", 1);
    add_number((uint64_t)now, '\n');
}
