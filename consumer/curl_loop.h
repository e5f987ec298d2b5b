/* libcurl's multi interface driven by the sender's epoll: a connection is opened here, then only
 * kept; its dialogue is ours. Each connection needs a loop of its own: whenever libcurl opens one,
 * it closes others of the same multi handle that look dead to it, or are older than 118 s
 * (CURLOPT_MAXAGE_CONN), and tells nobody. For libcurl such a connection is idle, and its socket's
 * number may be the next one's. */
#ifndef MAILFLOCK_CURL_LOOP_H
#define MAILFLOCK_CURL_LOOP_H

#include <curl/curl.h>
#include <stdint.h>

#include "consumer/transport.h"

struct curl_loop;

/* curl_loop_new: on_done is called once for each handle that is through with connecting. */
struct curl_loop *curl_loop_new(struct sender *sender,
                                void (*on_done)(void *private, CURLcode result));
void curl_loop_free(struct curl_loop *loop); /* NULL is fine; no handle is in it any more */

/* curl_loop_add: starts connecting; the handle's CURLOPT_PRIVATE comes back in on_done. One handle
 * at a time. */
void curl_loop_add(struct curl_loop *loop, CURL *easy);

/* curl_loop_remove: closes the handle's connection, at once and without a word. A lookup of a name
 * that is under way would be awaited here (libcurl 7.88, lib/asyn-thread.c: Curl_resolver_kill),
 * for as long as the C library asks its name servers: the handle needs CURLOPT_QUICK_EXIT, with
 * which the lookup's thread goes on alone and cleans up after itself. The end of the process stops
 * it. */
void curl_loop_remove(struct curl_loop *loop, CURL *easy);

/* curl_loop_tick: for libcurl's own timeouts. */
void curl_loop_tick(struct curl_loop *loop, int64_t now_us);

#endif
