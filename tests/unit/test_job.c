/* Jobs: which state may follow which, who owns what, and the name of a mail. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "consumer/job.h"
#include "consumer/run.h"

enum { STATES = JOB_OVER + 1 };

/* What a process says on stderr that makes this change, and whether it was aborted. */
static bool aborts(enum job_state from, enum job_state to, char *said, size_t size)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct job job = {.state = from, .message = {.run = 12, .chunk = 7}};
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        job_set_state(&job, to);
        _exit(job.state == to ? 0 : 1);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], said, size - 1);
    said[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void only_the_changes_of_the_table_are_possible(void **state)
{
    (void)state;
    /* From each state, in the order of enum job_state; x: may follow. */
    static const char *const rows[STATES] = {
        [JOB_RECEIVED] = "-x-----x",  [JOB_SENDING] = "--xx-xx-", [JOB_RELEASING] = "---x-xx-",
        [JOB_DEFERRING] = "----x-x-", [JOB_CLOSING] = "-----xx-", [JOB_ENDED] = "-------x",
        [JOB_ABANDONED] = "-------x", [JOB_OVER] = "--------",
    };
    for (int from = 0; from < STATES; from++) {
        for (int to = 0; to < STATES; to++) {
            char said[300], want[100];
            bool dead = aborts((enum job_state)from, (enum job_state)to, said, sizeof said);
            if (dead != (rows[from][to] == '-')) fail_msg("from %d to %d", from, to);
            if (!dead) continue;
            snprintf(want, sizeof want, "from=%d to=%d", from, to);
            assert_non_null(strstr(said, want));
            assert_non_null(strstr(said, "run=12 chunk=7"));
        }
    }
}

static struct run make_run(int64_t scheduled_s, const char *domain)
{
    /* Enough references that jobs do not free it. */
    return (struct run){.scheduled_s = scheduled_s, .domain = domain, .refs = 1000};
}

/* A job of one recipient. */
static struct job *make_job(struct run *run, uint64_t run_id, uint32_t chunk, uint32_t attempt,
                            uint32_t position)
{
    struct chunk_message m = {.run = run_id, .chunk = chunk, .attempt = attempt, .n = 1};
    arena_init(&m.arena, 10000);
    m.recipients = arena_alloc(&m.arena, sizeof *m.recipients);
    m.recipients[0].position = position;
    struct job *job = job_new(&m, "body", 4);
    job->run = run;
    return job;
}

static void a_mail_has_the_same_name_in_every_attempt(void **state)
{
    (void)state;
    struct run run = make_run(1767323045, "m.example");
    char first[JOB_MAIL_ID_SIZE], again[JOB_MAIL_ID_SIZE];
    struct job *job = make_job(&run, 12, 7, 1, 499);
    assert_string_equal(job_mail_id(first, job, 0), "t87v6t.c.7.dv@m.example");
    job_free(job);
    job = make_job(&run, 12, 7, 3, 499); /* a retry of the same position */
    assert_string_equal(job_mail_id(again, job, 0), first);
    job_free(job);
}

static void mails_of_other_runs_chunks_and_positions_have_other_names(void **state)
{
    (void)state;
    static const struct {
        int64_t scheduled_s;
        uint64_t run;
        uint32_t chunk, position;
    } rows[] = {
        {1767323045, 12, 7, 3},  {1767323046, 12, 7, 3}, {1767323045, 13, 7, 3},
        {1767323045, 12, 8, 3},  {1767323045, 12, 7, 4}, {1767323045, 12, 73, 0},
        {1767323045, 127, 3, 0}, {1767323045, 1, 27, 3}, {0, 0, 0, 0},
    };
    enum { N = sizeof rows / sizeof *rows };
    char ids[N][JOB_MAIL_ID_SIZE];
    for (size_t i = 0; i < N; i++) {
        struct run run = make_run(rows[i].scheduled_s, "m.example");
        struct job *job = make_job(&run, rows[i].run, rows[i].chunk, 1, rows[i].position);
        job_mail_id(ids[i], job, 0);
        job_free(job);
        for (size_t k = 0; k < i; k++)
            if (strcmp(ids[i], ids[k]) == 0) fail_msg("rows %zu and %zu: %s", i, k, ids[i]);
    }
    assert_string_equal(ids[N - 1], "0.0.0.0@m.example");
}

static void the_longest_name_fits(void **state)
{
    (void)state;
    char domain[400], id[JOB_MAIL_ID_SIZE];
    memset(domain, 'd', sizeof domain);
    domain[sizeof domain - 1] = '\0';
    struct run run = make_run(-1, domain);
    struct job *job = make_job(&run, UINT64_MAX, UINT32_MAX, 1, UINT32_MAX);
    memset(id, 'x', sizeof id);
    job_mail_id(id, job, 0);
    assert_true(memchr(id, '\0', sizeof id) != NULL);
    assert_non_null(strstr(id, "3w5e11264sgsf.3w5e11264sgsf.1z141z3.1z141z3@ddd"));
    domain[253] = '\0'; /* the longest there is: nothing of it is cut */
    job_mail_id(id, job, 0);
    assert_string_equal(strchr(id, '@') + 1, domain);
    job_free(job);
}

static void a_job_takes_the_message_and_copies_the_body(void **state)
{
    (void)state;
    struct chunk_message m;
    char body[] = "{\"v\":1,\"run\":1,\"chunk\":2,\"attempt\":3,\"digest\":\"0000000000000000\","
                  "\"recipients\":[{\"p\":5,\"id\":\"8\",\"to\":\"a@b.c\",\"vars\":{}}]}";
    struct err e = chunk_decode(body, strlen(body), &m);
    assert_int_equal(e.code, ERR_NONE);
    struct job *job = job_new(&m, body, strlen(body));
    assert_null(m.recipients);
    assert_int_equal(m.n, 0);
    chunk_fini(&m); /* harmless: it is the job's now */
    body[0] = 'x';
    assert_int_equal(((char *)job->body)[0], '{');
    assert_int_equal(job->body_len, strlen(body));
    assert_int_equal(job->message.chunk, 2);
    assert_string_equal(job->message.recipients[0].to, "a@b.c");
    assert_int_equal(job->state, JOB_RECEIVED);
    job_free(job);
    job_free(NULL);
}

static void a_prepared_job_has_no_outcome_and_finds_those_it_gets(void **state)
{
    (void)state;
    struct chunk_message m = {.n = 1000};
    struct job *job = job_new(&m, "b", 1);
    job_prepare(job);
    for (int s = OUTCOME_SENT; s <= OUTCOME_OPEN; s++)
        assert_false(job_has(job, (enum outcome_status)s));
    assert_true(job_has(job, OUTCOME_NONE));
    job->outcomes[999].status = OUTCOME_DEFERRED; /* the last one */
    job->outcomes[0].status = OUTCOME_OPEN;
    assert_true(job_has(job, OUTCOME_DEFERRED));
    assert_true(job_has(job, OUTCOME_OPEN));
    assert_false(job_has(job, OUTCOME_SENT));
    job->arrived[999] = job->work[999] = 1;
    job->old_status[999] = job->losses[999] = 1;
    job->message.n = 0;
    assert_false(job_has(job, OUTCOME_NONE));
    job_free(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_changes_of_the_table_are_possible),
        cmocka_unit_test(a_mail_has_the_same_name_in_every_attempt),
        cmocka_unit_test(mails_of_other_runs_chunks_and_positions_have_other_names),
        cmocka_unit_test(the_longest_name_fits),
        cmocka_unit_test(a_job_takes_the_message_and_copies_the_body),
        cmocka_unit_test(a_prepared_job_has_no_outcome_and_finds_those_it_gets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
