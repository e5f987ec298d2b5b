/* Fault points. */
#include "common/fault.h"

#ifdef MAILFLOCK_FAULTS
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fault_point(const char *name)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static long reached;
    const char *wanted = getenv("MAILFLOCK_FAULT"), *hang = getenv("MAILFLOCK_FAULT_HANG");
    while (hang && strcmp(hang, name) == 0) pause();
    size_t len = strlen(name);
    if (!wanted || strncmp(wanted, name, len) || (wanted[len] && wanted[len] != ':')) return;
    long at = wanted[len] ? strtol(wanted + len + 1, NULL, 10) : 1;
    pthread_mutex_lock(&mutex);
    if (++reached == at) kill(getpid(), SIGKILL);
    pthread_mutex_unlock(&mutex);
}
#else
typedef int mailflock_fault_unused; /* ISO C wants something in a translation unit */
#endif
