/* Puts the content of one AMQP message together: a method frame, a header frame, body frames.
 * Pure: no I/O, no clock. */
#ifndef MAILFLOCK_BROKER_ASSEMBLY_H
#define MAILFLOCK_BROKER_ASSEMBLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum broker_assembly_state { ASSEMBLY_IDLE, ASSEMBLY_HEADER, ASSEMBLY_BODY };

enum broker_assembly_step {
    ASSEMBLY_BAD,  /* the frame does not fit here: the peer broke the protocol */
    ASSEMBLY_MORE, /* further frames are to come */
    ASSEMBLY_DONE, /* the message is complete; idle again */
};

/* After ASSEMBLY_DONE size is what the header said, and body points to as many bytes, or is NULL
 * if they were past the maximum and left out. */
struct broker_assembly {
    enum broker_assembly_state state;
    uint64_t size, got;
    bool keep;
    const void *body;
    struct buf whole; /* used only for bodies of several frames */
};

/* broker_assembly_init: bodies past max_body are counted but not kept. */
void broker_assembly_init(struct broker_assembly *a, size_t max_body);
void broker_assembly_fini(struct broker_assembly *a);

/* broker_assembly_begin: a method that announces content. */
enum broker_assembly_step broker_assembly_begin(struct broker_assembly *a);

/* broker_assembly_header: the header frame; size is the body's. */
enum broker_assembly_step broker_assembly_header(struct broker_assembly *a, uint64_t size);

/* broker_assembly_add: a body frame. A body of one frame is borrowed, not copied: bytes must live
 * as long as body is used. */
enum broker_assembly_step broker_assembly_add(struct broker_assembly *a, const void *bytes,
                                              size_t len);

#endif
