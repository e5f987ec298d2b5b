/* Reads from RabbitMQ: takes one frame after the other, in whatever order the two channels send
 * them, and turns them into events. Works on frames rather than amqp_consume_message, which gives
 * up on anything but a delivery. Texts are copied out of each frame, so that the library's memory
 * can be released before every read; only a body of a single frame is borrowed from it. */
#include "common/broker_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

static bool give_resolved(struct broker *b, struct broker_event *event)
{
    uint16_t refusal;
    if (!broker_window_take(&b->window, &event->publish_tag, &refusal)) return false;
    event->kind = refusal == BROKER_WINDOW_CONFIRMED ? BROKER_CONFIRMED : BROKER_REFUSED;
    if (refusal == BROKER_WINDOW_NACKED)
        event->reason = "the queue could not take it (basic.nack)";
    else if (refusal == AMQP_NO_ROUTE)
        event->reason = "no queue is bound for its routing key (312)";
    else if (refusal)
        event->reason = "returned by RabbitMQ";
    return true;
}

static void protocol_error(struct broker *b, const char *what)
{
    broker_lose(b, err_make(ERR_BROKER, AMQP_STATUS_UNEXPECTED_STATE,
                            "RabbitMQ at %s broke the protocol: %s", b->where, what));
}

static void take_confirm(struct broker *b, uint64_t tag, bool multiple, bool acked)
{
    if (!broker_window_resolve(&b->window, tag, multiple, acked))
        log_warn("broker", "msg=\"confirm for no publish of ours\" tag=%llu",
                 (unsigned long long)tag);
}

static void take_deliver(struct broker *b, const amqp_basic_deliver_t *m)
{
    if (broker_assembly_begin(&b->delivery) == ASSEMBLY_BAD) {
        protocol_error(b, "a delivery within a delivery");
        return;
    }
    b->delivery_consumer = broker_find_consumer(b, m->consumer_tag, NULL);
    if (b->delivery_consumer < 0) {
        protocol_error(b, "a delivery for no consumer of ours");
        return;
    }
    b->delivery_tag = m->delivery_tag;
    b->redelivered = m->redelivered;
    broker_copy(b->routing_key, sizeof b->routing_key, m->routing_key);
}

static void take_return(struct broker *b, const amqp_basic_return_t *m)
{
    if (broker_assembly_begin(&b->returned) == ASSEMBLY_BAD) {
        protocol_error(b, "a return within a return");
        return;
    }
    b->return_code = m->reply_code;
    broker_copy(b->return_exchange, sizeof b->return_exchange, m->exchange);
    broker_copy(b->return_key, sizeof b->return_key, m->routing_key);
}

/* One that we have ended ourselves meanwhile is no news. */
static bool take_cancel(struct broker *b, const amqp_basic_cancel_t *m, struct broker_event *event)
{
    bool current;
    int consumer = broker_find_consumer(b, m->consumer_tag, &current);
    if (consumer < 0 || !current || !b->consumers[consumer].consuming) return false;
    b->consumers[consumer].consuming = false;
    event->kind = BROKER_CANCELLED;
    event->consumer = consumer;
    event->reason = "RabbitMQ ended the consumer: its queue was deleted or failed over";
    return true;
}

static bool take_blocked(struct broker *b, const amqp_connection_blocked_t *m,
                         struct broker_event *event)
{
    b->blocked = true;
    event->kind = BROKER_BLOCKED;
    event->reason = broker_copy(b->reason_blocked, sizeof b->reason_blocked, m->reason);
    return true;
}

/* Out of the blue a 406 is a matter of time (consumer_timeout), not of a setting. */
static void take_close(struct broker *b, int channel, const amqp_method_t *m)
{
    struct err e =
        broker_server_error(b, channel, *m, channel ? "closed a channel" : "closed the connection");
    if (e.native == AMQP_PRECONDITION_FAILED) e.code = ERR_BROKER;
    broker_lose(b, e);
}

