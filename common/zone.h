/* Time zones by their names in the zone database (tzdata): which way a zone's clocks differ from
 * UTC at which time. Loaded once; from then on pure, and any thread may read. The C library's own
 * zone is a property of the whole process and is left alone.
 *
 * A wall time is what the zone's clocks show, in seconds since they showed 1970-01-01T00:00:00. */
#ifndef MAILFLOCK_ZONE_H
#define MAILFLOCK_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct zone;

/* zone_load: "UTC", or a name in /usr/share/zoneinfo such as Asia/Seoul. *out is owned, freed with
 * zone_free. ERR_CONFIG for a name that is not there, ERR_IO where the database is missing or a
 * file of it cannot be read. Rules that go on for ever are followed to the year 2200. */
struct err zone_load(struct zone **out, const char *name) MUST_CHECK;
void zone_free(struct zone *zone);

/* zone_parse: the same from the bytes of a TZif file (RFC 8536) of version 2 or later; ERR_INPUT
 * says what is wrong with them. */
struct err zone_parse(struct zone **out, const unsigned char *bytes, size_t len) MUST_CHECK;

/* zone_offset: seconds to add to UTC for the wall time at utc_s; positive is east. */
int32_t zone_offset(const struct zone *zone, int64_t utc_s);

/* zone_instant: when the clocks first show wall_s. Where they skip it: the moment they do so.
 * Never falls while wall_s rises. */
int64_t zone_instant(const struct zone *zone, int64_t wall_s);

#endif
