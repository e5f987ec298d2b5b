/* LD_PRELOAD library: for the sender's thread the monotonic clocks run 200 times as fast. libcurl
 * measures the ages of connections by them; we, by CLOCK_BOOTTIME, notice nothing. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { TIMES = 200 };

static bool is_sender(void)
{
    static __thread bool found;
    char name[16] = "";
    if (!found) found = prctl(PR_GET_NAME, name) == 0 && strcmp(name, "sender") == 0;
    return found;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    long rc = syscall(SYS_clock_gettime, clock, at);
    if (rc || (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_RAW) || !is_sender())
        return (int)rc;
    int64_t fast = at->tv_nsec * (int64_t)TIMES;
    at->tv_sec = at->tv_sec * TIMES + fast / 1000000000;
    at->tv_nsec = fast % 1000000000;
    return 0;
}
