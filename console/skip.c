/* mailflock skip: gives up what is left of one chunk, where no message of it can come any more: the
 * message is lost, and the audience is another one than when the chunk was begun, so that nobody
 * can say who is meant by its open positions. As everywhere, what may have been sent is unknown.
 * The row is locked, and seq moves: whoever still believes to hold the chunk is fenced off (C5). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/db_again.h"
#include "console/console.h"
#include "console/end_chunk.h"
#include "console/tally.h"

static struct err skip(struct db *db, void *context)
{
    struct end_chunk *c = context;
    bool found;
    TRY(end_chunk_read(db, c, true, &found));
    if (!found) return err_make(ERR_STATE, 0, "run %" PRIu64 " has no chunk %u", c->run, c->no);
    if (strcmp(c->state, "done") == 0)
        return err_make(ERR_STATE, 0, "chunk %u of run %" PRIu64 " is done: nothing to skip", c->no,
                        c->run);
    if (c->leased)
        return err_make(ERR_STATE, 0,
                        "chunk %u of run %" PRIu64 " is in a worker's hands: nothing was changed",
                        c->no, c->run);
    return end_chunk_settle(db, c, NULL, "given up by the operator");
}

static struct err run_command(struct console *c, const char *name, uint32_t chunk_no)
{
    struct tally run;
    c->changes = true;
    TRY(console_open(c));
    TRY(tally_find(c->db, name, &run));
    struct end_chunk lost = {.run = run.id, .no = chunk_no};
    TRY(db_transaction(c->db, skip, &lost));
    printf("run %" PRIu64 ", chunk %u: done: %" PRId64 " recipients skipped, %" PRId64 " unknown\n",
           lost.run, lost.no, lost.skipped, lost.unknown);
    return err_none();
}

int command_skip(struct console *c, int argc, char **argv)
{
    const char *chunk = NULL;
    uint32_t number;
    const struct console_option options[] = {{"--chunk", NULL, &chunk}};
    if (!console_options(&argc, argv, options, 1, 1, 1)) return CONSOLE_USAGE;
    if (!chunk || !console_number(chunk, 0, UINT32_MAX, &number))
        return console_usage(argv[0], "--chunk takes the number of a chunk, from 0");
    struct err e = run_command(c, argv[1], number);
    return e.code ? console_fail(&e) : CONSOLE_DONE;
}
