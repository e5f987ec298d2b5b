/* The ledger's database session: begun, kept alive, and opened anew after a loss (PROTOCOL C5). */
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/log.h"
#include "consumer/ledger_internal.h"
#include "consumer/metrics.h"

enum {
    CLOCK_EVERY_US = 20000000, /* or each third of a lease, where that is shorter */
    CLOCK_DIFFERS_US = 5000000,
    FORMER_ENDS_S = 2, /* how long the end of the session before is awaited */
};

static struct err read_number(struct ledger *l, const char *expression, uint64_t *out)
{
    struct db_result *r;
    TRY(db_queryf(l->db, &r, "SELECT %s", expression));
    *out = db_next(r) ? db_u64(r, 0) : 0;
    db_result_free(r);
    return err_none();
}

/* Where the network lost the connection, the server still has our session, and with it the rows
 * that its transaction has locked. A lock by name says which session that is. */
static struct err end_former(struct ledger *l)
{
    char expression[80];
    uint64_t former;
    snprintf(expression, sizeof expression, "IS_USED_LOCK('%s')", l->session_lock);
    TRY(read_number(l, expression, &former));
    if (!former) return err_none();
    log_info("ledger", "msg=\"the lost session is ended\" session=%" PRIu64, former);
    struct err e = db_execf(l->db, NULL, "KILL %" PRIu64, former);
    if (db_failure_of(&e) == DB_FAILURE_LOST) return e;
    return err_none(); /* it was gone, or its lock waits are: those end by themselves */
}

static struct err begin(struct ledger *l)
{
    char expression[80];
    uint64_t got;
    TRY(end_former(l));
    snprintf(expression, sizeof expression, "GET_LOCK('%s',%d)", l->session_lock, FORMER_ENDS_S);
    TRY(read_number(l, expression, &got));
    return db_clock_read(l->config.clock, l->db);
}

/* Only the lines of the log and the certificates are judged by the host's own calendar. */
static void compare_clocks(const struct ledger *l)
{
    int64_t ahead_us = db_clock_ahead_us(l->config.clock);
    if (ahead_us < CLOCK_DIFFERS_US && ahead_us > -CLOCK_DIFFERS_US) return;
    log_warn("ledger",
             "msg=\"this host's clock is not the database's, which counts\" ahead_s=%" PRId64,
             ahead_us / 1000000);
}

void ledger_session_start(struct ledger *l)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random) random = (uint64_t)clock_boot_us();
    snprintf(l->session_lock, sizeof l->session_lock, "mailflock.worker.%016" PRIx64, random);
    login_init(&l->login, l->config.settings, LOGIN_DATABASE);
    struct err e = begin(l);
    if (!e.code)
        ledger_know_server(l);
    else
        ledger_reconnect(l);
    compare_clocks(l);
}

/* Whether to try again after e; not where the time to stop or the patience with it is over. */
static bool may_try_again(struct ledger *l, const struct err *e)
{
    if (db_failure_of(e) != DB_FAILURE_REFUSED) {
        login_accepted(&l->login);
        return !ledger_is_out_of_time(l);
    }
    l->locked_out = !login_refused(&l->login);
    l->config.db.password = login_password(&l->login);
    if (l->locked_out)
        log_error("ledger", "msg=\"the database refuses the login: this worker ends\" err=\"%s\"",
                  e->text);
    return !l->locked_out && !ledger_is_out_of_time(l);
}

bool ledger_reconnect(struct ledger *l)
{
    METRICS_SET(database_connected, false);
    for (int tries = 0;; tries++) {
        db_close(l->db);
        l->db = NULL;
        struct err e = db_open(&l->db, &l->config.db);
        if (!e.code) e = begin(l);
        if (!e.code) {
            METRICS_SET(database_connected, true);
            login_accepted(&l->login);
            log_info("ledger", "msg=\"database connection is back\"");
            ledger_know_server(l);
            return true;
        }
        db_close(l->db);
        l->db = NULL;
        if (!may_try_again(l, &e)) return false;
        log_warn("ledger", "msg=\"no database\" tries=%d err=\"%s\"", tries + 1, e.text);
        clock_sleep_ms(clock_backoff_ms(tries, 50, 2000));
    }
}

void ledger_keep_alive(struct ledger *l)
{
    int64_t now = clock_boot_us();
    int64_t every_us = l->lease_us / 3 < CLOCK_EVERY_US ? l->lease_us / 3 : CLOCK_EVERY_US;
    if (!l->db || now - l->kept_alive_us < every_us) return;
    l->kept_alive_us = now;
    struct err e = db_clock_read(l->config.clock, l->db);
    if (!e.code) return;
    log_warn("ledger", "msg=\"database connection lost\" err=\"%s\"", e.text);
    ledger_reconnect(l);
}
