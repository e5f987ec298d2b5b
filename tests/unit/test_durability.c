/* What is said of a database by its settings: nothing of one that keeps its commits, one problem
 * for each way of losing them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/durability.h"

enum { SEEN_MAX = 4 };

struct row {
    const char *name;
    struct durability d;
    const char *want[SEEN_MAX]; /* how the problems begin, in order */
};

static const struct row ROWS[] = {
    {"a server alone", {.flush_log = 1}, {0}},
    {"a server alone, MariaDB's other safe value", {.flush_log = 3}, {0}},
    {"sync_binlog does not matter without a log", {.flush_log = 1, .sync_binlog = 0}, {0}},
    {"a log that is synced", {.flush_log = 1, .log_bin = true, .sync_binlog = 1}, {0}},
    {"no wait for the disk", {.flush_log = 0}, {"innodb_flush_log_at_trx_commit is 0:"}},
    {"a wait for the kernel", {.flush_log = 2}, {"innodb_flush_log_at_trx_commit is 2:"}},
    {"a log that is never synced", {.flush_log = 1, .log_bin = true}, {"sync_binlog is 0,"}},
    {"a log that is synced now and then",
     {.flush_log = 1, .log_bin = true, .sync_binlog = 100},
     {"sync_binlog is 100,"}},
    {"no doublewrite", {.flush_log = 1, .torn_pages = true}, {"innodb_doublewrite "}},
    {"replicas that are not waited for",
     {.flush_log = 1, .log_bin = true, .sync_binlog = 1, .replicas = 2, .after_sync = true},
     {"rpl_semi_sync_source_enabled is off, with 2 replicas"}},
    {"the same in MariaDB",
     {.flush_log = 1, .log_bin = true, .sync_binlog = 1, .replicas = 1, .old_words = true},
     {"rpl_semi_sync_master_enabled is off, with 1 replica connected"}},
    {"replicas that are waited for",
     {.flush_log = 1,
      .log_bin = true,
      .sync_binlog = 1,
      .replicas = 1,
      .semi_sync = true,
      .after_sync = true,
      .waiting = true},
     {0}},
    {"too late a wait",
     {.flush_log = 1,
      .log_bin = true,
      .sync_binlog = 1,
      .replicas = 1,
      .semi_sync = true,
      .waiting = true,
      .old_words = true},
     {"rpl_semi_sync_master_wait_point is not AFTER_SYNC"}},
    {"a wait that was given up",
     {.flush_log = 1, .log_bin = true, .sync_binlog = 1, .semi_sync = true, .after_sync = true},
     {"Rpl_semi_sync_source_status is OFF"}},
    {"all at once",
     {.flush_log = 2, .log_bin = true, .sync_binlog = 0, .torn_pages = true, .replicas = 1},
     {"innodb_flush_log_at_trx_commit", "sync_binlog", "innodb_doublewrite", "rpl_semi_sync_"}},
};

static void each_way_of_losing_commits_is_one_problem(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const struct row *row = &ROWS[i];
        struct durability_problem problems[DURABILITY_PROBLEMS_MAX];
        int n = durability_judge(&row->d, problems), want = 0;
        while (want < SEEN_MAX && row->want[want]) want++;
        if (n != want) fail_msg("%s: %d problems, want %d", row->name, n, want);
        for (int k = 0; k < n; k++)
            if (strncmp(problems[k].text, row->want[k], strlen(row->want[k])) != 0)
                fail_msg("%s: got '%s'", row->name, problems[k].text);
    }
}

static void a_problem_fits_into_its_text(void **state)
{
    (void)state;
    struct durability d = {.flush_log = -2000000000,
                           .log_bin = true,
                           .sync_binlog = -2000000000,
                           .torn_pages = true,
                           .replicas = 2000000000};
    for (int semi_sync = 0; semi_sync < 2; semi_sync++) {
        struct durability_problem problems[DURABILITY_PROBLEMS_MAX];
        d.semi_sync = semi_sync != 0;
        int n = durability_judge(&d, problems);
        assert_true(n <= DURABILITY_PROBLEMS_MAX);
        for (int k = 0; k < n; k++)
            assert_true(strlen(problems[k].text) + 1 < sizeof problems[k].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_of_losing_commits_is_one_problem),
        cmocka_unit_test(a_problem_fits_into_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
