/* The calls of one service: sent one after the other as the pace allows, put off while it is down,
 * their answers read into the rows that they were made for, and into the cache. */
#include "common/enrich_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/enrich_policy.h"
#include "common/json_contacts.h"
#include "common/log.h"

enum { SLOT_US = 100 * 1000 }; /* what a short delay makes of a slot, for those who come late */

static const char UNKNOWN[] = "the contact service does not know this id";

static struct err about_service(const struct enrich *e, struct err failed)
{
    return err_wrap(failed, "the contact service %s", e->origin);
}

/* ---- answers */

/* An answer being read, and what of it goes into the cache. */
struct reading {
    struct enrich_call *call;
    unsigned at; /* contacts mostly come as they were asked for */
    struct contact_entry *entries;
    size_t n;
};

static bool has_id(const struct enrich_stream *s, const struct enrich_row *row, const char *id,
                   size_t len)
{
    struct db_cell own = enrich_id(s, row);
    return own.len == len && memcmp(own.text, id, len) == 0;
}

static struct err take_contact(void *user, const struct contact_text *contact)
{
    struct reading *r = user;
    struct enrich_call *call = r->call;
    size_t len = strlen(contact->id);
    for (unsigned i = 0; i < call->n; i++) {
        struct enrich_row *row = call->rows[(r->at + i) % call->n];
        if (!has_id(call->stream, row, contact->id, len)) continue;
        if (!row->open) return err_make(ERR_INPUT, 0, "its id %s is there twice", contact->id);
        enrich_settle_with(call->stream, row, contact->json, contact->json_len);
        r->at = (r->at + i + 1) % call->n;
        struct db_cell id = enrich_id(call->stream, row);
        r->entries[r->n++] = (struct contact_entry){.id = id.text,
                                                    .id_len = id.len,
                                                    .version = contact->version,
                                                    .json = row->json,
                                                    .json_len = row->json_len};
        return err_none();
    }
    return err_make(ERR_INPUT, 0, "nobody asked for its id %s", contact->id);
}

static struct err read_answer(struct enrich *e, struct enrich_call *call, const struct buf *body)
{
    struct reading r = {.call = call, .entries = mem_alloc(call->n * sizeof *r.entries)};
    struct err failed = contacts_read(body->data ? body->data : "", body->len, take_contact, &r);
    if (failed.code)
        failed = about_service(e, failed);
    else if (e->config->cache_ttl_ms)
        failed = contact_cache_store(e->db, e->config->cache, r.entries, r.n, call->asked_at);
    free(r.entries);
    if (failed.code) return failed;
    for (unsigned i = 0; i < call->n; i++) {
        if (!call->rows[i]->open) continue;
        enrich_settle(call->stream, call->rows[i], UNKNOWN);
        e->n_unknown++;
    }
    return err_none();
}

/* ---- calls: sent */

static struct err write_call(struct enrich *e, const struct enrich_call *call)
{
    buf_reset(&e->body);
    contacts_write_start(&e->body);
    for (unsigned i = 0; i < call->n; i++) {
        struct db_cell id = enrich_id(call->stream, call->rows[i]);
        contacts_write_id(&e->body, id.text, id.len);
    }
    contacts_write_end(&e->body);
    return buf_check(&e->body, "a call of the contact service");
}

static struct enrich_call *find_unsent(const struct enrich *e)
{
    struct enrich_call *call = e->calls;
    while (call && call->sent) call = call->next;
    return call;
}

/* Another producer may have been told to wait, and longer than this run does. */
static struct err reserve(struct enrich *e, int64_t now_us)
{
    int64_t wait_us;
    TRY(service_pace_held(e->db, e->origin, &wait_us));
    if (wait_us && now_us + wait_us > enrich_patience_us(&e->config->retry, now_us, e->deadline_us))
        return about_service(e, err_make(ERR_TIMEOUT, 0,
                                         "it asked not to be called for %lld s more, and this run "
                                         "does not wait that long",
                                         (long long)((wait_us + 999999) / 1000000)));
    TRY(service_pace_reserve(e->db, e->origin, e->config->delay_ms * 1000, &wait_us));
    e->reserved = true;
    e->slot_us = clock_boot_us() + wait_us;
    return err_none();
}

