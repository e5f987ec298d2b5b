/* A flag, and the handler that raises it. */
#include "producer/stop.h"

#include <signal.h>
#include <stddef.h>

#include "common/signals.h"

static volatile sig_atomic_t requested;

static void request(int sig)
{
    (void)sig;
    requested = 1;
}

void stop_listen(void)
{
    sigset_t stop;
    struct sigaction action = {.sa_handler = request};
    signals_to_stop(&stop);
    sigemptyset(&action.sa_mask);
    for (int n = 1; n < SIGRTMIN; n++) {
        if (sigismember(&stop, n) != 1) continue;
        action.sa_flags = SA_RESTART | (n == SIGINT ? (int)SA_RESETHAND : 0);
        sigaction(n, &action, NULL);
    }
    signals_ignore_rest();
}

bool stop_requested(void)
{
    return requested != 0;
}
