/* The multi interface on epoll (curl_multi_socket_action). */
#include "consumer/curl_loop.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"

/* One of libcurl's sockets. Never freed before the loop: an event of this epoll round may still
 * point to one that libcurl has just given up. */
struct curl_socket {
    struct watch watch; /* first: events point here */
    struct curl_loop *loop;
    struct curl_socket *next;
    curl_socket_t fd; /* CURL_SOCKET_BAD while unused */
};

struct curl_loop {
    CURLM *multi;
    struct sender *sender;
    void (*on_done)(void *private, CURLcode result);
    struct curl_socket *sockets;
    int64_t due_us; /* of libcurl's timer; 0 = none */
};

static void report_done(struct curl_loop *loop)
{
    int left;
    for (CURLMsg *msg; (msg = curl_multi_info_read(loop->multi, &left));) {
        void *private = NULL;
        if (msg->msg != CURLMSG_DONE) continue;
        CURLcode result = msg->data.result;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
        loop->on_done(private, result);
    }
}

static void on_socket_event(struct watch *watch, uint32_t events)
{
    struct curl_socket *s = (struct curl_socket *)(void *)watch;
    int running, what = 0;
    if (s->fd == CURL_SOCKET_BAD) return;
    if (events & EPOLLIN) what |= CURL_CSELECT_IN;
    if (events & EPOLLOUT) what |= CURL_CSELECT_OUT;
    if (events & (EPOLLERR | EPOLLHUP)) what |= CURL_CSELECT_ERR;
    curl_multi_socket_action(s->loop->multi, s->fd, what, &running);
    report_done(s->loop);
}

static struct curl_socket *socket_for(struct curl_loop *loop, curl_socket_t fd)
{
    struct curl_socket *s = loop->sockets;
    while (s && s->fd != CURL_SOCKET_BAD) s = s->next;
    if (!s) {
        s = mem_alloc(sizeof *s);
        s->watch.on_event = on_socket_event;
        s->loop = loop;
        s->next = loop->sockets;
        loop->sockets = s;
    }
    s->fd = fd;
    curl_multi_assign(loop->multi, fd, s);
    return s;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *assigned)
{
    (void)easy;
    struct curl_loop *loop = user;
    struct curl_socket *s = assigned;
    if (what == CURL_POLL_REMOVE) {
        if (!s) return 0;
        sender_watch(loop->sender, fd, 0, &s->watch);
        s->fd = CURL_SOCKET_BAD;
        return 0;
    }
    if (!s) s = socket_for(loop, fd);
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    sender_watch(loop->sender, fd, events, &s->watch);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *user)
{
    (void)multi;
    struct curl_loop *loop = user;
    loop->due_us = timeout_ms < 0 ? 0 : clock_boot_us() + timeout_ms * 1000;
    return 0;
}

struct curl_loop *curl_loop_new(struct sender *sender,
                                void (*on_done)(void *private, CURLcode result))
{
    struct curl_loop *loop = mem_alloc(sizeof *loop);
    loop->sender = sender;
    loop->on_done = on_done;
    loop->multi = curl_multi_init();
    if (!loop->multi) abort();
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
    return loop;
}

void curl_loop_free(struct curl_loop *loop)
{
    if (!loop) return;
    curl_multi_cleanup(loop->multi);
    while (loop->sockets) {
        struct curl_socket *next = loop->sockets->next;
        free(loop->sockets);
        loop->sockets = next;
    }
    free(loop);
}

void curl_loop_add(struct curl_loop *loop, CURL *easy)
{
    curl_multi_add_handle(loop->multi, easy);
    loop->due_us = clock_boot_us(); /* the first step, with the next tick */
}

void curl_loop_remove(struct curl_loop *loop, CURL *easy)
{
    curl_multi_remove_handle(loop->multi, easy);
    curl_easy_cleanup(easy);
}

void curl_loop_tick(struct curl_loop *loop, int64_t now_us)
{
    int running;
    if (!loop->due_us || now_us < loop->due_us) return;
    loop->due_us = 0;
    curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    report_done(loop);
}
