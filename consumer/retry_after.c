/* Reading a time out of a reply's text: a word that speaks of another try, perhaps some that say
 * nothing, then a number and its unit. Anything else between them ends the reading, so that limits
 * ("100 mails in 60 minutes"), addresses and ticket numbers are not taken for a time. */
#include "consumer/retry_after.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { WORD_SIZE = 16 };

struct text {
    const char *at, *end;
};

static char peek(const struct text *t, size_t ahead)
{
    return (size_t)(t->end - t->at) > ahead ? t->at[ahead] : '\0';
}

static bool is_one_of(const char *word, const char *const words[])
{
    while (*words && strcasecmp(word, *words) != 0) words++;
    return *words != NULL;
}

static bool begins_with(const char *word, const char *start)
{
    return strncasecmp(word, start, strlen(start)) == 0;
}

/* What speaks of another try. */
static bool is_about_retry(const char *word)
{
    static const char *const WORDS[] = {"again",    "try",     "retry", "retrying", "back",  "wait",
                                        "deferred", "delayed", "delay", "resend",   "least", NULL};
    return is_one_of(word, WORDS) || begins_with(word, "greylist") || begins_with(word, "graylist");
}

/* What may stand between that and the time. */
static bool says_nothing(const char *word)
{
    static const char *const WORDS[] = {
        "in",    "after",   "for",      "about",   "another", "approx", "approximately",
        "next",  "more",    "than",     "sooner",  "no",      "not",    "before",
        "the",   "your",    "this",     "message", "mail",    "email",  "please",
        "later", "sending", "delivery", "it",      NULL};
    return is_one_of(word, WORDS);
}

static uint64_t unit_s(const char *word)
{
    static const char *const SECONDS[] = {"s", "sec", "secs", "second", "seconds", NULL};
    static const char *const MINUTES[] = {"m", "min", "mins", "minute", "minutes", NULL};
    static const char *const HOURS[] = {"h", "hr", "hrs", "hour", "hours", NULL};
    static const char *const DAYS[] = {"d", "day", "days", NULL};
    return is_one_of(word, SECONDS)   ? 1
           : is_one_of(word, MINUTES) ? 60
           : is_one_of(word, HOURS)   ? 60 * 60
           : is_one_of(word, DAYS)    ? 24 * 60 * 60
                                      : 0;
}

static void take_word(struct text *t, char word[WORD_SIZE])
{
    size_t n = 0;
    for (; isalpha((unsigned char)peek(t, 0)); t->at++)
        if (n + 1 < WORD_SIZE) word[n++] = *t->at;
    word[n] = '\0';
}

static uint64_t take_number(struct text *t)
{
    uint64_t n = 0;
    for (; isdigit((unsigned char)peek(t, 0)); t->at++)
        if (n < RETRY_AFTER_MAX_S) n = n * 10 + (uint64_t)(*t->at - '0');
    return n;
}

static void skip_blanks(struct text *t)
{
    while (peek(t, 0) == ' ') t->at++;
}

/* 00:04:32, of which the hours have been taken. */
static bool take_clock(struct text *t, uint64_t hours, uint64_t *seconds)
{
    const char *p = t->at;
    for (int i = 0; i < 6; i++)
        if (i % 3 == 0 ? peek(t, (size_t)i) != ':' : !isdigit((unsigned char)peek(t, (size_t)i)))
            return false;
    *seconds = hours * 3600 + (uint64_t)((p[1] - '0') * 10 + (p[2] - '0')) * 60 +
               (uint64_t)((p[4] - '0') * 10 + (p[5] - '0'));
    t->at += 6;
    return true;
}

/* Part of an address, a date, a version or a name. */
static bool goes_on(const struct text *t)
{
    char c = peek(t, 0), next = peek(t, 1);
    return (c == '.' || c == '-' || c == '/' || c == ':') && isalnum((unsigned char)next);
}

/* A number and its unit, or a clock's time; bare: no unit means seconds. */
static bool take_time(struct text *t, bool bare, uint64_t *seconds)
{
    char word[WORD_SIZE];
    uint64_t n = take_number(t);
    if (take_clock(t, n, seconds)) return true;
    if (goes_on(t)) return false;
    const struct text before = *t;
    skip_blanks(t);
    take_word(t, word);
    uint64_t unit = unit_s(word);
    if (!unit) *t = before;
    *seconds = n * (unit ? unit : 1);
    return unit || bare;
}

/* 4 minutes and 32 seconds. */
static uint64_t take_times(struct text *t, bool bare)
{
    uint64_t sum = 0, more = 0;
    if (!take_time(t, bare, &sum)) return 0;
    for (;;) {
        char word[WORD_SIZE];
        skip_blanks(t);
        if (peek(t, 0) == ',') t->at++;
        skip_blanks(t);
        take_word(t, word);
        skip_blanks(t);
        if (*word && strcasecmp(word, "and") != 0) return sum;
        if (!isdigit((unsigned char)peek(t, 0)) || !take_time(t, false, &more)) return sum;
        sum += more;
    }
}

uint32_t retry_after_parse(const char *text, size_t len)
{
    struct text t = {text, text + len};
    bool about_retry = false, after = false; /* what the last words were */
    while (t.at < t.end) {
        char word[WORD_SIZE];
        if (isdigit((unsigned char)*t.at)) {
            uint64_t s = about_retry ? take_times(&t, after) : (take_number(&t), 0);
            if (s) return s < RETRY_AFTER_MAX_S ? (uint32_t)s : RETRY_AFTER_MAX_S;
            about_retry = false;
            while (isalnum((unsigned char)peek(&t, 0)) || goes_on(&t)) t.at++;
        } else if (isalpha((unsigned char)*t.at)) {
            take_word(&t, word);
            after = about_retry && strcasecmp(word, "after") == 0;
            about_retry = is_about_retry(word) || (about_retry && says_nothing(word));
        } else {
            if (!strchr(" :-=(,", *t.at)) about_retry = false;
            t.at++;
        }
    }
    return 0;
}
