/* Jobs: memory, identity, and the one place where their state changes. */
#include "consumer/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/start.h"
#include "consumer/run.h"

struct job *job_new(struct chunk_message *message, const void *body, size_t body_len)
{
    struct job *job = mem_alloc(sizeof *job);
    job->message = *message;
    *message = (struct chunk_message){0};
    job->body = mem_alloc(body_len);
    memcpy(job->body, body, body_len);
    job->body_len = body_len;
    job->received_us = clock_boot_us();
    return job;
}

void job_prepare(struct job *job)
{
    uint32_t n = job->message.n;
    job->arrived = mem_alloc(n * sizeof *job->arrived);
    job->answered = mem_alloc(n * sizeof *job->answered);
    job->old_status = mem_alloc(n);
    job->work = mem_alloc(n * sizeof *job->work);
    job->outcomes = mem_alloc(n * sizeof *job->outcomes);
    job->losses = mem_alloc(n);
}

void job_free(struct job *job)
{
    if (!job) return;
    run_unref(job->run);
    free(job->arrived);
    free(job->answered);
    free(job->old_status);
    free(job->work);
    free(job->outcomes);
    free(job->losses);
    free(job->body);
    chunk_fini(&job->message);
    free(job);
}

/* Row: from; bit: to. */
static const unsigned ALLOWED[] = {
    [JOB_RECEIVED] = 1u << JOB_SENDING | 1u << JOB_OVER,
    [JOB_SENDING] =
        1u << JOB_RELEASING | 1u << JOB_DEFERRING | 1u << JOB_ENDED | 1u << JOB_ABANDONED,
    [JOB_RELEASING] = 1u << JOB_DEFERRING | 1u << JOB_ENDED | 1u << JOB_ABANDONED,
    [JOB_DEFERRING] = 1u << JOB_CLOSING | 1u << JOB_ABANDONED,
    [JOB_CLOSING] = 1u << JOB_ENDED | 1u << JOB_ABANDONED,
    [JOB_ENDED] = 1u << JOB_OVER,
    [JOB_ABANDONED] = 1u << JOB_OVER,
    [JOB_OVER] = 0,
};

void job_set_state(struct job *job, enum job_state state)
{
    if (!(ALLOWED[job->state] & 1u << state)) {
        fprintf(stderr,
                "level=fatal mod=job run=%" PRIu64 " chunk=%u msg=\"impossible state change\" "
                "from=%d to=%d\n",
                job->message.run, job->message.chunk, job->state, state);
        abort();
    }
    job->state = state;
}

bool job_has(const struct job *job, enum outcome_status status)
{
    for (uint32_t i = 0; i < job->message.n; i++)
        if (job->outcomes[i].status == status) return true;
    return false;
}

const char *job_key(char out[BROKER_KEY_SIZE], const struct job *job)
{
    if (job->run) return start_key(out, job->run->content.lane, job->run->content.transport);
    snprintf(out, BROKER_KEY_SIZE, "%s", job->key);
    return out;
}

static char *append_base36(char *p, uint64_t value)
{
    char digits[16];
    int n = 0;
    do digits[n++] = "0123456789abcdefghijklmnopqrstuvwxyz"[value % 36];
    while (value /= 36);
    while (n) *p++ = digits[--n];
    return p;
}

const char *job_mail_id(char out[JOB_MAIL_ID_SIZE], const struct job *job, uint32_t index)
{
    const uint64_t parts[] = {(uint64_t)job->run->scheduled_s, job->message.run, job->message.chunk,
                              job->message.recipients[index].position};
    char *p = out;
    for (int i = 0; i < 4; i++) {
        p = append_base36(p, parts[i]);
        *p++ = i < 3 ? '.' : '@';
    }
    size_t len = strnlen(job->run->domain, JOB_MAIL_ID_SIZE - 64);
    memcpy(p, job->run->domain, len);
    p[len] = '\0';
    return out;
}
