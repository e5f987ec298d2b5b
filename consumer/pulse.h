/* Whether the worker's threads go on. Each says so at every turn of its loop, and between steps of
 * a turn that may take long. One that says nothing for longer than it may ever wait is stuck: it
 * will not come back by itself. What waits for a database or a broker that is away goes on. */
#ifndef MAILFLOCK_PULSE_H
#define MAILFLOCK_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/settings.h"

enum pulse_thread { PULSE_BROKER, PULSE_LEDGER, PULSE_SENDER, PULSE_THREADS };

/* pulse_start: how long each may be silent: worker.stuck_after, and beyond it the longest that one
 * call of its libraries may take. Before the threads begin. */
void pulse_start(const struct settings *settings);

/* pulse_beat: the thread goes on; cheap. pulse_end: it has ended, as it should. */
void pulse_beat(enum pulse_thread thread);
void pulse_end(enum pulse_thread thread);

/* pulse_silent_us: since it said so last; 0 where it has not begun, or has ended. */
int64_t pulse_silent_us(enum pulse_thread thread);
bool pulse_is_stuck(enum pulse_thread thread);
const char *pulse_name(enum pulse_thread thread);

/* pulse_report: logs a thread that is stuck, once, and one that goes on after all. Broker thread;
 * its own silence nobody logs. */
void pulse_report(void);

#endif
