/* SIGTERM and SIGINT as something to poll. */
#include "consumer/stop_signal.h"

#include <signal.h>
#include <sys/signalfd.h>

int stop_signal_watch(void)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    return signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
}
