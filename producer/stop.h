/* The wish to stop, told by a signal of common/signals.h. */
#ifndef MAILFLOCK_PRODUCER_STOP_H
#define MAILFLOCK_PRODUCER_STOP_H

#include <stdbool.h>

/* stop_listen: from now on such a signal is only noted, however often it comes. Only a second
 * SIGINT, typed by somebody who does not want to wait, ends the program at once. Other signals that
 * would end it are ignored. */
void stop_listen(void);

bool stop_requested(void);

#endif
