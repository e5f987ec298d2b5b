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
    if (!gmtime_r(&t, &tm) || !strftime(out, CLOCK_ISO_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm))
        out[0] = '\0';
    return out;
}

/* Whether text begins as shape says: d is a digit, T is T or a blank, all else is itself. sscanf
 * alone would take signs and blanks for digits. */
static bool has_shape(const char *text, const char *shape)
{
    for (; *shape; shape++, text++) {
        bool fits = *shape == 'd'   ? *text >= '0' && *text <= '9'
                    : *shape == 'T' ? *text == 'T' || *text == ' '
                                    : *text == *shape;
        if (!fits) return false;
    }
    return true;
}

static bool parse_zone(const char *zone, int *offset_s)
{
    int hours, minutes;
    *offset_s = 0;
    if (!*zone || strcmp(zone, "Z") == 0) return true;
    if ((*zone != '+' && *zone != '-') || !has_shape(zone + 1, "dd:dd") || zone[6]) return false;
    if (sscanf(zone + 1, "%2d:%2d", &hours, &minutes) != 2 || hours > 14 || minutes > 59)
        return false;
    *offset_s = (hours * 3600 + minutes * 60) * (*zone == '-' ? -1 : 1);
    return true;
}

bool clock_iso_parse(const char *text, int64_t *utc_s)
{
    struct tm tm = {0};
    int offset_s;
    if (!has_shape(text, "dddd-dd-ddTdd:dd") ||
        sscanf(text, "%4d-%2d-%2d%*c%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min) != 5)
        return false;
    text += strlen("2026-01-02T03:04");
    if (has_shape(text, ":dd")) {
        if (sscanf(text, ":%2d", &tm.tm_sec) != 1) return false;
        text += strlen(":05");
    }
    if (!parse_zone(text, &offset_s)) return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm want = tm;
    time_t t = timegm(&tm); /* carries 30 February on to March: then it was no date */
    if (tm.tm_mon != want.tm_mon || tm.tm_mday != want.tm_mday || tm.tm_hour != want.tm_hour ||
        tm.tm_min != want.tm_min || tm.tm_sec != want.tm_sec)
        return false;
    *utc_s = (int64_t)t - offset_s;
    return true;
}

int clock_backoff_ms(int tries, int base_ms, int max_ms)
{
    int64_t span = tries > 20 ? max_ms : (int64_t)base_ms << (tries < 0 ? 1 : tries + 1);
    if (span > max_ms) span = max_ms;
    uint32_t r = 0;
    if (getrandom(&r, sizeof r, 0) != sizeof r) r = (uint32_t)clock_boot_us();
    return base_ms >= span ? base_ms : base_ms + (int)(r % (uint32_t)(span - base_ms + 1));
}
