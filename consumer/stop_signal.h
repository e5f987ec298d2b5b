/* How the programs of this folder are asked to end: SIGTERM or SIGINT. */
#ifndef MAILFLOCK_STOP_SIGNAL_H
#define MAILFLOCK_STOP_SIGNAL_H

/* stop_signal_ends: from now on a signal ends the process at once, with 0: for as long as nothing
 * is in hand. As the first process of a container it would not by itself. */
void stop_signal_ends(void);

/* stop_signal_watch: from now on the signals end nothing by themselves, but can be read from the
 * signalfd that is returned, non-blocking, the caller's to close. Call it when there is something
 * to end in order, and before any thread is started: threads inherit what is blocked. */
int stop_signal_watch(void);

#endif
