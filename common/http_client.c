/* libcurl's multi interface, one easy handle a call. The multi handle keeps the connections. */
#include "common/http_client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

struct http_call {
    struct http_call *next;
    struct http_client *client;
    CURL *easy;
    void *owner;
    bool sent, over;
    CURLcode result;
    struct buf body;
    char failure[CURL_ERROR_SIZE];
};

/* Calls in the order in which they began. */
struct http_client {
    struct http_config config;
    CURLM *multi;
    struct curl_slist *headers;
    struct http_call *calls;
    unsigned n_calls;
    int64_t last_us;
};

/* Without the empty one libcurl would ask whether it may send a large body, and wait for a second.
 */
static const char *const OWN_HEADERS[] = {"Content-Type: application/json",
                                          "Accept: application/json", "Expect:"};

static void add_header(struct http_client *c, const char *line)
{
    c->headers = curl_slist_append(c->headers, line);
    if (!c->headers) abort();
}

struct http_client *http_client_new(const struct http_config *config)
{
    struct http_client *c = mem_alloc(sizeof *c);
    c->config = *config;
    c->multi = curl_multi_init();
    if (!c->multi) abort();
    for (size_t i = 0; i < sizeof OWN_HEADERS / sizeof *OWN_HEADERS; i++)
        add_header(c, OWN_HEADERS[i]);
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; config->headers[k] && i < config->headers[k]->count; i++)
            add_header(c, config->headers[k]->items[i]);
    return c;
}

static void free_call(struct http_call *call)
{
    struct http_client *c = call->client;
    struct http_call **at = &c->calls;
    while (*at != call) at = &(*at)->next;
    *at = call->next;
    c->n_calls--;
    curl_multi_remove_handle(c->multi, call->easy);
    curl_easy_cleanup(call->easy);
    buf_fini(&call->body);
    free(call);
}

void http_client_free(struct http_client *c)
{
    if (!c) return;
    while (c->calls) free_call(c->calls);
    curl_multi_cleanup(c->multi);
    curl_slist_free_all(c->headers);
    free(c);
}

/* ---- one call */

static size_t on_body(char *bytes, size_t size, size_t n, void *user)
{
    struct http_call *call = user;
    buf_append(&call->body, bytes, size * n);
    return call->body.too_big ? 0 : size * n;
}

/* Connected; the request goes out now. */
static int on_request(void *user, char *ip, char *local_ip, int port, int local_port)
{
    (void)ip, (void)local_ip, (void)port, (void)local_port;
    struct http_call *call = user;
    call->sent = true;
    call->client->last_us = clock_boot_us();
    return CURL_PREREQFUNC_OK;
}

/* What is told about the other side has to be asked for: neither the environment nor a file in
 * somebody's home decides where secrets go. */
static void set_options(struct http_call *call, const struct buf *body)
{
    const struct http_config *config = &call->client->config;
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_URL, config->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT,
                     1L); /* a call that ends awaits no lookup of a name */
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)config->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)config->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)config->answer_max);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "mailflock/" MAILFLOCK_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->client->headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
    curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body->data);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, config->method);
    if (*config->ca_file) curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_file);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->failure);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
}

void http_client_send(struct http_client *c, const struct buf *body, void *owner)
{
    struct http_call *call = mem_alloc(sizeof *call), **end = &c->calls;
    call->client = c;
    call->owner = owner;
    call->easy = curl_easy_init();
    if (!call->easy) abort();
    buf_init(&call->body, c->config.answer_max);
    set_options(call, body);
    while (*end) end = &(*end)->next;
    *end = call;
    c->n_calls++;
    curl_multi_add_handle(c->multi, call->easy);
}

void http_client_drop(struct http_client *c, const void *owner)
{
    for (struct http_call *call = c->calls, *next; call; call = next) {
        next = call->next;
        if (call->owner == owner) free_call(call);
    }
}

/* ---- all calls */

unsigned http_client_under_way(const struct http_client *c)
{
    return c->n_calls;
}

bool http_client_sending(const struct http_client *c)
{
    for (const struct http_call *call = c->calls; call; call = call->next)
        if (!call->sent && !call->over) return true;
    return false;
}

int64_t http_client_last_us(const struct http_client *c)
{
    return c->last_us;
}

static void collect_ends(struct http_client *c)
{
    int left;
    for (CURLMsg *msg; (msg = curl_multi_info_read(c->multi, &left));) {
        char *private = NULL;
        if (msg->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
        struct http_call *call = (struct http_call *)(void *)private;
        call->over = true;
        call->result = msg->data.result;
        if (!call->sent) c->last_us = clock_boot_us();
    }
}

void http_client_wait(struct http_client *c, int timeout_ms)
{
    int running;
    curl_multi_perform(c->multi, &running);
    collect_ends(c);
    for (struct http_call *call = c->calls; call; call = call->next)
        if (call->over) return;
    if (timeout_ms <= 0) return;
    curl_multi_poll(c->multi, NULL, 0, timeout_ms, NULL);
    curl_multi_perform(c->multi, &running);
    collect_ends(c);
}

/* ---- answers */

static enum http_end how_it_ended(const struct http_call *call)
{
    if (call->body.too_big) return HTTP_TOO_BIG;
    switch (call->result) {
    case CURLE_OK:
        return HTTP_ANSWERED;
    case CURLE_FILESIZE_EXCEEDED:
        return HTTP_TOO_BIG;
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return HTTP_HOPELESS;
    default:
        return HTTP_BROKEN;
    }
}

static void copy_text(CURL *easy, CURLINFO what, char *out, size_t size)
{
    const char *text = NULL;
    curl_easy_getinfo(easy, what, &text);
    snprintf(out, size, "%s", text ? text : "");
}

static void fill_in(struct http_call *call, struct http_answer *answer)
{
    long status = 0;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    *answer = (struct http_answer){.owner = call->owner,
                                   .end = how_it_ended(call),
                                   .status = (int)status,
                                   .retry_after_s = retry_after_s > 0 ? retry_after_s : 0,
                                   .body = call->body};
    buf_init(&call->body, 0);
    copy_text(call->easy, CURLINFO_CONTENT_TYPE, answer->content_type, sizeof answer->content_type);
    copy_text(call->easy, CURLINFO_REDIRECT_URL, answer->location, sizeof answer->location);
    snprintf(answer->failure, sizeof answer->failure, "%s",
             *call->failure ? call->failure : curl_easy_strerror(call->result));
}

bool http_client_next(struct http_client *c, struct http_answer *answer)
{
    struct http_call *call = c->calls;
    while (call && !call->over) call = call->next;
    if (!call) return false;
    fill_in(call, answer);
    free_call(call);
    return true;
}

void http_answer_fini(struct http_answer *answer)
{
    buf_fini(&answer->body);
}
