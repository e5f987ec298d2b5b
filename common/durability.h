/* Whether the database keeps what it has committed, as far as its settings tell. The promises of
 * the delivery protocol presume that it does (docs/protocol.md, "What that presumes"). */
#ifndef MAILFLOCK_DURABILITY_H
#define MAILFLOCK_DURABILITY_H

#include <stdbool.h>

#include "common/db.h"
#include "common/err.h"

/* What a server says of itself; all zero is one that says nothing. */
struct durability {
    int flush_log;   /* innodb_flush_log_at_trx_commit */
    bool torn_pages; /* innodb_doublewrite is off, or only detects them */
    bool log_bin;
    int sync_binlog;
    int replicas;    /* connected now; without the privilege PROCESS not all are seen */
    bool old_words;  /* it says rpl_semi_sync_master_..., not rpl_semi_sync_source_... */
    bool semi_sync;  /* rpl_semi_sync_source_enabled */
    bool after_sync; /* rpl_semi_sync_source_wait_point */
    bool waiting;    /* Rpl_semi_sync_source_status: it has not given up on its replicas */
};

/* durability_read: asks the server. ERR_DB. */
struct err durability_read(struct db *db, struct durability *d) MUST_CHECK;

enum { DURABILITY_PROBLEMS_MAX = 6 };

/* One line each: the setting, its value, what it may cost, and what would be right. */
struct durability_problem {
    char text[256];
};

/* durability_judge: what is wrong with it; returns how many problems, 0 when all is right. Pure. */
int durability_judge(const struct durability *d,
                     struct durability_problem problems[DURABILITY_PROBLEMS_MAX]);

/* durability_warn: logs one warning for each problem of this server, or that it could not be
 * asked. */
void durability_warn(struct db *db);

#endif
