/* Without a reserve the relays' connections take every descriptor, and a database connection that
 * is lost cannot be opened again. */
#include "consumer/file_limit.h"

#include <dirent.h>
#include <stdint.h>
#include <sys/resource.h>

#include "common/log.h"

enum { OPEN_UNKNOWN = 10 };

/* What is open now: also what came with the program. */
static size_t count_open(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return OPEN_UNKNOWN;
    while (readdir(dir)) n++;
    closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

static size_t connections_wanted(const struct settings *settings)
{
    const struct settings_transport *transports = settings->transports.items;
    size_t wanted = 0;
    for (size_t i = 0; i < settings->transports.count; i++)
        wanted += (size_t)transports[i].connections;
    return wanted;
}

static size_t reserve(const struct settings *settings, size_t open)
{
    return open + FILE_LIMIT_RESERVE + (*settings->worker.listen ? FILE_LIMIT_METRICS : 0) +
           FILE_LIMIT_TRANSPORT * settings->transports.count;
}

size_t file_limit_needed(const struct settings *settings, size_t open)
{
    return reserve(settings, open) + FILE_LIMIT_CONNECTION * connections_wanted(settings);
}

int file_limit_share(int connections, size_t count, size_t room, size_t wanted)
{
    if (room >= wanted) return connections;
    return 1 + (int)((size_t)(connections - 1) * (room - count) / (wanted - count));
}

/* How many may be open afterwards. */
static size_t raise_limit(size_t needed)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return needed;
    rlim_t before = limit.rlim_cur;
    if (before == RLIM_INFINITY || before >= needed) return needed;
    limit.rlim_cur = needed < limit.rlim_max ? needed : limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) ? (size_t)before : (size_t)limit.rlim_cur;
}

static void lower(struct settings *settings, size_t room, size_t allowed, size_t needed)
{
    struct settings_transport *transports = settings->transports.items;
    size_t wanted = connections_wanted(settings), count = settings->transports.count;
    for (size_t i = 0; i < count; i++) {
        struct settings_transport *t = &transports[i];
        int share = file_limit_share(t->connections, count, room, wanted);
        log_warn("consumer",
                 "msg=\"too few open files allowed: fewer connections are used\" transport=%s "
                 "connections=%d configured=%d allowed=%zu needed=%zu",
                 t->name, share, t->connections, allowed, needed);
        t->connections = share;
    }
}

struct err file_limit_apply(struct settings *settings)
{
    size_t open = count_open(), needed = file_limit_needed(settings, open);
    size_t allowed = raise_limit(needed), kept = reserve(settings, open);
    if (allowed >= needed) return err_none();
    size_t room = allowed > kept ? (allowed - kept) / FILE_LIMIT_CONNECTION : 0;
    if (room < settings->transports.count)
        return err_make(ERR_CONFIG, 0,
                        "%zu open files are allowed, but %zu are needed for one connection to each "
                        "relay: raise the limit (ulimit -n, LimitNOFILE)",
                        allowed, kept + FILE_LIMIT_CONNECTION * settings->transports.count);
    lower(settings, room, allowed, needed);
    return err_none();
}
