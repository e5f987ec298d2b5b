/* The publishes of one connection that still wait for their event. Pure: no I/O, no clock. */
#ifndef MAILFLOCK_BROKER_WINDOW_H
#define MAILFLOCK_BROKER_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

struct broker_slot {
    uint64_t key;
    int64_t sent_us;
    uint16_t returned; /* reply code of a basic.return, or 0 */
    uint16_t state;
};

/* Why a tag is refused; other values are the reply code of a basic.return. */
enum { BROKER_WINDOW_CONFIRMED = 0, BROKER_WINDOW_NACKED = 1 };

/* slots is a ring by tag; tags in [oldest, next) have a slot. resolved is a FIFO of the tags that
 * have an answer nobody took yet. */
struct broker_window {
    struct broker_slot *slots;
    uint64_t *resolved;
    uint32_t size, waiting; /* waiting: tags not taken yet */
    uint64_t oldest, next;
    uint64_t resolved_first, resolved_end; /* counters, modulo size into resolved */
};

/* broker_window_init: room for size (>= 1) publishes; the first tag is 1, as in AMQP. */
void broker_window_init(struct broker_window *w, uint32_t size);
void broker_window_fini(struct broker_window *w);

/* broker_window_full: the oldest tag without an event is size tags back. */
bool broker_window_full(const struct broker_window *w);

/* broker_window_key: a fingerprint of what identifies a returned message. */
uint64_t broker_window_key(const char *exchange, const char *routing_key, const char *message_id);

/* broker_window_add: the tag of the next publish. The window must not be full. */
uint64_t broker_window_add(struct broker_window *w, uint64_t key);

/* broker_window_sent: the publish of that tag was written at that moment. */
void broker_window_sent(struct broker_window *w, uint64_t tag, int64_t now_us);

/* broker_window_oldest: the first tag that the broker has not answered, and when it was sent; false
 * if none. */
bool broker_window_oldest(const struct broker_window *w, uint64_t *tag, int64_t *sent_us);

/* broker_window_return: a basic.return (code is not 0) for the oldest unanswered publish with that
 * key; its ack will count as a refusal. False if there is none. */
bool broker_window_return(struct broker_window *w, uint64_t key, uint16_t code);

/* broker_window_resolve: a basic.ack (or nack) of tag, or with multiple of all up to tag, where 0
 * means all. False if it names a tag that awaits no answer. */
bool broker_window_resolve(struct broker_window *w, uint64_t tag, bool multiple, bool acked);

/* broker_window_take: the next answered tag and why it was refused, if so; false if none. */
bool broker_window_take(struct broker_window *w, uint64_t *tag, uint16_t *refusal);

#endif
