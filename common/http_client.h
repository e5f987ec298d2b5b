/* Calls of an HTTP service: JSON out, an answer of bounded size in. Several at a time, over
 * connections that are kept. No redirect is followed, no proxy asked, nothing repeated: what an
 * answer means is for the caller to judge. Belongs to one thread. */
#ifndef MAILFLOCK_HTTP_CLIENT_H
#define MAILFLOCK_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/config.h"
#include "common/err.h"

struct http_client;

/* All borrowed for the life of the client. */
struct http_config {
    const char *url, *method;
    const struct conf_texts *headers[2]; /* "Name: value"; either may be NULL */
    const char *ca_file;                 /* "" = the system's certificates */
    int timeout_ms;                      /* for one call, connecting included */
    size_t answer_max;                   /* bytes of an answer's body */
};

enum http_end {
    HTTP_ANSWERED, /* whole */
    HTTP_TOO_BIG,  /* past answer_max; the rest was not read */
    HTTP_BROKEN,   /* no answer, or not all of it: failure says why */
    HTTP_HOPELESS, /* the same, and trying again cannot help: a bad certificate */
};

/* One call that is over. The texts are never NULL. */
struct http_answer {
    void *owner; /* as given to http_client_send */
    enum http_end end;
    int status;
    int64_t retry_after_s; /* Retry-After, seconds or date; 0 = none */
    char content_type[80];
    char location[200]; /* of a redirect */
    char failure[256];
    struct buf body; /* owned: http_answer_fini */
};

/* http_client_new: connects nowhere yet. */
struct http_client *http_client_new(const struct http_config *config);
/* http_client_free: drops all calls; NULL is fine. */
void http_client_free(struct http_client *c);

/* http_client_send: begins a call; the body is copied. */
void http_client_send(struct http_client *c, const struct buf *body, void *owner);

/* http_client_drop: forgets the owner's call, if one is under way. */
void http_client_drop(struct http_client *c, const void *owner);

/* http_client_under_way: calls whose answer has not been given out. */
unsigned http_client_under_way(const struct http_client *c);

/* http_client_sending: a call has begun whose request is not on the wire yet: it is connecting. */
bool http_client_sending(const struct http_client *c);

/* http_client_last_us: when a request last went out, or failed to (CLOCK_BOOTTIME); 0 before the
 * first. */
int64_t http_client_last_us(const struct http_client *c);

/* http_client_wait: goes on with all calls; waits up to timeout_ms while nothing happens. */
void http_client_wait(struct http_client *c, int timeout_ms);

/* http_client_next: false where no call is over; else *answer is filled in and is the caller's. */
bool http_client_next(struct http_client *c, struct http_answer *answer);
void http_answer_fini(struct http_answer *answer);

#endif
