/* The signals that ask for the end: as the end itself, or as something to poll. */
#include "consumer/stop_signal.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/signals.h"

static void end_at_once(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

void stop_signal_ends(void)
{
    sigset_t stop;
    struct sigaction action = {.sa_handler = end_at_once};
    signals_to_stop(&stop);
    sigemptyset(&action.sa_mask);
    for (int n = 1; n < SIGRTMIN; n++)
        if (sigismember(&stop, n) == 1) sigaction(n, &action, NULL);
    signals_ignore_rest();
}

int stop_signal_watch(void)
{
    sigset_t stop;
    signals_to_stop(&stop);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    return signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
}
