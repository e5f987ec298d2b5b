/* What time it is by the database. The calendars of hosts differ, and days and hours are judged by
 * one clock: the server's UTC_TIMESTAMP(6). A program learns the offset between that clock and its
 * own CLOCK_BOOTTIME, and adds it to CLOCK_BOOTTIME whenever it needs the time. */
#ifndef MAILFLOCK_DB_CLOCK_H
#define MAILFLOCK_DB_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

/* One thread reads the database's clock (db_clock_read); any thread asks for the time. */
struct db_clock {
    atomic_llong offset_us; /* the database's UTC less CLOCK_BOOTTIME */
};

/* db_clock_init: until the database was asked it is the calendar of this host. */
void db_clock_init(struct db_clock *c);

/* db_clock_now_us: the database's time now, microseconds since 1970, UTC. */
int64_t db_clock_now_us(struct db_clock *c);

/* db_clock_observe: the database said that it is read_us, between two moments of CLOCK_BOOTTIME.
 * The offset becomes that of the middle, unless the one known already agrees with the answer and
 * the answer was slower than 50 ms: then it says less than what is known. Pure. */
void db_clock_observe(struct db_clock *c, int64_t before_us, int64_t read_us, int64_t after_us);

/* db_clock_read: asks the database. ERR_DB as for any statement; the offset is as it was then. */
struct err db_clock_read(struct db_clock *c, struct db *db) MUST_CHECK;

/* db_clock_ahead_us: how far the calendar of this host is ahead of the database's; below 0: behind.
 */
int64_t db_clock_ahead_us(struct db_clock *c);

#endif
