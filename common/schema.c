/* The numbered migrations. An applied one is never edited: a change is a new number. */
#include "common/schema.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "common/db_lock.h"

/* One row a run: one occurrence of a campaign. content is the snapshot of common/content.h. */
static const char RUN_TABLE[] =
    "CREATE TABLE run ("
    " id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
    " campaign VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,"
    " scheduled_at DATETIME NOT NULL,"
    " publishing ENUM('open','done') NOT NULL DEFAULT 'open',"
    " control ENUM('go','paused','cancelled') NOT NULL DEFAULT 'go',"
    " content MEDIUMTEXT NOT NULL,"
    " created_at DATETIME(6) NOT NULL,"
    " published_at DATETIME(6) NULL,"
    " completed_at DATETIME(6) NULL,"
    " UNIQUE KEY run_occurrence (campaign, scheduled_at)"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/* One row a chunk: the unit of account. token NULL = nobody holds it. next_due = when its message
 * should have been taken up at the latest (PROTOCOL P6). */
static const char CHUNK_TABLE[] =
    "CREATE TABLE chunk ("
    " run_id BIGINT UNSIGNED NOT NULL,"
    " chunk_no INT UNSIGNED NOT NULL,"
    " first_id VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,"
    " last_id VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,"
    " recipients INT UNSIGNED NOT NULL,"
    " digest BIGINT UNSIGNED NULL,"
    " state ENUM('planned','queued','done','stuck') NOT NULL DEFAULT 'planned',"
    " attempt SMALLINT UNSIGNED NOT NULL DEFAULT 1,"
    " token BIGINT UNSIGNED NULL,"
    " owner VARCHAR(64) NULL,"
    " lease_until DATETIME(6) NULL,"
    " seq INT UNSIGNED NOT NULL DEFAULT 0,"
    " started INT UNSIGNED NOT NULL DEFAULT 0,"
    " claims SMALLINT UNSIGNED NOT NULL DEFAULT 0,"
    " next_due DATETIME(6) NULL,"
    " sent INT UNSIGNED NOT NULL DEFAULT 0,"
    " failed INT UNSIGNED NOT NULL DEFAULT 0,"
    " deferred INT UNSIGNED NOT NULL DEFAULT 0,"
    " suppressed INT UNSIGNED NOT NULL DEFAULT 0,"
    " skipped INT UNSIGNED NOT NULL DEFAULT 0,"
    " unknown INT UNSIGNED NOT NULL DEFAULT 0,"
    " PRIMARY KEY (run_id, chunk_no)"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/* One row a position with an outcome. No other unique key: concurrent multi-row inserts deadlock
 * on secondary ones. */
static const char DELIVERY_TABLE[] =
    "CREATE TABLE delivery ("
    " run_id BIGINT UNSIGNED NOT NULL,"
    " chunk_no INT UNSIGNED NOT NULL,"
    " position INT UNSIGNED NOT NULL,"
    " recipient_id VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,"
    " email VARCHAR(320) NOT NULL,"
    " status ENUM('sent','failed','deferred','suppressed','skipped','unknown') NOT NULL,"
    " attempt SMALLINT UNSIGNED NOT NULL,"
    " maybe TINYINT UNSIGNED NOT NULL DEFAULT 0,"
    " code SMALLINT UNSIGNED NOT NULL DEFAULT 0,"
    " enhanced VARCHAR(12) CHARACTER SET ascii NOT NULL DEFAULT '',"
    " detail VARCHAR(255) NOT NULL DEFAULT '',"
    " message_id VARCHAR(160) CHARACTER SET ascii NOT NULL DEFAULT '',"
    " worker VARCHAR(64) NOT NULL DEFAULT '',"
    " at DATETIME(6) NOT NULL,"
    " PRIMARY KEY (run_id, chunk_no, position)"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

