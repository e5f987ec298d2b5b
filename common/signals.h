/* Which signals ask a program to stop, and which must not end it. */
#ifndef MAILFLOCK_SIGNALS_H
#define MAILFLOCK_SIGNALS_H

#include <signal.h>

/* signals_to_stop: the signals by which an operator, a terminal or a supervisor asks for the end:
 * SIGTERM, SIGINT, SIGQUIT, SIGPWR (containers), SIGXCPU (a limit of CPU time), and SIGHUP unless
 * it was ignored at the start, as nohup does. Call it before the program changes how it takes
 * SIGHUP; later calls give the same answer. One thread. */
void signals_to_stop(sigset_t *set);

/* signals_ignore_rest: all other signals that would end a process by default and do not tell of a
 * fault in it are ignored from now on: SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE and their like. */
void signals_ignore_rest(void);

#endif
