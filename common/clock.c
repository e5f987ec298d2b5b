/* Clocks and times. */
#include "common/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int64_t now_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_boot_us(void)
{
    return now_us(CLOCK_BOOTTIME);
}

int64_t clock_utc_us(void)
{
    return now_us(CLOCK_REALTIME);
}

void clock_sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) continue;
}

const char *clock_iso_format(int64_t utc_s, char out[CLOCK_ISO_SIZE])
{
    time_t t = (time_t)utc_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    if (!strftime(out, CLOCK_ISO_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm)) out[0] = '\0';
    return out;
}

static bool parse_zone(const char *zone, int *offset_s)
{
    int hours, minutes, used = 0;
    *offset_s = 0;
    if (!*zone || strcmp(zone, "Z") == 0) return true;
    if (sscanf(zone + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5) return false;
    if ((*zone != '+' && *zone != '-') || zone[6] || hours > 14 || minutes > 59) return false;
    *offset_s = (hours * 3600 + minutes * 60) * (*zone == '-' ? -1 : 1);
    return true;
}

bool clock_iso_parse(const char *text, int64_t *utc_s)
{
    struct tm tm = {0};
    char sep;
    int used = 0, more = 0, offset_s;
    for (const char *p = text; *p; p++)
        if (!strchr("0123456789-+:TZ ", *p)) return false;
    if (sscanf(text, "%4d-%2d-%2d%c%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &sep,
               &tm.tm_hour, &tm.tm_min, &used) != 6 ||
        used != 16 || (sep != 'T' && sep != ' '))
        return false;
    if (text[used] == ':') {
        if (sscanf(text + used, ":%2d%n", &tm.tm_sec, &more) != 1 || more != 3) return false;
        used += more;
    }
    if (!parse_zone(text + used, &offset_s)) return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm want = tm;
    time_t t = timegm(&tm);
    if (t == -1 || tm.tm_mon != want.tm_mon || tm.tm_mday != want.tm_mday ||
        tm.tm_hour != want.tm_hour || tm.tm_min != want.tm_min || tm.tm_sec != want.tm_sec)
        return false;
    *utc_s = (int64_t)t - offset_s;
    return true;
}

int clock_backoff_ms(int tries, int base_ms, int max_ms)
{
    int64_t span = tries > 20 ? max_ms : (int64_t)base_ms << (tries < 0 ? 0 : tries);
    if (span > max_ms) span = max_ms;
    uint32_t r = 0;
    if (getrandom(&r, sizeof r, 0) != sizeof r) r = (uint32_t)clock_boot_us();
    return base_ms >= span ? base_ms : base_ms + (int)(r % (uint32_t)(span - base_ms + 1));
}
