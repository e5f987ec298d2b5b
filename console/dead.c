/* mailflock dead: the letters that no worker could make anything of, or that killed their workers;
 * the operator looks at them, gives them back to their queue, or ends them. One letter after the
 * other, in an order that lets a command that broke off be repeated: the ledger first, then a
 * confirmed copy, and only then the letter leaves the queue (PROTOCOL C10). */
#include "console/dead.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/start.h"
#include "console/console.h"

enum { BODY_SHOWN_MAX = 64 * 1024, OUT_MAX = 1024 * 1024 };

#define HINT_DROP  "'mailflock dead drop' removes the letter"
#define HINT_FORCE "it would come straight back: --force requeues it all the same"

/* One command under way. */
struct dead {
    struct console *console;
    struct dead_queue *queue;
    struct dead_choice choice;
    bool json, force;
    int n_read, n_chosen, n_refused;
    struct buf out;
};

typedef struct err (*letter_action)(struct dead *d, const struct dead_letter *letter);

struct dead_choice dead_choice_parse(const char *text)
{
    if (strcmp(text, "all") == 0) return (struct dead_choice){.all = true};
    if (!*text || strspn(text, "0123456789") != strlen(text))
        return (struct dead_choice){.id = text};
    unsigned long number = strtoul(text, NULL, 10);
    return (struct dead_choice){.number = number && number < INT_MAX ? (int)number : INT_MAX};
}

static bool is_chosen(const struct dead_choice *choice, const struct dead_letter *letter)
{
    if (choice->all) return true;
    return choice->id ? strcmp(letter->id, choice->id) == 0 : letter->number == choice->number;
}

static void print_out(struct dead *d)
{
    fwrite(d->out.data, 1, d->out.len, stdout);
    buf_reset(&d->out);
}

static struct err list_letter(struct dead *d, const struct dead_letter *letter)
{
    if (d->json && letter->number > 1) buf_append_char(&d->out, ',');
    if (d->json)
        dead_append_json(&d->out, letter);
    else
        dead_append_line(&d->out, letter);
    print_out(d);
    return err_none();
}

static struct err show_letter(struct dead *d, const struct dead_letter *letter)
{
    static const char *const headers[] = {"x-mailflock-reason",   "x-first-death-reason",
                                          "x-first-death-queue",  "x-first-death-exchange",
                                          "x-last-death-reason",  "x-last-death-queue",
                                          "x-last-death-exchange"};
    char value[DEAD_REASON_SIZE];
    dead_append_head(&d->out, letter);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        if (dead_queue_header(d->queue, headers[i], value, sizeof value))
            dead_append_header(&d->out, headers[i], value);
    buf_append_char(&d->out, '\n');
    if (letter->body) dead_append_body(&d->out, letter->body, letter->body_len, BODY_SHOWN_MAX);
    buf_append_char(&d->out, '\n');
    print_out(d);
    return err_none();
}

static struct err refuse(struct dead *d, const struct dead_letter *letter, const char *why,
                         const char *hint)
{
    char name[DEAD_NAME_SIZE];
    fflush(stdout);
    fprintf(stderr, "mailflock: dead letter %s is not requeued: %s; %s\n", dead_name(name, letter),
            why, hint);
    d->n_refused++;
    return err_none();
}

static struct err give_back(struct dead *d, const struct dead_letter *letter, const char *what)
{
    char name[DEAD_NAME_SIZE], key[DEAD_TEXT_SIZE];
    TRY(dead_queue_publish(d->queue, letter));
    TRY(dead_queue_ack(d->queue));
    printf("dead letter %s: requeued to " BROKER_EXCHANGE ".%s: %s\n", dead_name(name, letter),
           console_text(key, sizeof key, letter->key), what);
    return err_none();
}

/* Others may have bound keys of their own to the dead letters. */
static bool is_of_lane(const char *key)
{
    if (strcmp(key, START_CONTACTS_LANE) == 0) return true;
    for (int i = 0; START_LANES[i]; i++) {
        size_t len = strlen(START_LANES[i]);
        if (strncmp(key, START_LANES[i], len) == 0 && (!key[len] || key[len] == '.'))
            return broker_key_valid(key);
    }
    return false;
}

/* A letter of an earlier version has the lane alone for its key. Nobody publishes there any more.
 */
static struct err bring_up_to_date(struct dead *d, const struct dead_letter *letter)
{
    char key[BROKER_KEY_SIZE];
    if (!letter->is_chunk || strchr(letter->key, '.')) return err_none();
    TRY(dead_ledger_key(d->console->db, letter->chunk.run, key));
    if (*key) dead_queue_set_key(d->queue, key);
    return err_none();
}

static struct err requeue_letter(struct dead *d, const struct dead_letter *letter)
{
    struct dead_finding f;
    if (!letter->body) return refuse(d, letter, letter->malformed.text, HINT_DROP);
    if (!is_of_lane(letter->key)) return refuse(d, letter, "it comes from no lane", HINT_DROP);
    if (!letter->is_chunk && !d->force)
        return refuse(d, letter, letter->malformed.text, HINT_FORCE);
    TRY(bring_up_to_date(d, letter));
    TRY(dead_queue_reach(d->queue, letter)); /* what may fail while nothing has changed yet */
    if (!letter->is_chunk) return give_back(d, letter, "no chunk, as it came");
    TRY(dead_ledger_requeue(d->console->db, &letter->chunk, &f));
    if (f.verdict == DEAD_OVER) return refuse(d, letter, f.why, HINT_DROP);
    if (f.verdict == DEAD_NO_CHUNK && !d->force) return refuse(d, letter, f.why, HINT_FORCE);
    return give_back(d, letter,
                     f.verdict == DEAD_STUCK ? "its chunk was stuck and is queued again" : f.why);
}

