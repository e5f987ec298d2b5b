/* Two switches. The limit alone does not do: it is not looked at where kernel.core_pattern is a
 * program. PR_SET_DUMPABLE alone would do; the limit tells others what to expect. */
#include "common/core_dump.h"

#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static struct rlimit before;
static bool lowered;

void core_dump_forbid(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (getrlimit(RLIMIT_CORE, &before)) return;
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    lowered = setrlimit(RLIMIT_CORE, &none) == 0;
}

void core_dump_allow(void)
{
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (lowered) setrlimit(RLIMIT_CORE, &before);
}
