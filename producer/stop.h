/* The wish to stop, told by SIGINT or SIGTERM. */
#ifndef MAILFLOCK_PRODUCER_STOP_H
#define MAILFLOCK_PRODUCER_STOP_H

#include <stdbool.h>

/* stop_listen: from now on the first of these signals is only noted; a second one ends the
 * program at once. */
void stop_listen(void);

bool stop_requested(void);

#endif
