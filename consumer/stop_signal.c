/* SIGTERM and SIGINT as the end, or as something to poll. */
#include "consumer/stop_signal.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void end_at_once(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

void stop_signal_ends(void)
{
    signal(SIGTERM, end_at_once);
    signal(SIGINT, end_at_once);
}

int stop_signal_watch(void)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    return signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
}
