/* Publishing one run whose lock is held. */
#ifndef MAILFLOCK_PRODUCER_PUBLISH_H
#define MAILFLOCK_PRODUCER_PUBLISH_H

#include <stdint.h>

#include "common/audience.h"
#include "common/enrich.h"
#include "producer/publisher.h"
#include "producer/run_row.h"

/* All pointers are borrowed. */
struct publish {
    struct db *control;
    struct audience *audience;
    struct enrich *enrich; /* NULL where the campaign asks no service */
    struct publisher *publisher;
    struct run_row *row;
    uint32_t chunk_size;
    struct err unreadable; /* a planned chunk's; none at the beginning */
};

/* publish_run: first what is planned, then the audience from the last chunk on, then publishing
 * becomes done. Success with row->control RUN_CANCELLED: stopped because of that. On an error the
 * run stays open; a planned chunk that cannot be read again is one, when all else is published.
 * ERR_STATE for a wish to stop, once what was published is confirmed. */
struct err publish_run(struct publish *p) MUST_CHECK;

#endif
