/* Decides when a worker claims the next of its delivered chunks: when it needs more work. If the
 * worker dies, a claimed chunk stays locked for a lease and counts towards poison (PROTOCOL C11).
 * An unclaimed one returns to the queue at once and counts nothing. Pure policy, no statements. */
#include "common/clock.h"
#include "consumer/ledger_internal.h"

const struct settings_transport *ledger_settings_of(const struct ledger *l, const struct job *job)
{
    return settings_find_transport(l->config.settings, job->run->content.transport);
}

static uint32_t unanswered(const struct job *job)
{
    return job->n_expected - job->n_arrived;
}

struct ledger_transport *ledger_transport_of(const struct ledger *l, const struct job *job)
{
    const struct settings_transport *all = l->config.settings->transports.items;
    return &l->transports[ledger_settings_of(l, job) - all];
}

/* Earlier claims made no progress, and this one has made none yet: the chunk may kill this worker,
 * and chunks claimed beside it would count a claim too. The wait for it ends after a lease. There
 * is none while its transport fails: that explains the missing progress. */
static bool is_suspect(const struct ledger *l, const struct job *job)
{
    return job->claims > 1 && job->n_committed == 0 &&
           ledger_transport_of(l, job)->state == HEALTH_UP &&
           clock_boot_us() - job->claimed_us < l->lease_us;
}

bool ledger_may_be_probe(const struct ledger *l, const struct job *job)
{
    const struct settings_transport *all = l->config.settings->transports.items;
    return job->consumer == (int)(ledger_settings_of(l, job) - all);
}

/* A claimed chunk is preferred as the probe; among unclaimed ones, the first that was delivered. */
static bool is_rather_the_probe(const struct ledger *l, const struct job *job, bool before)
{
    if (job->state == JOB_RECEIVED && (!before || !job->run)) return false;
    return ledger_may_be_probe(l, job);
}

bool ledger_is_spare(const struct ledger *l, const struct job *job)
{
    bool before = true;
    if (job->state != JOB_RECEIVED || !job->run || !ledger_settings_of(l, job)) return false;
    if (ledger_transport_of(l, job)->state != HEALTH_DOWN) return false;
    if (!ledger_may_be_probe(l, job)) return true;
    for (int i = 0; i < l->n_jobs; i++) {
        const struct job *other = l->jobs[i];
        if (other == job)
            before = false;
        else if (other->run && ledger_settings_of(l, other) == ledger_settings_of(l, job) &&
                 is_rather_the_probe(l, other, before))
            return true;
    }
    return false;
}

static bool is_hungry(const struct ledger *l, const struct job *next)
{
    const struct settings_transport *transport = ledger_settings_of(l, next);
    uint32_t ahead = 0;
    for (int i = 0; i < l->n_jobs; i++) {
        const struct job *job = l->jobs[i];
        if (job->state != JOB_SENDING) continue;
        if (is_suspect(l, job)) return false;
        if (ledger_settings_of(l, job) == transport) ahead += unanswered(job);
    }
    return ahead < 2 * window_size(&l->window, (uint32_t)transport->connections);
}

uint32_t ledger_room_left(const struct ledger *l, const struct settings_transport *transport)
{
    uint32_t connections = (uint32_t)transport->connections, at_risk = 0;
    uint32_t most = connections * 2 > WINDOW_MAX ? connections * 2 : WINDOW_MAX;
    for (int i = 0; i < l->n_jobs; i++) {
        const struct job *job = l->jobs[i];
        bool counts = job->state == JOB_SENDING || job->state == JOB_RELEASING;
        if (counts && ledger_settings_of(l, job) == transport)
            at_risk += job->n_granted - job->n_answered;
    }
    return at_risk < most ? most - at_risk : 0;
}

bool ledger_wants_claim(const struct ledger *l, const struct job *job)
{
    if (job->state != JOB_RECEIVED) return false;
    return !job->run || !ledger_settings_of(l, job) || l->stop_until_us ||
           ledger_held_too_long(job) || ledger_is_spare(l, job) || is_hungry(l, job);
}

bool ledger_held_too_long(const struct job *job)
{
    return clock_boot_us() - job->received_us > LEDGER_HOLD_S * 1000000LL;
}
