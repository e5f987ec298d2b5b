/* Two lists. A signal in neither is SIGKILL, stops or continues the process, is ignored by default,
 * or tells of a fault (SIGSEGV, SIGABRT, SIGSYS and so on), which has to end it. */
#include "common/signals.h"

#include <stdbool.h>
#include <stddef.h>

static const int STOP[] = {SIGTERM, SIGINT, SIGQUIT, SIGPWR, SIGXCPU};
static const int REST[] = {SIGUSR1, SIGUSR2, SIGALRM,   SIGVTALRM, SIGPROF,
                           SIGPIPE, SIGIO,   SIGSTKFLT, SIGXFSZ};

/* nohup says so by ignoring it for the program that it starts. */
static bool hangup_is_wanted(void)
{
    static bool asked, wanted;
    struct sigaction now;
    if (asked) return wanted;
    asked = true;
    return wanted = sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler != SIG_IGN;
}

void signals_to_stop(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof STOP / sizeof *STOP; i++) sigaddset(set, STOP[i]);
    if (hangup_is_wanted()) sigaddset(set, SIGHUP);
}

void signals_ignore_rest(void)
{
    for (size_t i = 0; i < sizeof REST / sizeof *REST; i++) signal(REST[i], SIG_IGN);
    for (int n = SIGRTMIN; n <= SIGRTMAX; n++) signal(n, SIG_IGN);
}
