/* The dialogue of one connection: commands, replies, and what becomes of each message. Does no I/O;
 * replies go to the connection's out buffer, and its phase says how it goes on. */
#include "fakesmtp.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static void put(struct conn *c, const char *bytes, size_t len)
{
    memcpy(c->out + c->out_len, bytes, len); /* OUT_RESERVE was free before the line was taken */
    c->out_len += len;
}

void reply(struct conn *c, const char *text)
{
    size_t len = strlen(text);
    c->flight_replies++;
    if (options.multiline) {
        put(c, text, 3);
        put(c, "-", 1);
        put(c, len > 3 ? text + 4 : "", len > 3 ? len - 4 : 0);
        put(c, "\r\n", 2);
    }
    put(c, text, len);
    put(c, "\r\n", 2);
}

void violation(enum violation kind)
{
    stats.violations[kind]++;
}

/* Refuses or defers: counts by the reply's first digit. */
static void reply_bad(struct conn *c, const char *text)
{
    if (text[0] == '5') stats.refused++;
    if (text[0] == '4') stats.deferred++;
    reply(c, text);
}

void session_greet(struct conn *c)
{
    if (!options.greeting) {
        reply(c, "220 fake.example ESMTP");
        return;
    }
    reply(c, options.greeting);
    if (strncmp(options.greeting, "421", 3) == 0) c->phase = PHASE_LINGER;
    c->hostile = options.greeting[0] == '5';
}

void session_refuse(struct conn *c)
{
    reply(c, "421 4.7.0 fake.example too many connections");
    c->phase = PHASE_LINGER;
}

static void reset(struct conn *c)
{
    c->mail_tried = c->mail = c->rcpt_tried = c->drop_in_body = false;
    c->eight_bit_ok = c->utf8_ok = false;
    c->n_rcpts = 0;
    c->rcpts_len = 0;
}

static void drop(struct conn *c)
{
    stats.dropped++;
    c->phase = PHASE_DROP;
}

/* ---- commands; arg is what follows the verb, NUL-terminated, without CRLF */

static void on_ehlo(struct conn *c, char *arg)
{
    if (!*arg) violation(V_BAD_ARGUMENT);
    reset(c);
    c->helo = true;
    c->flight_replies++;
    put(c, "250-fake.example\r\n", 18);
    if (options.pipelining) put(c, "250-PIPELINING\r\n", 16);
    if (options.smtputf8) put(c, "250-SMTPUTF8\r\n", 14);
    static const char REST[] = "250-8BITMIME\r\n250-SIZE 52428800\r\n250 ENHANCEDSTATUSCODES\r\n";
    put(c, REST, sizeof REST - 1);
}

static void on_helo(struct conn *c, char *arg)
{
    if (!*arg) violation(V_BAD_ARGUMENT);
    reset(c);
    c->helo = true;
    reply(c, "250 fake.example");
}

/* Takes <address> from p on, in place; NULL where there is none. *rest is what follows it. */
static char *take_path(char *p, char **rest)
{
    if (*p != '<') return NULL;
    char *end = strchr(p, '>');
    if (!end || (end[1] && end[1] != ' ') || end - p > ADDRESS_MAX) return NULL;
    *end = '\0';
    *rest = end + 1;
    if (strpbrk(p + 1, " \t<")) return NULL;
    return p + 1;
}

