/* The event loop: accepts, reads, hands lines to the session, and sends its replies, at once or
 * after --delay-ms. Signals arrive through a descriptor, delays and flushes through one timer. */
#include "fakesmtp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* In place of a slot. */
static const uint32_t LISTENER = UINT32_MAX, SIGNALS = UINT32_MAX - 1, TIMER = UINT32_MAX - 2;
enum { SLOW_TICK_US = 5000, SLOW_BYTES = 512, SLOW_WINDOW = 4096 };

/* The replies to what arrived together. All have the same delay, so they fall due in order. */
struct flight {
    uint32_t slot, generation;
    size_t bytes;
    int64_t due_us;
};

struct stats stats;

static int epoll_fd, listen_fd, signal_fd, timer_fd;
static bool stalled, ended;
static struct conn **conns; /* by slot; a closed one keeps its memory for the next */
static uint32_t n_conns, *free_slots, n_free;
static struct flight *flights; /* a ring */
static size_t flights_size, flights_head, n_flights;
static int64_t slow_tick_us;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "fakesmtp: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *grow(void *old, size_t count, size_t size)
{
    void *bigger = reallocarray(old, count, size);
    if (!bigger) die("memory");
    return bigger;
}

int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void set_stalled(bool now)
{
    stalled = now;
    printf("reading=%s\n", stalled ? "no" : "yes");
    fflush(stdout);
}

/* What it counts is in the record by then. */
static void print_stats(void)
{
    static const char *const NAMES[VIOLATIONS] = {
        "before_greeting", "nested_mail",   "bad_sequence", "pipelining",     "not_last",
        "bare_lf",         "bare_cr",       "long_line",    "long_command",   "unknown_command",
        "bad_argument",    "unstuffed_dot", "eight_bit",    "body_to_nobody",
    };
    uint64_t sum = 0;
    record_flush();
    for (int i = 0; i < VIOLATIONS; i++) sum += stats.violations[i];
#define COUNT(name) printf("\"" #name "\":%llu,", (unsigned long long)stats.name)
    printf("{");
    COUNT(accepted);
    COUNT(connections);
    COUNT(open);
    COUNT(max_open);
    COUNT(refused);
    COUNT(deferred);
    COUNT(dropped);
    COUNT(dropped_accepted);
    COUNT(stalled);
    COUNT(stalled_accepted);
    COUNT(duplicates);
    COUNT(bytes);
    COUNT(max_pipeline);
#undef COUNT
    printf("\"violations\":%llu,\"violation_kinds\":{", (unsigned long long)sum);
    const char *comma = "";
    for (int i = 0; i < VIOLATIONS; i++) {
        if (!stats.violations[i]) continue;
        printf("%s\"%s\":%llu", comma, NAMES[i], (unsigned long long)stats.violations[i]);
        comma = ",";
    }
    printf("}}\n");
    fflush(stdout);
}

/* ---- connections */

static void watch(int fd, uint32_t events, uint32_t what)
{
    struct epoll_event event = {events, {.u32 = what}};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void conn_close(struct conn *c)
{
    close(c->fd);
    c->fd = -1;
    c->generation++;
    stats.open--;
    free_slots[n_free++] = c->slot;
}

static struct conn *conn_new(int fd)
{
    if (!n_free) {
        uint32_t count = n_conns ? n_conns * 2 : 64;
        conns = grow(conns, count, sizeof *conns);
        free_slots = grow(free_slots, count, sizeof *free_slots);
        for (uint32_t slot = count; slot-- > n_conns;) {
            conns[slot] = NULL;
            free_slots[n_free++] = slot;
        }
        n_conns = count;
    }
    uint32_t slot = free_slots[--n_free];
    struct conn *c = conns[slot] ? conns[slot] : grow(NULL, 1, sizeof *c);
    uint32_t generation = conns[slot] ? c->generation : 0;
    memset(c, 0, offsetof(struct conn, id));
    c->fd = fd;
    c->slot = slot;
    c->generation = generation;
    c->number = ++stats.connections;
    if (++stats.open > stats.max_open) stats.max_open = stats.open;
    c->interest = EPOLLIN;
    conns[slot] = c;
    watch(fd, EPOLLIN, slot);
    return c;
}

static void set_interest(struct conn *c)
{
    uint32_t want = c->due ? EPOLLOUT : 0;
    if (c->phase == PHASE_STALLED)
        want |= EPOLLRDHUP;
    else if (c->phase != PHASE_DROP && c->in_len < IN_SIZE &&
             !(options.slow_body && c->phase == PHASE_BODY))
        want |= EPOLLIN;
    if (want == c->interest) return;
    struct epoll_event event = {want, {.u32 = c->slot}};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
    c->interest = want;
}

/* ---- replies on their way out */

static void arm_timer(void)
{
    if (!n_flights) return;
    int64_t at = flights[flights_head].due_us;
    struct itimerspec when = {.it_value = {at / 1000000, at % 1000000 * 1000}};
    if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL)) die("timerfd_settime");
}

