/* Names of workers that settings do not give. Two workers must not share one. */
#include "consumer/worker_name.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HOST_SIZE = 256 }; /* Linux allows 64 characters, POSIX 255 */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("._-", c);
}

/* FNV-1a, folded. */
static uint32_t hash(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return (uint32_t)(h ^ h >> 32);
}

void worker_name_make(char name[WORKER_NAME_SIZE], const char *host, long pid)
{
    char process[24];
    size_t len = strlen(host), plain = 0;
    size_t room = WORKER_NAME_SIZE - 1 - (size_t)snprintf(process, sizeof process, "-%ld", pid);
    while (plain < len && is_plain(host[plain])) plain++;
    if (plain == len && len <= room) {
        snprintf(name, WORKER_NAME_SIZE, "%s%s", host, process);
        return;
    }
    size_t tail = room - (8 + 1);
    if (tail > len) tail = len;
    snprintf(name, WORKER_NAME_SIZE, "%08" PRIx32 "-%s%s", hash(host), host + len - tail, process);
    for (char *p = name; *p; p++)
        if (!is_plain(*p)) *p = '-';
}

void worker_name_choose(char name[WORKER_NAME_SIZE], const char *configured)
{
    char host[HOST_SIZE];
    if (*configured) {
        snprintf(name, WORKER_NAME_SIZE, "%s", configured);
        return;
    }
    if (gethostname(host, sizeof host) || !*host) snprintf(host, sizeof host, "worker");
    host[sizeof host - 1] = '\0';
    worker_name_make(name, host, (long)getpid());
}