/* true: event is filled. */
static bool take_method(struct broker *b, const amqp_frame_t *frame, struct broker_event *event)
{
    const amqp_method_t *m = &frame->payload.method;
    switch (m->id) {
    case AMQP_BASIC_ACK_METHOD: {
        const amqp_basic_ack_t *ack = m->decoded;
        take_confirm(b, ack->delivery_tag, ack->multiple, true);
        return give_resolved(b, event);
    }
    case AMQP_BASIC_NACK_METHOD: {
        const amqp_basic_nack_t *nack = m->decoded;
        take_confirm(b, nack->delivery_tag, nack->multiple, false);
        return give_resolved(b, event);
    }
    case AMQP_BASIC_DELIVER_METHOD:
        take_deliver(b, m->decoded);
        return false;
    case AMQP_BASIC_RETURN_METHOD:
        take_return(b, m->decoded);
        return false;
    case AMQP_BASIC_CANCEL_METHOD:
        return take_cancel(b, m->decoded, event);
    case AMQP_CONNECTION_BLOCKED_METHOD:
        return take_blocked(b, m->decoded, event);
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        b->blocked = false;
        b->unblocked_us = clock_boot_us();
        event->kind = BROKER_UNBLOCKED;
        return true;
    case AMQP_CHANNEL_CLOSE_METHOD:
    case AMQP_CONNECTION_CLOSE_METHOD:
        take_close(b, frame->channel, m);
        return false;
    default:
        log_warn("broker", "msg=\"method ignored\" id=0x%08x channel=%u", (unsigned)m->id,
                 frame->channel);
        return false;
    }
}

/* The count is of whatever width the server likes. */
static long number_of(const amqp_field_value_t *v)
{
    switch (v->kind) {
    case AMQP_FIELD_KIND_I8:
        return v->value.i8;
    case AMQP_FIELD_KIND_U8:
        return v->value.u8;
    case AMQP_FIELD_KIND_I16:
        return v->value.i16;
    case AMQP_FIELD_KIND_U16:
        return v->value.u16;
    case AMQP_FIELD_KIND_I32:
        return v->value.i32;
    case AMQP_FIELD_KIND_U32:
        return v->value.u32;
    case AMQP_FIELD_KIND_I64:
        return v->value.i64;
    case AMQP_FIELD_KIND_U64:
        return v->value.u64 > INT64_MAX ? INT64_MAX : (long)v->value.u64;
    default:
        return -1;
    }
}

static const amqp_field_value_t *find_header(const struct broker *b, const char *name)
{
    size_t len = strlen(name);
    for (int i = 0; i < b->headers.num_entries; i++) {
        const amqp_table_entry_t *e = &b->headers.entries[i];
        if (e->key.len == len && memcmp(e->key.bytes, name, len) == 0) return &e->value;
    }
    return NULL;
}

bool broker_header_get(const struct broker *b, const char *name, char *out, size_t size)
{
    const amqp_field_value_t *v = find_header(b, name);
    if (!v || (v->kind != AMQP_FIELD_KIND_UTF8 && v->kind != AMQP_FIELD_KIND_BYTES)) return false;
    broker_copy(out, size, v->value.bytes);
    return true;
}