/* After the delay a slot is over: the next one may be another producer's. */
static bool has_slot(const struct enrich *e, int64_t now_us)
{
    int64_t lasts_us = e->config->delay_ms * 1000;
    if (lasts_us < SLOT_US) lasts_us = SLOT_US;
    return e->reserved && now_us - e->slot_us <= lasts_us;
}

/* When the next call may go, as far as this producer knows; past what is under way. */
static int64_t earliest_us(const struct enrich *e)
{
    int64_t last_us = http_client_last_us(e->http), at_us = e->hold_us;
    if (last_us && last_us + e->config->delay_ms * 1000 > at_us)
        at_us = last_us + e->config->delay_ms * 1000;
    return at_us;
}

/* The time between two requests is counted from when the first one is on the wire: while it is
 * still connecting, none follows. */
static bool may_send(const struct enrich *e, int64_t now_us)
{
    return http_client_under_way(e->http) < (unsigned)e->config->concurrency &&
           !http_client_sending(e->http) && now_us >= earliest_us(e);
}

struct err enrich_send_calls(struct enrich *e)
{
    struct enrich_call *call;
    for (;;) {
        int64_t now_us = clock_boot_us();
        if (!(call = find_unsent(e)) || !may_send(e, now_us)) return err_none();
        if (!has_slot(e, now_us)) TRY(reserve(e, now_us));
        if (clock_boot_us() < e->slot_us) return err_none();
        TRY(write_call(e, call));
        e->reserved = false;
        call->sent = true;
        e->n_calls++;
        if (!call->tries) e->n_asked += call->n;
        http_client_send(e->http, &e->body, call);
        http_client_wait(e->http, 0);
    }
}

int enrich_wait_ms(const struct enrich *e, int timeout_ms)
{
    int64_t now_us = clock_boot_us(), at_us = earliest_us(e);
    if (!find_unsent(e)) return timeout_ms;
    if (e->reserved && e->slot_us > at_us) at_us = e->slot_us;
    int64_t ms = (at_us - now_us + 999) / 1000;
    return ms < 0 || ms > timeout_ms ? timeout_ms : (int)ms;
}

/* ---- calls: over */

static void forget_call(struct enrich *e, struct enrich_call *call)
{
    struct enrich_call **at = &e->calls;
    while (*at != call) at = &(*at)->next;
    *at = call->next;
    enrich_call_free(call);
}

/* The call stays first in its place, and nobody else is asked meanwhile. */
static struct err put_off(struct enrich *e, struct enrich_call *call,
                          const struct http_answer *answer, struct err why)
{
    const struct conf_durations *waits = &e->config->retry;
    int64_t now_us = clock_boot_us();
    if (!call->tries++) call->patience_us = enrich_patience_us(waits, now_us, e->deadline_us);
    int64_t pause_us = enrich_pause_us(waits, call->tries, answer->retry_after_s);
    if (answer->retry_after_s) TRY(service_pace_hold(e->db, e->origin, pause_us));
    if (!enrich_is_patient(waits, call->tries, pause_us, now_us, call->patience_us))
        return about_service(e,
                             err_wrap(why, "after %u tries this run waits no longer", call->tries));
    log_warn("enrich",
             "msg=\"waiting for the contact service\" service=\"%s\" tries=%u after_ms=%" PRId64
             " err=\"%s\"",
             e->origin, call->tries, pause_us / 1000, why.text);
    if (now_us + pause_us > e->hold_us) e->hold_us = now_us + pause_us;
    e->reserved = false;
    e->in_trouble = true;
    return err_none();
}

static struct err take_answer(struct enrich *e, struct enrich_call *call,
                              const struct http_answer *answer)
{
    struct err why;
    call->sent = false;
    switch (enrich_judge(answer, &why)) {
    case ENRICH_WAIT:
        return put_off(e, call, answer, why);
    case ENRICH_REFUSE:
        return about_service(e, why);
    case ENRICH_TAKE:
        break;
    }
    TRY(read_answer(e, call, &answer->body));
    if (e->in_trouble) log_info("enrich", "msg=\"it answers again\" service=\"%s\"", e->origin);
    e->in_trouble = false;
    forget_call(e, call);
    return err_none();
}

struct err enrich_take_answers(struct enrich *e)
{
    struct http_answer answer;
    while (http_client_next(e->http, &answer)) {
        struct err failed = take_answer(e, answer.owner, &answer);
        http_answer_fini(&answer);
        if (failed.code) return failed;
    }
    return err_none();
}
