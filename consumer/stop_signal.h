/* How the programs of this folder are asked to end: by the signals of common/signals.h. */
#ifndef MAILFLOCK_STOP_SIGNAL_H
#define MAILFLOCK_STOP_SIGNAL_H

/* stop_signal_ends: from now on such a signal ends the process at once, with 0: for as long as
 * nothing is in hand. As the first process of a container it would not by itself. Other signals
 * that would end the process are ignored from now on. */
void stop_signal_ends(void);

/* stop_signal_watch: from now on the signals end nothing by themselves, but can be read from the
 * signalfd that is returned, non-blocking, the caller's to close. Call it when there is something
 * to end in order, and before any thread is started: threads inherit what is blocked. A second
 * signal changes nothing about the end that the first one began. */
int stop_signal_watch(void);

#endif
