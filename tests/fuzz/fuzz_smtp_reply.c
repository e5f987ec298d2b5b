/* Any bytes as SMTP replies: however they are cut into pieces, they say the same. */
#include "consumer/smtp_reply.h"
#include "fuzz.h"

#include <stdlib.h>

enum { REPLIES_MAX = 64 };

struct heard {
    int codes[REPLIES_MAX];
    size_t texts[REPLIES_MAX], count;
    bool garbage;
};

static void take(struct heard *h, const struct smtp_input *in, const struct reply *r)
{
    fuzz_check(r->code >= 200 && r->code <= 599, "a code out of bounds");
    fuzz_check(r->text >= in->data && r->text + r->text_len <= in->data + in->len,
               "a text outside");
    fuzz_check(strlen(r->enhanced) < sizeof r->enhanced, "an enhanced code without end");
    fuzz_check(h->count < REPLIES_MAX, "too many");
    h->codes[h->count] = r->code;
    h->texts[h->count++] = r->text_len;
}

static enum smtp_found drain(struct smtp_input *in, struct heard *h)
{
    struct reply reply = {0};
    enum smtp_found found = SMTP_REPLY;
    while (h->count < REPLIES_MAX && (found = smtp_input_next(in, &reply)) == SMTP_REPLY)
        take(h, in, &reply);
    return found;
}

static void hear(const uint8_t *data, size_t size, size_t step, struct heard *h)
{
    struct smtp_input *in = malloc(sizeof *in); /* not static: the sanitizer sees its end */
    enum smtp_found found = SMTP_NEED_MORE;
    smtp_input_reset(in);
    while (size && found == SMTP_NEED_MORE) {
        size_t room;
        char *to = smtp_input_room(in, &room);
        size_t n = size < step ? size : step;
        if (n > room) n = room;
        fuzz_check(room > 0, "no room, and no word of it");
        memcpy(to, data, n);
        in->len += n;
        data += n;
        size -= n;
        found = drain(in, h);
    }
    h->garbage = found == SMTP_GARBAGE;
    free(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard whole = {0}, bytes = {0};
    hear(data, size, SMTP_INPUT_SIZE, &whole);
    hear(data, size, 1, &bytes);
    fuzz_check(memcmp(&whole, &bytes, sizeof whole) == 0, "bytes one by one say something else");
    return 0;
}
