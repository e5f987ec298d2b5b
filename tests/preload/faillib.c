/* LD_PRELOAD library: makes one call fail, as a full memory or a broken network would.
 *   FAIL_KIND=alloc      malloc, calloc and realloc answer NULL
 *   FAIL_KIND=io         connect, poll, send and their like fail for good: refused, reset
 *   FAIL_KIND=interrupt  the same calls fail with EINTR, as when a signal comes
 *   FAIL_AT=N            the Nth such call, from 1, after the program has called faillib_begin
 *   FAIL_REPORT=FILE     gets "hit NAME" when it happens and "count N" at an orderly end
 * Calls on standard input, output and error are left alone, but for poll. A program that dies of
 * SIGSEGV says in FILE which object it was in: "crash PATH", the C library apart. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NOTHING, ALLOC, IO, INTERRUPT };

static enum kind kind;
static long at, count;
static int report_fd = -1;
static _Bool begun;

static int (*real_connect)(int, const struct sockaddr *, socklen_t);
static int (*real_poll)(struct pollfd *, nfds_t, int);
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_recv)(int, void *, size_t, int);
static ssize_t (*real_send)(int, const void *, size_t, int);
static ssize_t (*real_recvmsg)(int, struct msghdr *, int);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void faillib_begin(void);
void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *old, size_t size);

static void find(void *function, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

/* Without allocating anything. */
static void report(const char *word, const char *text)
{
    char line[300];
    int len = snprintf(line, sizeof line, "%s %s\n", word, text);
    if (len >= (int)sizeof line) len = sizeof line - 1;
    if (report_fd >= 0 && real_write(report_fd, line, (size_t)len) != len) abort();
}

/* The innermost frames are this handler's and the signal's. */
static void on_crash(int signal_number)
{
    void *frames[32];
    Dl_info info, own, libc;
    int n = backtrace(frames, 32),
        known = dladdr((void *)&kind, &own) && dladdr((void *)abort, &libc);
    signal(signal_number, SIG_DFL);
    for (int i = 0; known && i < n; i++) {
        if (!dladdr(frames[i], &info) || info.dli_fbase == own.dli_fbase ||
            info.dli_fbase == libc.dli_fbase)
            continue;
        report("crash", info.dli_fname);
        break;
    }
    raise(signal_number);
}

__attribute__((constructor)) static void set_up(void)
{
    void *frame;
    static const char *const kinds[] = {"", "alloc", "io", "interrupt"};
    const char *name = getenv("FAIL_KIND"), *n = getenv("FAIL_AT"), *file = getenv("FAIL_REPORT");
    for (int k = ALLOC; name && k <= INTERRUPT; k++)
        if (strcmp(name, kinds[k]) == 0) kind = (enum kind)k;
    at = n ? strtol(n, NULL, 10) : 0;
    if (file) report_fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    find(&real_connect, "connect");
    find(&real_poll, "poll");
    find(&real_read, "read");
    find(&real_write, "write");
    find(&real_writev, "writev");
    find(&real_recv, "recv");
    find(&real_send, "send");
    find(&real_recvmsg, "recvmsg");
    find(&real_sendmsg, "sendmsg");
    backtrace(&frame, 1); /* allocates at its first use */
    signal(SIGSEGV, on_crash);
}

void faillib_begin(void)
{
    begun = 1;
}

__attribute__((destructor)) static void report_count(void)
{
    char text[24];
    snprintf(text, sizeof text, "%ld", count);
    report("count", text);
}

static _Bool is_due(const char *name)
{
    if (++count != at) return 0;
    report("hit", name);
    return 1;
}

static _Bool alloc_fails(const char *name)
{
    if (!begun || kind != ALLOC || !is_due(name)) return 0;
    errno = ENOMEM;
    return 1;
}

static _Bool call_fails(int fd, const char *name, int why)
{
    if (!begun || fd <= STDERR_FILENO || (kind != IO && kind != INTERRUPT) || !is_due(name))
        return 0;
    errno = kind == INTERRUPT ? EINTR : why;
    return 1;
}

void *malloc(size_t size)
{
    return alloc_fails("malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return alloc_fails("calloc") ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    return alloc_fails("realloc") ? NULL : __libc_realloc(old, size);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    return call_fails(fd, "connect", ECONNREFUSED) ? -1 : real_connect(fd, address, len);
}

int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    return call_fails(INT_MAX, "poll", ENOMEM) ? -1 : real_poll(fds, n, timeout_ms);
}

ssize_t read(int fd, void *out, size_t size)
{
    return call_fails(fd, "read", ECONNRESET) ? -1 : real_read(fd, out, size);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    return call_fails(fd, "write", EPIPE) ? -1 : real_write(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    return call_fails(fd, "writev", EPIPE) ? -1 : real_writev(fd, parts, n);
}

ssize_t recv(int fd, void *out, size_t size, int flags)
{
    return call_fails(fd, "recv", ECONNRESET) ? -1 : real_recv(fd, out, size, flags);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    return call_fails(fd, "send", EPIPE) ? -1 : real_send(fd, bytes, len, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return call_fails(fd, "recvmsg", ECONNRESET) ? -1 : real_recvmsg(fd, message, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return call_fails(fd, "sendmsg", EPIPE) ? -1 : real_sendmsg(fd, message, flags);
}