static const char SUPPRESSION_TABLE[] = "CREATE TABLE suppression ("
                                        " email VARCHAR(320) NOT NULL PRIMARY KEY,"
                                        " reason VARCHAR(255) NOT NULL DEFAULT '',"
                                        " source VARCHAR(64) NOT NULL DEFAULT '',"
                                        " at DATETIME(6) NOT NULL"
                                        ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/* Addresses are compared byte by byte, as common/address.h: address_fold writes them: the usual
 * collations make one of josé and jose. The CHECK is for those who insert by hand. */
static const char SUPPRESSION_FOLD[] = "UPDATE suppression SET email = LOWER(email)";
static const char SUPPRESSION_EXACT[] =
    "ALTER TABLE suppression"
    " MODIFY email VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,"
    " ADD CONSTRAINT suppression_in_lower_case CHECK (email NOT REGEXP '[A-Z]')";

/* A third word: an occurrence that was not begun in time, and never will be. Its content is empty.
 */
static const char RUN_MISSED[] =
    "ALTER TABLE run MODIFY publishing ENUM('open','done','missed') NOT NULL DEFAULT 'open'";

/* One row a campaign: up to when `due` has dealt with its schedule, which digest tells from another
 * one. */
static const char SCHEDULE_TABLE[] =
    "CREATE TABLE schedule ("
    " campaign VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,"
    " digest BIGINT UNSIGNED NOT NULL,"
    " settled_until DATETIME NOT NULL"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/* One row a contact of a service, as it was last heard of. deleted: its service said so, and json
 * is NULL. Ids are bytes: a collation would ignore blanks at their ends. */
static const char CONTACT_CACHE_TABLE[] =
    "CREATE TABLE contact_cache ("
    " cache VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,"
    " id VARBINARY(64) NOT NULL,"
    " version BIGINT UNSIGNED NOT NULL DEFAULT 0,"
    " deleted TINYINT UNSIGNED NOT NULL DEFAULT 0,"
    " json MEDIUMTEXT NULL,"
    " stored_at DATETIME(6) NOT NULL,"
    " PRIMARY KEY (cache, id), KEY contact_cache_age (stored_at)"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/* One row a contact service, microseconds since 1970: when it may be called next, and until when it
 * has asked not to be called at all. */
static const char SERVICE_PACE_TABLE[] =
    "CREATE TABLE service_pace ("
    " origin VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,"
    " next_us BIGINT NOT NULL DEFAULT 0,"
    " held_us BIGINT NOT NULL DEFAULT 0"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/* One row a run of which messages were parked (PROTOCOL O2): when the last one was. */
static const char PARKED_TABLE[] = "CREATE TABLE parked ("
                                   " run_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,"
                                   " at DATETIME(6) NOT NULL"
                                   ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/* Where sql creates a table: it is called name, and columns are some by which it is known. */
struct migration {
    int number;
    const char *name, *sql, *columns;
};

static const struct migration MIGRATIONS[] = {
    {1, "run", RUN_TABLE, "campaign, scheduled_at, publishing, control, content"},
    {2, "chunk", CHUNK_TABLE, "run_id, chunk_no, first_id, last_id, digest, token, seq"},
    {3, "delivery", DELIVERY_TABLE, "run_id, chunk_no, position, recipient_id, maybe, enhanced"},
    {4, "suppression", SUPPRESSION_TABLE, "email, reason, source, at"},
    {5, "suppression_fold", SUPPRESSION_FOLD, NULL},
    {6, "suppression_exact", SUPPRESSION_EXACT, NULL},
    {7, "run_missed", RUN_MISSED, NULL},
    {8, "schedule", SCHEDULE_TABLE, "campaign, digest, settled_until"},
    {9, "contact_cache", CONTACT_CACHE_TABLE, "cache, id, version, deleted, json, stored_at"},
    {10, "service_pace", SERVICE_PACE_TABLE, "origin, next_us, held_us"},
    {11, "parked", PARKED_TABLE, "run_id, at"},
};
enum { N_MIGRATIONS = sizeof MIGRATIONS / sizeof MIGRATIONS[0] };