static bool take_mail_parameters(struct conn *c, char *rest)
{
    char *save = NULL;
    for (char *p = strtok_r(rest, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
        if (strcasecmp(p, "BODY=8BITMIME") == 0)
            c->eight_bit_ok = true;
        else if (strcasecmp(p, "SMTPUTF8") == 0 && options.smtputf8)
            c->utf8_ok = c->eight_bit_ok = true;
        else if (strncasecmp(p, "SIZE=", 5) != 0 && strcasecmp(p, "BODY=7BIT") != 0)
            return false;
    }
    return true;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if (*text & 0x80) return false;
    return true;
}

static void refuse_argument(struct conn *c, const char *text)
{
    violation(V_BAD_ARGUMENT);
    reply_bad(c, text);
}

static void on_mail(struct conn *c, char *arg)
{
    char *rest = "";
    if (!c->helo || c->mail) {
        violation(c->mail ? V_NESTED_MAIL : V_BAD_SEQUENCE);
        reply_bad(c, c->mail ? "503 5.5.1 nested MAIL command" : "503 5.5.1 EHLO first");
        return;
    }
    if (options.max_messages && c->messages >= options.max_messages) {
        reply(c, "421 4.7.0 fake.example too many messages in this connection");
        c->phase = PHASE_LINGER;
        return;
    }
    reset(c);
    c->mail_tried = true;
    char *from = strncasecmp(arg, "FROM:", 5) == 0 ? take_path(arg + 5, &rest) : NULL;
    if (!from)
        refuse_argument(c, "501 5.1.7 MAIL FROM:<address> expected");
    else if (!take_mail_parameters(c, rest))
        refuse_argument(c, "555 5.5.4 unknown parameter");
    else if (!c->utf8_ok && !is_ascii(from))
        refuse_argument(c, "553 5.6.7 address needs SMTPUTF8");
    else if (options.mail_refuse)
        reply_bad(c, options.mail_refuse);
    else {
        c->mail = true;
        reply(c, "250 2.1.0 Ok");
    }
}

static void add_rcpt(struct conn *c, const char *rcpt)
{
    size_t size = strlen(rcpt) + 1;
    if (c->rcpts_len + size > RCPTS_SIZE) {
        reply_bad(c, "452 4.5.3 too many recipients");
        return;
    }
    for (size_t i = 0; i < size; i++) /* one that differs in case is the same one */
        c->rcpts[c->rcpts_len + i] =
            (char)(rcpt[i] >= 'A' && rcpt[i] <= 'Z' ? rcpt[i] | 32 : rcpt[i]);
    const char *key = c->rcpts + c->rcpts_len;
    if (fault_hits(FAULT_RCPT_REFUSE, key, 0)) {
        reply_bad(c, "550 5.1.1 no such user");
    } else if (fault_hits(FAULT_RCPT_DEFER, key, options.defer_times)) {
        reply_bad(c, options.defer_reply);
    } else {
        c->rcpts_len += size;
        c->n_rcpts++;
        reply(c, "250 2.1.5 Ok");
    }
}

/* After a refused MAIL, a pipelining client cannot have known. */
static void on_rcpt(struct conn *c, char *arg)
{
    char *rest = "";
    if (!c->mail) {
        if (!c->mail_tried || !options.pipelining) violation(V_BAD_SEQUENCE);
        reply(c, "503 5.5.1 MAIL first");
        return;
    }
    c->rcpt_tried = true;
    char *to = strncasecmp(arg, "TO:", 3) == 0 ? take_path(arg + 3, &rest) : NULL;
    if (!to || !*to)
        refuse_argument(c, "501 5.1.3 RCPT TO:<address> expected");
    else if (*rest)
        refuse_argument(c, "555 5.5.4 unknown parameter");
    else if (!c->utf8_ok && !is_ascii(to))
        refuse_argument(c, "553 5.6.7 address needs SMTPUTF8");
    else
        add_rcpt(c, to);
}

static void on_data(struct conn *c, char *arg)
{
    bool blind = options.pipelining && c->mail_tried; /* sent before a refusal was seen */
    if (*arg) violation(V_BAD_ARGUMENT);
    if (!c->n_rcpts && !(c->rcpt_tried && options.data_354)) {
        if (!(c->rcpt_tried || blind) || !options.pipelining) violation(V_BAD_SEQUENCE);
        reply(c, "503 5.5.1 no valid recipients");
        return;
    }
    if (c->n_rcpts && fault_hits(FAULT_DROP_BEFORE, c->rcpts, 1)) {
        if (fault_coin(FAULT_DROP_BEFORE, c->rcpts)) {
            drop(c);
            return;
        }
        c->drop_in_body = true;
    }
    reply(c, "354 end with a lone dot");
    body_start(c);
    c->phase = PHASE_BODY;
}

static void on_rset(struct conn *c, char *arg)
{
    if (*arg) violation(V_BAD_ARGUMENT);
    reset(c);
    reply(c, "250 2.0.0 Ok");
}

static void on_noop(struct conn *c, char *arg)
{
    (void)arg;
    reply(c, "250 2.0.0 Ok");
}

static void on_vrfy(struct conn *c, char *arg)
{
    (void)arg;
    reply(c, "252 2.0.0 cannot tell");
}

static void on_quit(struct conn *c, char *arg)
{
    if (*arg) violation(V_BAD_ARGUMENT);
    reply(c, "221 2.0.0 Bye");
    c->phase = PHASE_LINGER;
}

static const struct {
    const char *verb;
    void (*handle)(struct conn *c, char *arg);
    bool last; /* nothing may follow it before its reply (RFC 2920 3.1) */
} COMMANDS[] = {
    {"MAIL", on_mail, false}, {"RCPT", on_rcpt, false}, {"DATA", on_data, true},
    {"RSET", on_rset, false}, {"EHLO", on_ehlo, true},  {"HELO", on_helo, true},
    {"QUIT", on_quit, true},  {"NOOP", on_noop, true},  {"VRFY", on_vrfy, true},
};

static void dispatch(struct conn *c, char *command)
{
    size_t verb_len = strcspn(command, " ");
    char *arg = command + verb_len + (command[verb_len] == ' ');
    for (size_t i = 0; i < sizeof COMMANDS / sizeof COMMANDS[0]; i++) {
        if (verb_len != 4 || strncasecmp(command, COMMANDS[i].verb, 4) != 0) continue;
        if (COMMANDS[i].last && c->in_pos < c->in_len) violation(V_NOT_LAST);
        if (c->hostile && COMMANDS[i].handle != on_quit)
            reply(c, "503 5.5.1 only QUIT is left");
        else
            COMMANDS[i].handle(c, arg);
        return;
    }
    violation(V_UNKNOWN_COMMAND);
    reply(c, "500 5.5.2 unknown command");
}

static void command_line(struct conn *c, const char *line, size_t len)
{
    char command[COMMAND_MAX + 1];
    if (c->phase == PHASE_GREETING) {
        violation(V_BEFORE_GREETING);
        c->phase = PHASE_COMMAND;
    } else if (!options.pipelining && c->out_len > c->out_pos) {
        violation(V_PIPELINING);
    }
    if (len > COMMAND_MAX || c->overlong) {
        c->overlong = false;
        violation(V_LONG_COMMAND);
        reply(c, "500 5.5.2 line too long");
        return;
    }
    if (len < 2 || line[len - 2] != '\r') violation(V_BARE_LF);
    while (len && (line[len - 1] == '\n' || line[len - 1] == '\r')) len--;
    memcpy(command, line, len);
    command[len] = '\0';
    if (strlen(command) != len || strchr(command, '\r')) violation(V_BAD_ARGUMENT);
    dispatch(c, command);
}

/* ---- the end of a message */

static void accept_mail(struct conn *c)
{
    int64_t now = now_us();
    const char *rcpt = c->rcpts;
    for (int i = 0; i < c->n_rcpts; i++, rcpt += strlen(rcpt) + 1) record_add(c, rcpt, now);
    if (c->id_len && seen_before(c->id, c->id_len)) stats.duplicates++;
    stats.accepted++;
    stats.bytes += c->body_bytes;
}

static void stall(struct conn *c)
{
    stats.stalled++;
    if (fault_coin(FAULT_STALL, c->rcpts)) {
        stats.stalled_accepted++;
        accept_mail(c);
    }
    c->phase = PHASE_STALLED;
}

static void drop_after_dot(struct conn *c)
{
    if (fault_coin(FAULT_DROP_AFTER, c->rcpts)) {
        stats.dropped_accepted++;
        accept_mail(c);
    }
    drop(c);
}

static void end_message(struct conn *c)
{
    c->phase = PHASE_COMMAND;
    c->messages++;
    if (!c->n_rcpts) {
        if (c->body_bytes) violation(V_BODY_TO_NOBODY);
        reply(c, "554 5.5.1 no valid recipients");
    } else if (fault_hits(FAULT_STALL, c->rcpts, 1)) {
        stall(c);
    } else if (fault_hits(FAULT_DROP_AFTER, c->rcpts, 1)) {
        drop_after_dot(c);
    } else if (fault_hits(FAULT_DOT_REFUSE, c->rcpts, 0)) {
        reply_bad(c, "554 5.7.1 message refused");
    } else if (fault_hits(FAULT_DOT_DEFER, c->rcpts, options.defer_times)) {
        reply_bad(c, "451 4.3.0 try again later");
    } else if (c->body_bytes > MESSAGE_MAX) {
        reply_bad(c, "552 5.3.4 message too big");
    } else {
        accept_mail(c);
        reply(c, "250 2.0.0 Ok");
    }
    reset(c);
}

void session_line(struct conn *c, const char *line, size_t len)
{
    if (c->phase != PHASE_BODY)
        command_line(c, line, len);
    else if (body_line(c, line, len))
        end_message(c);
    else if (c->drop_in_body)
        drop(c);
}

void session_overlong(struct conn *c)
{
    if (!c->overlong && c->phase == PHASE_BODY) violation(V_LONG_LINE);
    c->overlong = true;
    if (c->phase == PHASE_BODY) c->body_bytes += IN_SIZE;
}
