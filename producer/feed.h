/* Between the audience and a contact service: rows go in, and whoever waits for answers keeps an
 * eye on the rest meanwhile. */
#ifndef MAILFLOCK_PRODUCER_FEED_H
#define MAILFLOCK_PRODUCER_FEED_H

#include <stdint.h>

#include "common/audience.h"
#include "common/campaign.h"
#include "common/enrich.h"
#include "producer/publisher.h"

/* feed_open: *out is NULL where the campaign asks no service. Borrows campaign and control, the
 * ledger's connection. The service is waited for until start_within after the scheduled moment. */
struct err feed_open(const struct campaign *campaign, struct db *control, int64_t scheduled_s,
                     struct enrich **out) MUST_CHECK;

/* feed_page: the audience's next page into the stream, or its end. */
struct err feed_page(struct audience *a, struct enrich_stream *stream) MUST_CHECK;

/* feed_await: returns when the stream's next row is there, or none is left. ERR_STATE for a wish to
 * stop, and for a run that was cancelled; p may be NULL. */
struct err feed_await(struct enrich_stream *stream, struct publisher *p) MUST_CHECK;

#endif
