/* Fault points: places where a test stops the program dead, as a crash would. Compiled in only with
 * -DMAILFLOCK_FAULTS=ON; otherwise they are nothing. */
#ifndef MAILFLOCK_FAULT_H
#define MAILFLOCK_FAULT_H

#ifdef MAILFLOCK_FAULTS
/* fault_point: SIGKILLs this process when the environment's MAILFLOCK_FAULT is "name" or "name:N"
 * and this is the Nth time (from 1) that the point is reached. Any thread. */
void fault_point(const char *name);
#define FAULT_POINT(name) fault_point(name)
#else
#define FAULT_POINT(name) ((void)0)
#endif

#endif