static void flight_push(struct conn *c, size_t bytes)
{
    if (n_flights == flights_size) {
        size_t size = flights_size ? flights_size * 2 : 1024;
        struct flight *bigger = grow(NULL, size, sizeof *bigger);
        for (size_t i = 0; i < n_flights; i++)
            bigger[i] = flights[(flights_head + i) % flights_size];
        free(flights);
        flights = bigger;
        flights_size = size;
        flights_head = 0;
    }
    flights[(flights_head + n_flights++) % flights_size] =
        (struct flight){c->slot, c->generation, bytes, now_us() + options.delay_ms * 1000};
    c->flights++;
    if (n_flights == 1) arm_timer();
}

/* False where the connection is gone. */
static bool send_due(struct conn *c)
{
    while (c->due) {
        ssize_t n = send(c->fd, c->out + c->out_pos, c->due, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) {
            conn_close(c);
            return false;
        }
        c->out_pos += (size_t)n;
        c->due -= (size_t)n;
    }
    if (c->out_pos == c->out_len) c->out_pos = c->out_len = 0;
    if (c->out_len || c->flights) return true;
    if (c->phase == PHASE_GREETING) c->phase = PHASE_COMMAND;
    if (c->phase == PHASE_LINGER && !c->shut) {
        /* Closing while the client's words lie unread would reset the connection, and our last
         * reply might be lost; the client is to close first. */
        shutdown(c->fd, SHUT_WR);
        c->shut = true;
    }
    if (c->phase == PHASE_DROP) {
        conn_close(c);
        return false;
    }
    return true;
}

static void end_flight(struct conn *c, size_t bytes)
{
    if ((uint64_t)c->flight_replies > stats.max_pipeline)
        stats.max_pipeline = (uint64_t)c->flight_replies;
    c->flight_replies = 0;
    if (!options.delay_ms)
        c->due += bytes;
    else if (bytes || (c->phase == PHASE_DROP && !c->flights))
        flight_push(c, bytes); /* an empty one delays the drop; earlier ones do so as well */
}

/* ---- what comes in */

static bool takes_lines(const struct conn *c)
{
    return c->phase <= PHASE_BODY && c->out_len + OUT_RESERVE <= OUT_SIZE;
}

static void take_lines(struct conn *c)
{
    while (takes_lines(c)) {
        char *line = c->in + c->in_pos;
        size_t left = c->in_len - c->in_pos;
        char *end = left ? memchr(line, '\n', left) : NULL;
        if (!end) {
            if (left < IN_SIZE) break;
            session_overlong(c);
            c->in_pos = c->in_len;
            break;
        }
        size_t len = (size_t)(end + 1 - line);
        c->in_pos += len;
        session_line(c, line, len);
    }
    memmove(c->in, c->in + c->in_pos, c->in_len - c->in_pos);
    c->in_len -= c->in_pos;
    c->in_pos = 0;
}

/* Takes the lines at hand, answers, and goes on while the answers' lack of room was what stopped
 * it. */
static void advance(struct conn *c)
{
    for (bool again = true; again;) {
        memmove(c->out, c->out + c->out_pos, c->out_len - c->out_pos);
        c->out_len -= c->out_pos;
        c->out_pos = 0;
        size_t before = c->out_len;
        take_lines(c);
        again = c->in_len && c->phase <= PHASE_BODY && !takes_lines(c);
        end_flight(c, c->out_len - before);
        if (!send_due(c)) return;
        again = again && takes_lines(c);
    }
    set_interest(c);
}

static void on_readable(struct conn *c)
{
    size_t room = IN_SIZE - c->in_len;
    if (options.slow_body && c->phase == PHASE_BODY && room > SLOW_BYTES) room = SLOW_BYTES;
    ssize_t n = recv(c->fd, c->in + c->in_len, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        conn_close(c);
        return;
    }
    if (c->phase == PHASE_LINGER) return; /* read, and not listened to */
    c->in_len += (size_t)n;
    advance(c);
}

