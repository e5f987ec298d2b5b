/* The command line. */
#include "fakesmtp.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options options = {
    .pipelining = true, .defer_times = 1, .defer_reply = "450 4.2.0 mailbox busy"};

static const char USAGE[] =
    "usage: fakesmtp [OPTION...]\n"
    "An SMTP server for tests on 127.0.0.1. Prints port=N when it is ready. SIGUSR1: one line of\n"
    "JSON with its counts. SIGUSR2: read nothing more, and again: go on; it prints reading=no or\n"
    "reading=yes. SIGTERM: the counts, then the end. A SHARE is 0 to 1 of the recipients, the\n"
    "same ones for the same --seed.\n"
    "\n"
    "  --port N                 0, the default, picks a free one\n"
    "  --record FILE            append message-id, connection, recipient and CLOCK_MONOTONIC us\n"
    "                           of every accepted mail, separated by tabs\n"
    "  --seed N\n"
    "  --delay-ms N             every flight of replies leaves N ms after the commands came\n"
    "  --no-pipelining          do not announce it\n"
    "  --multiline              every reply has two lines\n"
    "  --smtputf8               announce it\n"
    "  --slow-body              read contents slowly, with a small window\n"
    "  --greeting REPLY         a code, or a code and text; 421 closes, 5yz allows only QUIT\n"
    "  --stall-after N          read nothing more once N mails are accepted, as after SIGUSR2\n"
    "  --max-connections N      more get 421\n"
    "  --max-messages N         per connection; then 421\n"
    "  --mail-refuse REPLY      to every MAIL FROM: a code, or a code and text\n"
    "  --rcpt-refuse SHARE      550 5.1.1\n"
    "  --rcpt-defer SHARE       450 4.2.0, for the first --defer-times attempts\n"
    "  --rcpt-defer-reply REPLY to those: a code, or a code and text\n"
    "  --data-354-after-refused-rcpt\n"
    "  --dot-refuse SHARE       554 5.7.1\n"
    "  --dot-defer SHARE        451 4.3.0, for the first --defer-times attempts\n"
    "  --defer-times K          default 1; 0: always\n"
    "  --drop-before-dot SHARE  at first: close on DATA, or inside the content\n"
    "  --drop-after-dot SHARE   at first: close instead of answering; half of them accepted\n"
    "  --stall-after-dot SHARE  at first: never answer; half of them accepted\n";

enum {
    OPT_PORT = 256,
    OPT_RECORD,
    OPT_SEED,
    OPT_DELAY,
    OPT_NO_PIPELINING,
    OPT_MULTILINE,
    OPT_SMTPUTF8,
    OPT_SLOW_BODY,
    OPT_GREETING,
    OPT_STALL_AFTER,
    OPT_MAX_CONNECTIONS,
    OPT_MAX_MESSAGES,
    OPT_MAIL_REFUSE,
    OPT_DATA_354,
    OPT_DEFER_TIMES,
    OPT_DEFER_REPLY,
    OPT_FAULT /* + enum fault */
};

