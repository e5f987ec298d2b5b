/* Three clocks in METRICS, each set by one thread and read by all. */
#include "consumer/pulse.h"

#include "common/clock.h"
#include "common/log.h"
#include "consumer/metrics.h"

static const char *const NAMES[] = {"broker", "ledger", "sender"};

void pulse_start(const struct settings *settings)
{
    const int64_t stuck_ms = settings->worker.stuck_after_ms;
    const int64_t connect_ms = settings->database.connect_timeout_ms;
    const int64_t lease_ms = settings->worker.lease_ms; /* a statement may take that long */
    const int64_t beyond_ms[PULSE_THREADS] = {
        [PULSE_BROKER] = settings->broker.connect_timeout_ms,
        /* Oracle's client waits three times before it gives a server up. */
        [PULSE_LEDGER] = 3 * (lease_ms > connect_ms ? lease_ms : connect_ms),
    };
    for (int i = 0; i < PULSE_THREADS; i++) {
        METRICS_SET(stuck_us[i], (stuck_ms + beyond_ms[i]) * 1000);
        pulse_end((enum pulse_thread)i);
    }
}

void pulse_beat(enum pulse_thread thread)
{
    METRICS_SET(beat_us[thread], clock_boot_us());
}

void pulse_end(enum pulse_thread thread)
{
    METRICS_SET(beat_us[thread], 0);
}

int64_t pulse_silent_us(enum pulse_thread thread)
{
    int64_t beat_us = METRICS_GET(beat_us[thread]);
    int64_t silent_us = beat_us ? clock_boot_us() - beat_us : 0;
    return silent_us > 0 ? silent_us : 0;
}

bool pulse_is_stuck(enum pulse_thread thread)
{
    return pulse_silent_us(thread) > METRICS_GET(stuck_us[thread]);
}

const char *pulse_name(enum pulse_thread thread)
{
    return NAMES[thread];
}

void pulse_report(void)
{
    static bool known[PULSE_THREADS];
    for (int i = 0; i < PULSE_THREADS; i++) {
        bool stuck = pulse_is_stuck((enum pulse_thread)i);
        if (stuck && !known[i])
            log_error("consumer", "msg=\"a thread is stuck\" thread=%s silent_s=%lld", NAMES[i],
                      (long long)(pulse_silent_us((enum pulse_thread)i) / 1000000));
        else if (!stuck && known[i])
            log_warn("consumer", "msg=\"a stuck thread goes on\" thread=%s", NAMES[i]);
        known[i] = stuck;
    }
}