static void on_event(struct conn *c, uint32_t events)
{
    if (events & EPOLLIN) {
        on_readable(c);
    } else if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
        conn_close(c);
    } else if (events & EPOLLOUT) {
        if (send_due(c)) advance(c);
    }
}

static void on_connection(void)
{
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (fd < 0 && errno == EAGAIN) return;
        if (fd < 0) die("accept");
        int early = 0, on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct conn *c = conn_new(fd);
        if (ioctl(fd, FIONREAD, &early) == 0 && early) {
            violation(V_BEFORE_GREETING);
            c->phase = PHASE_COMMAND; /* so that it is not counted again */
        }
        if (options.max_connections && stats.open > (uint64_t)options.max_connections)
            session_refuse(c);
        else
            session_greet(c);
        end_flight(c, c->out_len);
        if (send_due(c)) set_interest(c);
    }
}

static void on_timer(void)
{
    uint64_t times;
    if (read(timer_fd, &times, sizeof times) < 0 && errno != EAGAIN) die("timer");
    for (int64_t now = now_us(); n_flights && flights[flights_head].due_us <= now;) {
        struct flight f = flights[flights_head];
        flights_head = (flights_head + 1) % flights_size;
        n_flights--;
        struct conn *c = conns[f.slot];
        if (c->generation != f.generation) continue;
        c->flights--;
        c->due += f.bytes;
        if (send_due(c)) advance(c);
    }
    arm_timer();
}

static void on_signal(void)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGUSR1) {
        print_stats();
    } else if (info.ssi_signo == SIGUSR2) {
        set_stalled(!stalled);
    } else {
        ended = true;
    }
}

static void slow_tick(int64_t now)
{
    if (now - slow_tick_us < SLOW_TICK_US) return;
    slow_tick_us = now;
    for (uint32_t i = 0; i < n_conns; i++)
        if (conns[i] && conns[i]->fd >= 0 && conns[i]->phase == PHASE_BODY) on_readable(conns[i]);
}

static int wait_ms(void)
{
    int64_t due = record_due(now_us());
    if (options.slow_body && (due < 0 || due > SLOW_TICK_US)) due = SLOW_TICK_US;
    return due < 0 ? -1 : (int)((due + 999) / 1000);
}

static void turn(void)
{
    enum { BATCH = 256 };
    struct epoll_event events[BATCH];
    int n = epoll_wait(epoll_fd, events, BATCH, wait_ms());
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; i++) {
        uint32_t what = events[i].data.u32;
        if (what == LISTENER)
            on_connection();
        else if (what == SIGNALS)
            on_signal();
        else if (what == TIMER)
            on_timer();
        else if (conns[what]->fd >= 0)
            on_event(conns[what], events[i].events);
    }
    int64_t now = now_us();
    if (options.slow_body) slow_tick(now);
    if (record_due(now) == 0) record_flush();
    if (options.stall_after && stats.accepted >= options.stall_after) {
        options.stall_after = 0; /* only once */
        set_stalled(true);
    }
}

/* ---- start */

static void open_listener(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, window = SLOW_WINDOW;
    socklen_t size = sizeof at;
    at.sin_port = htons((uint16_t)options.port);
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listen_fd < 0) die("socket");
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (options.slow_body) setsockopt(listen_fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    if (bind(listen_fd, (struct sockaddr *)&at, sizeof at)) die("bind");
    if (listen(listen_fd, 4096)) die("listen");
    if (getsockname(listen_fd, (struct sockaddr *)&at, &size)) die("getsockname");
    watch(listen_fd, EPOLLIN, LISTENER);
    printf("port=%d\n", ntohs(at.sin_port));
    fflush(stdout);
}

static void open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signal_fd < 0) die("signalfd");
    watch(signal_fd, EPOLLIN, SIGNALS);
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    options_read(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (epoll_fd < 0 || timer_fd < 0) die("epoll, timerfd");
    watch(timer_fd, EPOLLIN, TIMER);
    open_signals();
    if (options.record) record_open(options.record);
    open_listener();
    while (!ended) {
        if (stalled) {
            record_flush();
            poll(&(struct pollfd){signal_fd, POLLIN, 0}, 1, -1);
            on_signal();
        } else {
            turn();
        }
    }
    print_stats();
    return 0;
}
