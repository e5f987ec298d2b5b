/* The sender thread: owns the transports and their sockets; turns jobs into mails and mails into
 * outcomes. */
#ifndef MAILFLOCK_SENDER_H
#define MAILFLOCK_SENDER_H

#include "common/db_clock.h"
#include "common/settings.h"
#include "consumer/queue.h"

struct sender_config {
    const struct settings *settings;
    struct queue *inbox, *to_ledger;
    struct db_clock *clock; /* the ledger's: what time it is for outcomes and mails */
};

/* sender_start: runs until NOTE_STOP. sender_join waits for its end and frees. */
struct sender *sender_start(const struct sender_config *config);
void sender_join(struct sender *s);

#endif
