/* Forks and waits. Signals are passed on by looking for the wish to stop while waiting. */
#include "producer/children.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "producer/stop.h"

enum { LOOK_MS = 10 };

static void pass_on_stop(struct children *c)
{
    if (c->told_to_stop || !stop_requested()) return;
    c->told_to_stop = true;
    for (unsigned i = 0; i < c->n; i++) kill(c->pids[i], SIGTERM);
}

/* Takes out those that have ended. */
static void reap(struct children *c)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < c->n; i++) {
        int status = 0;
        pid_t ended = waitpid(c->pids[i], &status, WNOHANG);
        if (ended == 0)
            c->pids[kept++] = c->pids[i];
        else if (ended < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            c->failed++;
    }
    c->n = kept;
}

static void wait_for_room(struct children *c, unsigned most)
{
    for (reap(c); c->n > most; reap(c)) {
        pass_on_stop(c);
        clock_sleep_ms(LOOK_MS);
    }
}

/* Memory is freed by its end alone: what lies in it is a copy of the parent's. */
static _Noreturn void be_child(pid_t parent, bool (*work)(const void *arg), const void *arg)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) raise(SIGTERM); /* it was gone before */
    _exit(work(arg) ? 0 : 1);
}

struct err children_start(struct children *c, bool (*work)(const void *arg), const void *arg)
{
    wait_for_room(c, CHILDREN_MAX - 1);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) be_child(parent, work, arg);
    if (pid < 0)
        return err_make(ERR_IO, errno, "cannot start another process: %s", strerror(errno));
    c->pids[c->n++] = pid;
    return err_none();
}

unsigned children_wait(struct children *c)
{
    wait_for_room(c, 0);
    return c->failed;
}
