/* The database's clock, carried on by CLOCK_BOOTTIME between two answers. */
#include "common/db_clock.h"

#include "common/clock.h"

enum { EXACT_US = 50000 };

static int64_t offset_of(struct db_clock *c)
{
    return atomic_load_explicit(&c->offset_us, memory_order_relaxed);
}

void db_clock_init(struct db_clock *c)
{
    atomic_init(&c->offset_us, clock_utc_us() - clock_boot_us());
}

int64_t db_clock_now_us(struct db_clock *c)
{
    return clock_boot_us() + offset_of(c);
}

void db_clock_observe(struct db_clock *c, int64_t before_us, int64_t read_us, int64_t after_us)
{
    int64_t known = offset_of(c), least = read_us - after_us, most = read_us - before_us;
    bool agrees = known >= least && known <= most;
    if (agrees && most - least > EXACT_US) return;
    atomic_store_explicit(&c->offset_us, least + (most - least) / 2, memory_order_relaxed);
}

struct err db_clock_read(struct db_clock *c, struct db *db)
{
    struct db_result *r;
    int64_t before_us = clock_boot_us();
    TRY(db_queryf(db, &r, "SELECT CAST(UNIX_TIMESTAMP(UTC_TIMESTAMP(6)) * 1000000 AS SIGNED)"));
    int64_t after_us = clock_boot_us();
    int64_t read_us = db_next(r) ? db_i64(r, 0) : 0;
    db_result_free(r);
    if (read_us <= 0) return err_make(ERR_DB, 0, "the database does not say what time it is");
    db_clock_observe(c, before_us, read_us, after_us);
    return err_none();
}

int64_t db_clock_ahead_us(struct db_clock *c)
{
    return clock_utc_us() - db_clock_now_us(c);
}
