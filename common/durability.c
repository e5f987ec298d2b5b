/* The settings on which the protocol's promises rest: read from the server, and judged. It changes
 * nothing, and stops nobody: who runs the database may have good reasons. */
#include "common/durability.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"

static bool is_on(const char *value)
{
    return strcmp(value, "ON") == 0 || strcmp(value, "1") == 0;
}

static int number(const char *value)
{
    return (int)strtol(value, NULL, 10);
}

static int greater(int a, int b)
{
    return a > b ? a : b;
}

/* The rest of rpl_semi_sync_source_REST or rpl_semi_sync_master_REST; NULL for other names. MySQL
 * has the first since 8.0.26, MariaDB the second. */
static const char *semi_sync_name(struct durability *d, const char *name)
{
    static const char SOURCE[] = "rpl_semi_sync_source_", MASTER[] = "rpl_semi_sync_master_";
    if (strncasecmp(name, SOURCE, sizeof SOURCE - 1) == 0) return name + sizeof SOURCE - 1;
    if (strncasecmp(name, MASTER, sizeof MASTER - 1) != 0) return NULL;
    d->old_words = true;
    return name + sizeof MASTER - 1;
}

static void take_semi_sync(struct durability *d, const char *name, const char *value)
{
    if (strcmp(name, "enabled") == 0) d->semi_sync = is_on(value);
    if (strcmp(name, "wait_point") == 0) d->after_sync = strcmp(value, "AFTER_SYNC") == 0;
    if (strcmp(name, "status") == 0) d->waiting = is_on(value);
    if (strcmp(name, "clients") == 0) d->replicas = greater(d->replicas, number(value));
}

/* A variable or a status of the server. */
static void take(struct durability *d, const char *name, const char *value)
{
    const char *rest = semi_sync_name(d, name);
    if (rest) take_semi_sync(d, rest, value);
    if (strcmp(name, "innodb_flush_log_at_trx_commit") == 0) d->flush_log = number(value);
    if (strcmp(name, "innodb_doublewrite") == 0)
        d->torn_pages = strcmp(value, "OFF") == 0 || strcmp(value, "DETECT_ONLY") == 0;
    if (strcmp(name, "log_bin") == 0) d->log_bin = is_on(value);
    if (strcmp(name, "sync_binlog") == 0) d->sync_binlog = number(value);
    if (strcmp(name, "Slaves_connected") == 0) d->replicas = greater(d->replicas, number(value));
}

static struct err take_all(struct db *db, struct durability *d, const char *query)
{
    struct db_result *r;
    TRY(db_queryf(db, &r, "%s", query));
    while (db_next(r)) take(d, db_text(r, 0), db_text(r, 1));
    db_result_free(r);
    return err_none();
}

/* Where no status says how many replicas there are, as in MySQL without semi-synchronous
 * replication, each has a thread that sends it the log. */
static struct err count_senders(struct db *db, struct durability *d)
{
    struct db_result *r;
    TRY(db_queryf(db, &r,
                  "SELECT COUNT(*) FROM information_schema.processlist"
                  " WHERE command LIKE 'Binlog Dump%%'"));
    if (db_next(r)) d->replicas = greater(d->replicas, (int)db_i64(r, 0));
    db_result_free(r);
    return err_none();
}

struct err durability_read(struct db *db, struct durability *d)
{
    *d = (struct durability){0};
    TRY(take_all(db, d,
                 "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit',"
                 " 'innodb_doublewrite', 'log_bin', 'sync_binlog', 'rpl_semi_sync_source_enabled',"
                 " 'rpl_semi_sync_source_wait_point', 'rpl_semi_sync_master_enabled',"
                 " 'rpl_semi_sync_master_wait_point')"));
    TRY(take_all(db, d,
                 "SHOW GLOBAL STATUS WHERE Variable_name IN ('Slaves_connected',"
                 " 'Rpl_semi_sync_source_status', 'Rpl_semi_sync_source_clients',"
                 " 'Rpl_semi_sync_master_status', 'Rpl_semi_sync_master_clients')"));
    return count_senders(db, d);
}

/* 3, of MariaDB alone, is as safe as 1. */
static bool flushes(const struct durability *d)
{
    return d->flush_log == 1 || d->flush_log == 3;
}

static void judge_server(const struct durability *d, struct durability_problem *out, int *n)
{
    if (!flushes(d))
        snprintf(out[(*n)++].text, sizeof out->text,
                 "innodb_flush_log_at_trx_commit is %d: a power cut takes the last second's commits"
                 " away, and their mails are sent twice; set it to 1",
                 d->flush_log);
    if (d->log_bin && d->sync_binlog != 1)
        snprintf(out[(*n)++].text, sizeof out->text,
                 "sync_binlog is %d, with log_bin on: a power cut takes commits away that the"
                 " binary log has lost, and their mails are sent twice; set it to 1",
                 d->sync_binlog);
    if (d->torn_pages)
        snprintf(out[(*n)++].text, sizeof out->text,
                 "innodb_doublewrite does not mend pages that a power cut left half written; set it"
                 " to ON, unless the file system writes whole pages as ZFS does");
}

static void judge_failover(const struct durability *d, struct durability_problem *out, int *n)
{
    const char *word = d->old_words ? "master" : "source";
    if (!d->semi_sync && d->replicas)
        snprintf(out[(*n)++].text, sizeof out->text,
                 "rpl_semi_sync_%s_enabled is off, with %d replica%s connected: after a failover"
                 " mails are sent twice; turn it on, unless none of them ever takes over",
                 word, d->replicas, d->replicas == 1 ? "" : "s");
    if (!d->semi_sync) return;
    if (!d->after_sync)
        snprintf(out[(*n)++].text, sizeof out->text,
                 "rpl_semi_sync_%s_wait_point is not AFTER_SYNC: commits are seen before a replica"
                 " has them, and a failover takes them back; set it to AFTER_SYNC",
                 word);
    if (!d->waiting)
        snprintf(out[(*n)++].text, sizeof out->text,
                 "Rpl_semi_sync_%s_status is OFF: no replica answers, and commits wait for none;"
                 " after a failover now mails are sent twice; look after the replicas",
                 word);
}

int durability_judge(const struct durability *d,
                     struct durability_problem problems[DURABILITY_PROBLEMS_MAX])
{
    int n = 0;
    judge_server(d, problems, &n);
    judge_failover(d, problems, &n);
    return n;
}

void durability_warn(struct db *db)
{
    struct durability d;
    struct durability_problem problems[DURABILITY_PROBLEMS_MAX];
    struct err e = durability_read(db, &d);
    if (e.code) {
        log_warn("durability",
                 "msg=\"not known whether the database keeps its commits\" err=\"%s\"", e.text);
        return;
    }
    int n = durability_judge(&d, problems);
    for (int i = 0; i < n; i++) log_warn("durability", "msg=\"%s\"", problems[i].text);
}