static struct err drop_letter(struct dead *d, const struct dead_letter *letter)
{
    char name[DEAD_NAME_SIZE];
    struct dead_finding f = {.why = letter->malformed.text};
    if (letter->is_chunk) TRY(dead_ledger_drop(d->console->db, &letter->chunk, &f));
    TRY(dead_queue_ack(d->queue));
    printf("dead letter %s: dropped: ", dead_name(name, letter));
    if (!letter->is_chunk)
        printf("no chunk, %zu bytes: %s\n", letter->body_len, f.why);
    else if (f.verdict == DEAD_STUCK)
        printf("its chunk is done: %lld recipients skipped, %lld unknown\n", (long long)f.skipped,
               (long long)f.unknown);
    else
        printf("%u recipients: %s%s\n", letter->chunk.n, f.why,
               f.verdict == DEAD_OPEN ? ", and goes on without this letter" : "");
    return err_none();
}

static struct err for_each(struct dead *d, letter_action action)
{
    const struct dead_letter *letter;
    for (;;) {
        TRY(dead_queue_next(d->queue, &letter));
        if (!letter) return err_none();
        d->n_read = letter->number;
        if (!is_chosen(&d->choice, letter)) continue;
        d->n_chosen++;
        struct err e = action(d, letter);
        char name[DEAD_NAME_SIZE];
        if (e.code) return err_wrap(e, "dead letter %s is still there", dead_name(name, letter));
    }
}

/* What the command says at the end, when nothing went wrong. */
static struct err conclude(struct dead *d, const char *name, unsigned count)
{
    unsigned more = count - (unsigned)d->n_read;
    if (!d->choice.all && !d->n_chosen)
        return err_make(
            ERR_STATE, 0,
            "there is no dead letter %.100s: the queue has %u; see 'mailflock dead list'", name,
            count);
    if (d->json)
        printf("],\"more\":%u}\n", more);
    else if (!count)
        puts("no dead letters");
    else if (d->choice.all && more)
        printf("... and %u more: settle these first\n", more);
    return err_none();
}

static struct err settle(struct dead *d, unsigned count, letter_action action)
{
    if (d->json) printf("{\"letters\":[");
    if (action == list_letter && !d->json && count)
        printf("%6s %-20s %-16s %10s %10s %s\n", "number", "id", "queue", "bytes", "recipients",
               "reason");
    return for_each(d, action);
}

/* The ledger is opened last: its session would not outlive a long wait for the broker. */
static struct err through_queue(struct dead *d, const char *name, letter_action action,
                                bool needs_ledger)
{
    struct console *c = d->console;
    TRY(console_read_settings(c));
    TRY(dead_queue_open(&d->queue, &c->settings));
    unsigned count = dead_queue_count(d->queue);
    c->changes = true;
    struct err e = needs_ledger ? console_open_ledger(c) : err_none();
    if (!e.code) e = settle(d, count, action);
    struct err closed = dead_queue_close(d->queue);
    if (!e.code) e = closed;
    return e.code ? e : conclude(d, name, count);
}

static const struct {
    const char *word;
    letter_action run;
    bool has_choice, may_be_all, has_json, has_force, needs_ledger;
} ACTIONS[] = {
    {"list", list_letter, .has_json = true},
    {"show", show_letter, .has_choice = true},
    {"requeue", requeue_letter, .has_choice = true, .may_be_all = true, .has_force = true,
     .needs_ledger = true},
    {"drop", drop_letter, .has_choice = true, .may_be_all = true, .needs_ledger = true},
};
enum { N_ACTIONS = sizeof ACTIONS / sizeof ACTIONS[0] };

int command_dead(struct console *c, int argc, char **argv)
{
    struct dead d = {.console = c};
    const struct console_option options[] = {{"--json", &d.json, NULL},
                                             {"--force", &d.force, NULL}};
    int i = 0;
    if (!console_options(&argc, argv, options, 2, 1, 2)) return CONSOLE_USAGE;
    while (i < N_ACTIONS && strcmp(ACTIONS[i].word, argv[1]) != 0) i++;
    if (i == N_ACTIONS)
        return console_usage(argv[0], "there is no '%.100s', only list, show, requeue and drop",
                             argv[1]);
    if (ACTIONS[i].has_choice != (argc == 3))
        return console_usage(argv[0], argc == 3 ? "%s takes no argument" : "which one shall I %s",
                             argv[1]);
    if ((d.json && !ACTIONS[i].has_json) || (d.force && !ACTIONS[i].has_force))
        return console_usage(argv[0], "%s has no such option", argv[1]);
    d.choice = dead_choice_parse(argc == 3 ? argv[2] : "all");
    if (argc == 3 && d.choice.all && !ACTIONS[i].may_be_all)
        return console_usage(argv[0], "%s takes one letter's number or id", argv[1]);

    buf_init(&d.out, OUT_MAX);
    struct err e =
        through_queue(&d, argc == 3 ? argv[2] : "", ACTIONS[i].run, ACTIONS[i].needs_ledger);
    buf_fini(&d.out);
    if (e.code) return console_fail(&e);
    return d.n_refused ? CONSOLE_FAILED : CONSOLE_DONE;
}
