/* A ring under a mutex with an eventfd: the waker writes only when the queue was empty, so a busy
 * queue costs no system call per note. */
#include "consumer/queue.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/err.h"

struct queue {
    pthread_mutex_t mutex;
    struct note *ring;
    size_t capacity, head, count;
    int fd;
};

struct queue *queue_new(size_t capacity)
{
    struct queue *q = mem_alloc(sizeof *q);
    pthread_mutex_init(&q->mutex, NULL);
    q->ring = mem_alloc(capacity * sizeof *q->ring);
    q->capacity = capacity;
    q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (q->fd < 0) {
        perror("eventfd");
        abort();
    }
    return q;
}

void queue_free(struct queue *q)
{
    if (!q) return;
    close(q->fd);
    pthread_mutex_destroy(&q->mutex);
    free(q->ring);
    free(q);
}

int queue_fd(const struct queue *q)
{
    return q->fd;
}

void queue_push(struct queue *q, struct note note)
{
    pthread_mutex_lock(&q->mutex);
    if (q->count == q->capacity) {
        fprintf(stderr, "level=fatal mod=queue msg=\"queue full\" capacity=%zu kind=%d\n",
                q->capacity, note.kind);
        abort();
    }
    size_t at = q->head + q->count;
    q->ring[at < q->capacity ? at : at - q->capacity] = note;
    bool was_empty = q->count++ == 0;
    pthread_mutex_unlock(&q->mutex);
    uint64_t one = 1;
    if (was_empty && write(q->fd, &one, sizeof one) < 0) return; /* already readable */
}

size_t queue_pop(struct queue *q, struct note *out, size_t max)
{
    uint64_t woken;
    pthread_mutex_lock(&q->mutex);
    size_t n = q->count < max ? q->count : max;
    for (size_t i = 0; i < n; i++) {
        out[i] = q->ring[q->head];
        q->head = q->head + 1 == q->capacity ? 0 : q->head + 1;
    }
    q->count -= n;
    /* Drained: the next push writes again. Read inside the lock, so that no wake-up is lost; also
     * when nothing was there: a push writes after its note, which may have been taken before. */
    if (q->count == 0 && read(q->fd, &woken, sizeof woken) < 0) woken = 0;
    if (q->count == 0) q->head = 0;
    pthread_mutex_unlock(&q->mutex);
    return n;
}

void queue_wait(struct queue *q, int timeout_ms)
{
    struct pollfd p = {.fd = q->fd, .events = POLLIN};
    poll(&p, 1, timeout_ms);
}
