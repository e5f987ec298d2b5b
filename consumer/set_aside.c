/* Refused senders. There are as many as runs in hand: a list is enough. */
#include "consumer/set_aside.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

const int SET_ASIDE_DELAYS_S[SET_ASIDE_STEPS] = {15, 60, 300};

void set_aside_fini(struct set_aside *s)
{
    for (int i = 0; i < s->n; i++) {
        free(s->senders[i].transport);
        free(s->senders[i].from);
    }
    free(s->senders);
    *s = (struct set_aside){0};
}

static struct set_aside_sender *find(const struct set_aside *s, const char *transport,
                                     const char *from)
{
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->senders[i].transport, transport) == 0 &&
            strcmp(s->senders[i].from, from) == 0)
            return &s->senders[i];
    return NULL;
}

static char *copy(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(mem_alloc(size), text, size);
}

static struct set_aside_sender *add(struct set_aside *s, const char *transport, const char *from)
{
    s->senders = mem_resize(s->senders, (size_t)(s->n + 1) * sizeof *s->senders);
    s->senders[s->n] = (struct set_aside_sender){.transport = copy(transport), .from = copy(from)};
    return &s->senders[s->n++];
}

int set_aside_refused(struct set_aside *s, const char *transport, const char *from, int64_t now_us)
{
    struct set_aside_sender *sender = find(s, transport, from);
    if (!sender) sender = add(s, transport, from);
    if (now_us < sender->until_us) return 0;
    int step = sender->refusals < SET_ASIDE_STEPS ? sender->refusals : SET_ASIDE_STEPS - 1;
    sender->refusals++;
    sender->until_us = now_us + SET_ASIDE_DELAYS_S[step] * 1000000LL;
    return SET_ASIDE_DELAYS_S[step];
}

int set_aside_wait(const struct set_aside *s, const char *transport, const char *from,
                   int64_t now_us)
{
    const struct set_aside_sender *sender = find(s, transport, from);
    if (!sender || now_us >= sender->until_us) return 0;
    int64_t left_us = sender->until_us - now_us;
    int step = 0;
    while (step < SET_ASIDE_STEPS - 1 && SET_ASIDE_DELAYS_S[step] * 1000000LL < left_us) step++;
    return SET_ASIDE_DELAYS_S[step];
}

bool set_aside_answered(struct set_aside *s, const char *transport, const char *from,
                        int64_t now_us)
{
    struct set_aside_sender *sender = find(s, transport, from);
    if (!sender || now_us < sender->until_us) return false;
    free(sender->transport);
    free(sender->from);
    *sender = s->senders[--s->n];
    return true;
}

int set_aside_count(const struct set_aside *s, int64_t now_us)
{
    int n = 0;
    for (int i = 0; i < s->n; i++) n += now_us < s->senders[i].until_us;
    return n;
}