static struct err read_number(struct db *db, int *number)
{
    struct db_result *r;
    *number = 0;
    TRY(db_queryf(db, &r, "SELECT COALESCE(MAX(number), 0) FROM schema_migration"));
    if (db_next(r)) *number = (int)db_i64(r, 0);
    db_result_free(r);
    return err_none();
}

/* Errors of a statement whose work is done already, of both servers. */
static bool is_there_already(const struct err *e)
{
    switch (e->code == ERR_DB ? e->native : 0) {
    case 1050: /* table */
    case 1060: /* column */
    case 1061: /* key */
    case 1826: /* constraint, MariaDB */
    case 3822: /* constraint, MySQL */
        return true;
    default:
        return false;
    }
}

/* A table of that name may be somebody else's, and later migrations would change it. */
static struct err check_ours(struct db *db, const struct migration *m)
{
    struct db_result *r;
    if (!m->columns) return err_none();
    struct err e = db_queryf(db, &r, "SELECT %s FROM %s LIMIT 0", m->columns, m->name);
    if (e.code && db_failure_of(&e) == DB_FAILURE_STATEMENT)
        return err_wrap(e, "the database has a table '%s' that is not Mailflock's", m->name);
    if (!e.code) db_result_free(r);
    return e;
}

/* The servers commit a change of a table at once: an init that ended between it and its number
 * leaves it to be found by the next one. */
static struct err apply(struct db *db, const struct migration *m)
{
    struct err e = db_exec_text(db, m->sql, NULL);
    if (e.code && !is_there_already(&e)) return e;
    if (e.code) TRY(check_ours(db, m));
    return db_execf(db, NULL, "INSERT INTO schema_migration VALUES (%d, '%s', UTC_TIMESTAMP(6))",
                    m->number, m->name);
}

static struct err apply_missing(struct db *db, int *applied)
{
    int have;
    TRY(db_exec_text(db,
                     "CREATE TABLE IF NOT EXISTS schema_migration ("
                     " number INT NOT NULL PRIMARY KEY, name VARCHAR(64) NOT NULL,"
                     " applied_at DATETIME(6) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
                     NULL));
    TRY(read_number(db, &have));
    for (int i = 0; i < N_MIGRATIONS; i++) {
        if (MIGRATIONS[i].number <= have) continue;
        TRY(apply(db, &MIGRATIONS[i]));
        ++*applied;
    }
    return err_none();
}

struct err schema_migrate(struct db *db, int *applied)
{
    bool locked = false;
    *applied = 0;
    TRY(db_lock(db, "init", 0, 60, &locked));
    if (!locked)
        return err_make(ERR_STATE, 0, "another 'mailflock init' is at work on this database");
    struct err e = apply_missing(db, applied);
    struct err unlocked = db_unlock(db, "init", 0);
    return e.code ? e : unlocked;
}

struct err schema_check(struct db *db)
{
    int have, want = MIGRATIONS[N_MIGRATIONS - 1].number;
    struct err e = read_number(db, &have);
    if (e.code && db_failure_of(&e) == DB_FAILURE_STATEMENT)
        return err_make(ERR_STATE, 0, "the database has no Mailflock tables: run 'mailflock init'");
    if (e.code) return e;
    if (have == want) return err_none();
    return err_make(ERR_STATE, 0, "the database has schema %d, this program needs %d: %s", have,
                    want, have < want ? "run 'mailflock init'" : "use the newer programs");
}

bool schema_has_table(const char *name)
{
    static const char create[] = "CREATE TABLE ";
    size_t len = strlen(name), skip = sizeof create - 1;
    for (int i = 0; i < N_MIGRATIONS; i++) {
        const char *sql = MIGRATIONS[i].sql;
        if (strncmp(sql, create, skip) == 0 && strncasecmp(sql + skip, name, len) == 0 &&
            sql[skip + len] == ' ')
            return true;
    }
    return strcasecmp(name, "schema_migration") == 0;
}
