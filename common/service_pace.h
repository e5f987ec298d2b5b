/* The pace of calls to one service over all producers of an installation: table service_pace, by
 * the service's origin (https://host:port). The database's clock decides. */
#ifndef MAILFLOCK_SERVICE_PACE_H
#define MAILFLOCK_SERVICE_PACE_H

#include <stdint.h>

#include "common/db.h"
#include "common/err.h"

enum { SERVICE_ORIGIN_SIZE = 256 };

/* service_pace_origin: the scheme, host and port of a url, in lower case, cut to size; returns out.
 * Pure. */
const char *service_pace_origin(const char *url, char out[SERVICE_ORIGIN_SIZE]);

/* service_pace_reserve: takes the next moment at which the service may be called; the one after it
 * comes delay_us later at the earliest. *wait_us is how long until then. */
struct err service_pace_reserve(struct db *db, const char *origin, int64_t delay_us,
                                int64_t *wait_us) MUST_CHECK;

/* service_pace_hold: nobody may call it for so long. */
struct err service_pace_hold(struct db *db, const char *origin, int64_t wait_us) MUST_CHECK;

/* service_pace_held: *wait_us is how much longer it is held; 0 where it is not. */
struct err service_pace_held(struct db *db, const char *origin, int64_t *wait_us) MUST_CHECK;

#endif
