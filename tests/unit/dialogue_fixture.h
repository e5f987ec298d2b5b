/* A sender made for tests of the SMTP dialogue: mails 0, 1, 2 ... of the tasks that the test sets
 * up, and a record of what became of each. It stands in for consumer/sender.c, which the linker
 * then leaves out. */
#ifndef MAILFLOCK_DIALOGUE_FIXTURE_H
#define MAILFLOCK_DIALOGUE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/smtp_dialogue.h"
#include "consumer/smtp_reply.h"

enum { FAKE_MAILS = 4000 };

struct task {
    bool ending, refused;
    uint32_t started; /* the watermark */
};

static struct {
    struct task tasks[2];
    uint32_t n_mails, next;
    uint32_t n_back, back[FAKE_MAILS];
    const char *files; /* of every mail */
    struct {
        int task;
        bool held, utf8;
        int done, put_back, losses;
        int sender_refused;
        struct outcome outcome;
    } mails[FAKE_MAILS];
} fake;

static inline void forget_spoken(void);

/* n mails of task 0, all below the watermark. */
static inline void fake_mails(uint32_t n)
{
    memset(&fake, 0, sizeof fake);
    forget_spoken();
    fake.n_mails = n;
    fake.tasks[0].started = fake.tasks[1].started = FAKE_MAILS;
}

bool sender_take(struct transport *t, struct mail *mail, struct buf *body)
{
    (void)t;
    while (fake.next < fake.n_mails && fake.tasks[fake.mails[fake.next].task].ending) fake.next++;
    if (fake.tasks[0].refused) return false;
    bool again = fake.n_back > 0;
    if (!again && fake.next == fake.n_mails) return false;
    mail->index = again ? fake.back[--fake.n_back] : fake.next++;
    mail->task = &fake.tasks[fake.mails[mail->index].task];
    mail->utf8 = fake.mails[mail->index].utf8;
    assert_false(fake.mails[mail->index].held);
    assert_int_equal(fake.mails[mail->index].done, 0);
    fake.mails[mail->index].held = true;
    buf_reset(body);
    buf_append_format(body, "Subject: %u\r\n\r\nbody %u\r\n", mail->index, mail->index);
    return true;
}

const char *sender_files(const struct mail *mail, size_t *len)
{
    (void)mail;
    *len = fake.files ? strlen(fake.files) : 0;
    return fake.files;
}

const char *sender_from(const struct mail *mail)
{
    (void)mail;
    return "news@m.example";
}

const char *sender_to(const struct mail *mail)
{
    static char to[32];
    snprintf(to, sizeof to, "u%u@r.example", mail->index);
    return to;
}

bool sender_may_hand_over(const struct mail *mail)
{
    return !mail->task->ending && mail->index < mail->task->started;
}

bool sender_gave_up(const struct mail *mail)
{
    return mail->task->ending;
}

static inline void fake_give_back(const struct mail *mail)
{
    assert_true(fake.mails[mail->index].held);
    fake.mails[mail->index].held = false;
}

void sender_done(const struct mail *mail, const struct outcome *outcome)
{
    fake_give_back(mail);
    fake.mails[mail->index].done++;
    fake.mails[mail->index].outcome = *outcome;
}

void sender_put_back(const struct mail *mail, bool lost)
{
    fake_give_back(mail);
    fake.mails[mail->index].put_back++;
    fake.mails[mail->index].losses += lost;
    if (!mail->task->ending) fake.back[fake.n_back++] = mail->index;
}

void sender_refused(const struct mail *mail, const struct outcome *refusal)
{
    assert_true(fake.mails[mail->index].held);
    assert_int_equal(refusal->status, OUTCOME_NONE);
    mail->task->refused = true;
    fake.mails[mail->index].sender_refused++;
    fake.mails[mail->index].outcome = *refusal;
}

static inline size_t unsaid(const struct smtp_dialogue *d)
{
    return d->out.text.len + (d->out.files ? d->out.files_len : 0) - d->out.written;
}

/* What the socket has taken since said() was last called. */
static struct {
    char text[8192];
    size_t len;
} spoken;

static inline void forget_spoken(void)
{
    spoken.len = 0;
}

/* The socket takes up to limit bytes of what the dialogue has to say. */
static inline void write_some(struct smtp_dialogue *d, size_t limit)
{
    const char *bytes;
    size_t len;
    while (limit && smtp_dialogue_unsent(d, &bytes, &len)) {
        if (len > limit) len = limit;
        assert_true(spoken.len + len < sizeof spoken.text);
        memcpy(spoken.text + spoken.len, bytes, len);
        spoken.len += len;
        limit -= len;
        smtp_dialogue_sent(d, len);
    }
}

/* Gives the dialogue one reply line, read as the transport reads it: whatever it has to say. */
static inline enum smtp_trouble hear_early(struct smtp_dialogue *d, const char *line)
{
    static struct smtp_input in;
    struct reply r;
    size_t room;
    smtp_input_reset(&in);
    char *to = smtp_input_room(&in, &room);
    in.len = (size_t)snprintf(to, room, "%s\r\n", line);
    assert_int_equal(smtp_input_next(&in, &r), SMTP_REPLY);
    return smtp_dialogue_reply(d, &r);
}

/* A reply after all that it may answer was written. */
static inline enum smtp_trouble hear(struct smtp_dialogue *d, const char *line)
{
    write_some(d, SIZE_MAX);
    return hear_early(d, line);
}

/* What was written since the last call, and up to limit bytes more. Borrowed until the next call.
 */
static inline const char *said_some(struct smtp_dialogue *d, size_t limit)
{
    static char text[sizeof spoken.text];
    write_some(d, limit);
    memcpy(text, spoken.text, spoken.len);
    text[spoken.len] = '\0';
    spoken.len = 0;
    return text;
}

static inline const char *said(struct smtp_dialogue *d)
{
    return said_some(d, SIZE_MAX);
}

#define ENVELOPE(n) "MAIL FROM:<news@m.example>\r\nRCPT TO:<u" #n "@r.example>\r\nDATA\r\n"
#define BODY(n)     "Subject: " #n "\r\n\r\nbody " #n "\r\n.\r\n"

#endif
