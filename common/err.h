/* Errors: the program could not do its work (configuration, broker, database, input).
 * What happened to one recipient is never an err; it is a struct outcome. */
#ifndef MAILFLOCK_ERR_H
#define MAILFLOCK_ERR_H

enum err_code {
    ERR_NONE = 0,
    ERR_CONFIG,  /* a setting or campaign file is wrong */
    ERR_INPUT,   /* data from outside is wrong: a message, a row, an argument */
    ERR_TOO_BIG, /* something passed its stated maximum */
    ERR_BROKER,  /* RabbitMQ refused or is not reachable */
    ERR_DB,      /* the database refused or is not reachable; native is its errno */
    ERR_IO,      /* a file or socket; native is errno */
    ERR_TIMEOUT, /* a stated limit passed */
    ERR_STATE,   /* the request does not fit the state of things */
    ERR_NEWER,   /* data of a later version than this program reads; a newer program can */
};

enum { ERR_TEXT_MAX = 400 };

/* text says what was tried, on what, and what to do. It is one line without double quotes and
 * control characters, so it can stand in a log line as it is. */
struct err {
    enum err_code code;
    int native;
    char text[ERR_TEXT_MAX];
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* err_none: success. */
static inline struct err err_none(void)
{
    struct err e;
    e.code = ERR_NONE;
    e.native = 0;
    e.text[0] = '\0';
    return e;
}

/* err_make: a failure; the text is cut at ERR_TEXT_MAX - 1 bytes and made safe for one log line. */
struct err err_make(enum err_code code, int native, const char *format, ...) MUST_CHECK
    __attribute__((format(printf, 3, 4)));

/* err_wrap: the same failure with "context: " before its text. */
struct err err_wrap(struct err inner, const char *format, ...) MUST_CHECK
    __attribute__((format(printf, 2, 3)));

/* TRY: leave the function with the error of expr, if it has one. For functions without cleanup. */
#define TRY(expr)                                                                                  \
    do {                                                                                           \
        struct err try_err_ = (expr);                                                              \
        if (try_err_.code) return try_err_;                                                        \
    } while (0)

/* mem_alloc, mem_resize, mem_copy_text: small allocations that cannot fail to their callers: the
 * program ends with a message. Anything sized by input goes through struct buf or struct arena. */
void *mem_alloc(unsigned long size) __attribute__((malloc, returns_nonnull));
void *mem_resize(void *old, unsigned long size) __attribute__((returns_nonnull));
char *mem_copy_text(const char *text) __attribute__((malloc, returns_nonnull));

#endif