static void keep_properties(struct broker *b, const amqp_basic_properties_t *p)
{
    recycle_amqp_pool(&b->header_pool);
    b->headers = amqp_empty_table;
    b->delivery_count = -1;
    b->message_id[0] = '\0';
    if (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
        broker_copy(b->message_id, sizeof b->message_id, p->message_id);
    if (!(p->_flags & AMQP_BASIC_HEADERS_FLAG)) return;
    if (amqp_table_clone(&p->headers, &b->headers, &b->header_pool)) {
        b->headers = amqp_empty_table;
        broker_lose_status(b, AMQP_STATUS_NO_MEMORY, "keeping a message's headers");
        return;
    }
    const amqp_field_value_t *count = find_header(b, "x-delivery-count");
    if (count) b->delivery_count = number_of(count);
}

static void match_return(struct broker *b, const amqp_basic_properties_t *p)
{
    char id[SHORT_TEXT_SIZE] = "";
    if (p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) broker_copy(id, sizeof id, p->message_id);
    uint64_t key = broker_window_key(b->return_exchange, b->return_key, id);
    if (!broker_window_return(&b->window, key, b->return_code ? b->return_code : AMQP_NO_ROUTE))
        log_warn("broker", "msg=\"return of no publish of ours\" code=%u", b->return_code);
}

static bool give_delivery(const struct broker *b, struct broker_event *event)
{
    event->kind = BROKER_DELIVERY;
    event->consumer = b->delivery_consumer;
    event->delivery_tag = b->delivery_tag;
    event->redelivered = b->redelivered;
    event->delivery_count = b->delivery_count;
    event->message_id = b->message_id;
    event->routing_key = b->routing_key;
    event->body = b->delivery.body;
    event->body_len = b->delivery.size;
    return true;
}

static bool take_content(struct broker *b, const amqp_frame_t *frame, struct broker_event *event)
{
    bool is_delivery = frame->channel == CHANNEL_CONSUME;
    struct broker_assembly *a = is_delivery ? &b->delivery : &b->returned;
    enum broker_assembly_step step;
    if (frame->frame_type == AMQP_FRAME_HEADER) {
        step = broker_assembly_header(a, frame->payload.properties.body_size);
        if (step != ASSEMBLY_BAD && is_delivery)
            keep_properties(b, frame->payload.properties.decoded);
        else if (step != ASSEMBLY_BAD)
            match_return(b, frame->payload.properties.decoded);
    } else {
        amqp_bytes_t part = frame->payload.body_fragment;
        step = broker_assembly_add(a, part.bytes, part.len);
    }
    if (step == ASSEMBLY_BAD) protocol_error(b, "content out of place");
    return step == ASSEMBLY_DONE && is_delivery && give_delivery(b, event);
}

static bool take_frame(struct broker *b, const amqp_frame_t *frame, struct broker_event *event)
{
    switch (frame->frame_type) {
    case AMQP_FRAME_METHOD:
        return take_method(b, frame, event);
    case AMQP_FRAME_HEADER:
    case AMQP_FRAME_BODY:
        if (frame->channel == CHANNEL_CONSUME || frame->channel == CHANNEL_PUBLISH)
            return take_content(b, frame, event);
        protocol_error(b, "content on a channel that has none");
        return false;
    default:
        return false; /* a heartbeat the library queued */
    }
}

static struct err give_lost(const struct broker *b, struct broker_event *event)
{
    event->kind = BROKER_LOST;
    event->reason = b->lost.text;
    return b->lost;
}

static struct timeval time_left(int64_t deadline_us)
{
    int64_t left_us = deadline_us - clock_boot_us();
    /* Never 0: some calls of the library take that for no limit at all (rabbitmq-c issue 780). */
    if (left_us < 1) left_us = 1;
    return (struct timeval){left_us / 1000000, left_us % 1000000};
}

/* Called when there is nothing to read: a process that was late itself finds its confirms first. */
static void judge_confirms(struct broker *b)
{
    uint64_t tag;
    int64_t since_us;
    if (b->blocked || !broker_window_oldest(&b->window, &tag, &since_us)) return;
    if (since_us < b->unblocked_us) since_us = b->unblocked_us;
    int64_t waited_ms = (clock_boot_us() - since_us) / 1000;
    if (waited_ms < b->confirm_timeout_ms) return;
    broker_lose(b, err_make(ERR_BROKER, 0,
                            "RabbitMQ at %s did not confirm a publish to %s for %" PRId64
                            " ms: check that the queue has a leader",
                            b->where, b->routes[tag % b->window.size], waited_ms));
}

struct err broker_next(struct broker *b, int timeout_ms, struct broker_event *event)
{
    *event = (struct broker_event){.reason = "", .message_id = "", .routing_key = ""};
    int64_t deadline_us = clock_boot_us() + (int64_t)(timeout_ms > 0 ? timeout_ms : 0) * 1000;
    while (!give_resolved(b, event)) {
        if (b->lost.code) return give_lost(b, event);
        amqp_frame_t frame;
        struct timeval left = time_left(deadline_us);
        amqp_maybe_release_buffers(b->conn);
        int status = amqp_simple_wait_frame_noblock(b->conn, &frame, &left);
        b->drained = status == AMQP_STATUS_TIMEOUT;
        if (b->drained) {
            judge_confirms(b);
            if (!b->lost.code) return err_none();
        } else if (status) {
            broker_lose_status(b, status, "reading");
        } else if (take_frame(b, &frame, event)) {
            return err_none();
        }
    }
    return err_none();
}

bool broker_has_buffered(const struct broker *b)
{
    return !b->drained || b->lost.code || amqp_frames_enqueued(b->conn) ||
           amqp_data_in_buffer(b->conn) || b->window.resolved_first != b->window.resolved_end;
}