static const struct option LONG[] = {
    {"help", no_argument, NULL, 'h'},
    {"port", required_argument, NULL, OPT_PORT},
    {"record", required_argument, NULL, OPT_RECORD},
    {"seed", required_argument, NULL, OPT_SEED},
    {"delay-ms", required_argument, NULL, OPT_DELAY},
    {"no-pipelining", no_argument, NULL, OPT_NO_PIPELINING},
    {"multiline", no_argument, NULL, OPT_MULTILINE},
    {"smtputf8", no_argument, NULL, OPT_SMTPUTF8},
    {"slow-body", no_argument, NULL, OPT_SLOW_BODY},
    {"greeting", required_argument, NULL, OPT_GREETING},
    {"stall-after", required_argument, NULL, OPT_STALL_AFTER},
    {"max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS},
    {"max-messages", required_argument, NULL, OPT_MAX_MESSAGES},
    {"mail-refuse", required_argument, NULL, OPT_MAIL_REFUSE},
    {"data-354-after-refused-rcpt", no_argument, NULL, OPT_DATA_354},
    {"defer-times", required_argument, NULL, OPT_DEFER_TIMES},
    {"rcpt-defer", required_argument, NULL, OPT_FAULT + FAULT_RCPT_DEFER},
    {"rcpt-defer-reply", required_argument, NULL, OPT_DEFER_REPLY},
    {"rcpt-refuse", required_argument, NULL, OPT_FAULT + FAULT_RCPT_REFUSE},
    {"dot-defer", required_argument, NULL, OPT_FAULT + FAULT_DOT_DEFER},
    {"dot-refuse", required_argument, NULL, OPT_FAULT + FAULT_DOT_REFUSE},
    {"drop-after-dot", required_argument, NULL, OPT_FAULT + FAULT_DROP_AFTER},
    {"drop-before-dot", required_argument, NULL, OPT_FAULT + FAULT_DROP_BEFORE},
    {"stall-after-dot", required_argument, NULL, OPT_FAULT + FAULT_STALL},
    {NULL, 0, NULL, 0},
};

static _Noreturn void wrong(const char *name, const char *text)
{
    fprintf(stderr, "fakesmtp: --%s cannot be '%s'; see --help\n", name, text);
    exit(2);
}

static long number(const char *name, const char *text, long max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0 || value > max) wrong(name, text);
    return value;
}

static double share(const char *name, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= 1)) wrong(name, text);
    return value;
}

/* A bare code is given an enhanced one and a text; the storage lives as long as the program. */
static const char *whole_reply(const char *name, const char *text)
{
    char *end;
    long code = strtol(text, &end, 10);
    if (end != text + 3 || code < 200 || code > 599 || (*end && *end != ' ')) wrong(name, text);
    if (strlen(text) > 500) wrong(name, "more than 500 bytes");
    if (*end) return text;
    char *whole = NULL;
    if (asprintf(&whole, "%s %c.7.0 as told", text, text[0]) < 0) abort();
    return whole;
}

static void take(int opt, const char *name)
{
    switch (opt) {
    case OPT_PORT:
        options.port = (int)number(name, optarg, 65535);
        break;
    case OPT_RECORD:
        options.record = optarg;
        break;
    case OPT_SEED:
        options.seed = (uint64_t)number(name, optarg, 1000000000);
        break;
    case OPT_DELAY:
        options.delay_ms = (int)number(name, optarg, 3600000);
        break;
    case OPT_NO_PIPELINING:
        options.pipelining = false;
        break;
    case OPT_MULTILINE:
        options.multiline = true;
        break;
    case OPT_SMTPUTF8:
        options.smtputf8 = true;
        break;
    case OPT_SLOW_BODY:
        options.slow_body = true;
        break;
    case OPT_GREETING:
        options.greeting = whole_reply(name, optarg);
        break;
    case OPT_STALL_AFTER:
        options.stall_after = (uint64_t)number(name, optarg, 1000000000);
        break;
    case OPT_MAX_CONNECTIONS:
        options.max_connections = (int)number(name, optarg, 1000000);
        break;
    case OPT_MAX_MESSAGES:
        options.max_messages = (int)number(name, optarg, 1000000000);
        break;
    case OPT_MAIL_REFUSE:
        options.mail_refuse = whole_reply(name, optarg);
        break;
    case OPT_DATA_354:
        options.data_354 = true;
        break;
    case OPT_DEFER_TIMES:
        options.defer_times = (int)number(name, optarg, 1000000);
        break;
    case OPT_DEFER_REPLY:
        options.defer_reply = whole_reply(name, optarg);
        break;
    default:
        options.share[opt - OPT_FAULT] = share(name, optarg);
        break;
    }
}

void options_read(int argc, char **argv)
{
    int opt, index = 0;
    while ((opt = getopt_long(argc, argv, "h", LONG, &index)) != -1) {
        if (opt == 'h') {
            fputs(USAGE, stdout);
            exit(0);
        }
        if (opt == '?') exit(2);
        take(opt, LONG[index].name);
    }
    if (optind < argc) {
        fprintf(stderr, "fakesmtp: takes no argument, got '%s'; see --help\n", argv[optind]);
        exit(2);
    }
}
