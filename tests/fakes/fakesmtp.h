/* fakesmtp: an SMTP server for tests. Fast, strict about the client's manners, and able to refuse,
 * defer, delay, stall and drop as told on its command line. One thread; everything below is its. */
#ifndef FAKESMTP_H
#define FAKESMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IN_SIZE = 65536,
    OUT_SIZE = 16384,
    OUT_RESERVE = 2048, /* room for the replies to one line; without it the line has to wait */
    ADDRESS_MAX = 512,
    RCPTS_SIZE = 8192, /* of one mail */
    MESSAGE_ID_MAX = 255,
    MESSAGE_MAX = 52428800,
    COMMAND_MAX = 565, /* RFC 5321 4.5.3.1.4 and what SIZE, 8BITMIME and SMTPUTF8 add */
    LINE_MAX_LEN = 1000,
};

/* Each has a share of the recipients: always the same ones for the same seed. */
enum fault {
    FAULT_RCPT_DEFER,
    FAULT_RCPT_REFUSE,
    FAULT_DOT_DEFER,
    FAULT_DOT_REFUSE,
    FAULT_DROP_AFTER,
    FAULT_DROP_BEFORE,
    FAULT_STALL,
    FAULTS
};

struct options {
    int port;
    const char *record; /* NULL = none; appended to */
    bool pipelining, multiline, slow_body, smtputf8, data_354;
    int delay_ms;
    double share[FAULTS];
    int defer_times;
    const char *defer_reply;
    uint64_t seed;
    uint64_t stall_after;               /* 0 = never */
    const char *mail_refuse, *greeting; /* a whole reply without CRLF, or NULL */
    int max_messages, max_connections;  /* 0 = no limit */
};

/* What a client must not do; counted by kind. */
enum violation {
    V_BEFORE_GREETING,
    V_NESTED_MAIL,
    V_BAD_SEQUENCE,
    V_PIPELINING, /* not announced */
    V_NOT_LAST,   /* something behind EHLO, DATA, NOOP or QUIT in the same write */
    V_BARE_LF,
    V_BARE_CR,
    V_LONG_LINE,
    V_LONG_COMMAND,
    V_UNKNOWN_COMMAND,
    V_BAD_ARGUMENT,
    V_UNSTUFFED_DOT,
    V_EIGHT_BIT,      /* not declared with BODY=8BITMIME or SMTPUTF8 */
    V_BODY_TO_NOBODY, /* content where every recipient was refused */
    VIOLATIONS
};

struct stats {
    uint64_t accepted, connections, open, refused, deferred, dropped, stalled, duplicates;
    uint64_t dropped_accepted, stalled_accepted; /* recorded, but the client was not told */
    uint64_t max_open, max_pipeline, bytes;
    uint64_t violations[VIOLATIONS];
};

enum phase {
    PHASE_GREETING, /* not sent yet */
    PHASE_COMMAND,
    PHASE_BODY,
    PHASE_STALLED, /* reads nothing any more */
    PHASE_LINGER,  /* the last reply is on its way; what the client still says is not read */
    PHASE_DROP     /* closed as soon as the earlier replies are out */
};

struct conn {
    int fd;
    uint32_t slot, generation, interest;
    uint64_t number;
    enum phase phase;
    bool shut, hostile; /* hostile: greeted with 5yz */
    bool helo, mail_tried, mail, eight_bit_ok, utf8_ok, rcpt_tried;
    bool overlong, in_header, id_folded, after_crlf, drop_in_body, eight_bit_seen;
    int messages, flight_replies;
    int n_rcpts;
    size_t rcpts_len, id_len, body_bytes;
    size_t in_pos, in_len;
    size_t out_pos, out_len; /* not sent yet is between them; */
    size_t due;              /* so many bytes of it may leave, the rest waits for its delay */
    int flights;             /* waiting for their delay */
    char id[MESSAGE_ID_MAX + 1];
    char rcpts[RCPTS_SIZE]; /* accepted ones, each ended by NUL */
    char out[OUT_SIZE];
    char in[IN_SIZE];
};

extern struct options options;
extern struct stats stats;

/* fakesmtp_options.c: fills options; ends the program with 2 and a message where they are wrong. */
void options_read(int argc, char **argv);

/* fakesmtp_session.c: the dialogue. session_line takes one line with its LF; session_overlong says
 * that a line outgrew the buffer, and its beginning is gone. */
void session_greet(struct conn *c);
void session_refuse(struct conn *c); /* too many connections */
void session_line(struct conn *c, const char *line, size_t len);
void session_overlong(struct conn *c);

/* reply: queues one reply; text is code, blank and text, without CRLF. */
void reply(struct conn *c, const char *text);
void violation(enum violation kind);

/* fakesmtp_body.c: one line of a message's content; true where it was the final dot. */
bool body_line(struct conn *c, const char *line, size_t len);
void body_start(struct conn *c);

/* fakesmtp_faults.c. fault_hits: whether rcpt is among the share of fault, and its first `times`
 * encounters with it are not over (0 = always); counts the encounter. fault_coin: an even, fixed
 * choice for this recipient. seen_before: whether id was accepted already; remembers it. */
bool fault_hits(enum fault fault, const char *rcpt, int times);
bool fault_coin(enum fault fault, const char *rcpt);
bool seen_before(const char *id, size_t len);

/* fakesmtp_record.c: the record file. record_due: microseconds until a flush is due, -1 = nothing
 * to flush. */
void record_open(const char *path);
void record_add(const struct conn *c, const char *rcpt, int64_t now_us);
void record_flush(void);
int64_t record_due(int64_t now_us);

int64_t now_us(void); /* CLOCK_MONOTONIC */

#endif
