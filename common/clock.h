/* Clocks and times. Leases are judged by the database's clock; these are for deadlines of our own,
 * for waiting, and for ISO 8601 in and out. */
#ifndef MAILFLOCK_CLOCK_H
#define MAILFLOCK_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* clock_boot_us: CLOCK_BOOTTIME; goes on during suspend, so that a lease deadline does too. */
int64_t clock_boot_us(void);
/* clock_utc_us: the calendar of this host, microseconds since 1970. Days and hours of runs are
 * judged by the database's (common/db_clock.h). */
int64_t clock_utc_us(void);

void clock_sleep_ms(int ms);

enum { CLOCK_ISO_SIZE = 21 }; /* "2026-01-02T03:04:05Z" and a NUL */

/* clock_iso_format: utc_s seconds since 1970 into out; returns out. "" past the year 9999. */
const char *clock_iso_format(int64_t utc_s, char out[CLOCK_ISO_SIZE]);

/* clock_iso_parse: 2026-01-02T03:04[:05](Z|+hh:mm|-hh:mm), a space for the T allowed; without a
 * zone it is UTC. False for anything else, impossible dates included. */
bool clock_iso_parse(const char *text, int64_t *utc_s);

/* clock_backoff_ms: full jitter between base and min(max, 2 base << tries); tries counts from 0. */
int clock_backoff_ms(int tries, int base_ms, int max_ms);

#endif
