/* Fault points: places where a test stops the program dead, as a crash would, or one of its
 * threads, as a lock that is never released would. Compiled in only with -DMAILFLOCK_FAULTS=ON;
 * otherwise they are nothing. */
#ifndef MAILFLOCK_FAULT_H
#define MAILFLOCK_FAULT_H

#ifdef MAILFLOCK_FAULTS
/* fault_point: SIGKILLs this process when the environment's MAILFLOCK_FAULT is "name" or "name:N"
 * and this is the Nth time (from 1) that the point is reached. With MAILFLOCK_FAULT_HANG "name" the
 * thread that reaches it goes no further. Any thread. */
void fault_point(const char *name);
#define FAULT_POINT(name) fault_point(name)
#else
#define FAULT_POINT(name) ((void)0)
#endif

#endif
