/* One row of an audience becomes one recipient of a chunk message. Pure. */
#ifndef MAILFLOCK_RECIPIENT_H
#define MAILFLOCK_RECIPIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/chunk.h"
#include "common/db.h"
#include "common/value.h"

enum { RECIPIENT_VARS_MAX = 1024 * 1024 }; /* bytes of one recipient's variables as JSON */

/* items[id] and items[email] are variables like the others, too. email is n where there is no such
 * column: then the address is the contact's. */
struct recipient_columns {
    const struct db_column *items;
    unsigned n, id, email;
};

/* What a contact service says of a recipient: variables, which come before columns of the same name
 * (but for the id), or why there can be no mail. */
struct contact {
    const struct value *vars; /* a map; NULL where fail is given */
    const char *fail;         /* at most CHUNK_FAIL_MAX bytes, or NULL */
};

/* recipient_id_problem: NULL where the cell can be a recipient's id, else a static reason: NULL,
 * empty, too long, no text. */
const char *recipient_id_problem(struct db_cell id);

/* recipient_write: appends the row to a message between chunk_write_start and chunk_write_end. The
 * id has been checked. contact is NULL where no service was asked. An address or a variable that
 * cannot be used is no error: the recipient is written with the reason why it fails, without
 * variables, and its address is made fit to be shown: valid UTF-8 of at most CHUNK_TO_MAX bytes,
 * other bytes as question marks. False for such a one. */
bool recipient_write(struct buf *body, uint32_t position, const struct recipient_columns *columns,
                     const struct db_cell *row, const struct contact *contact);

/* recipient_write_failed: appends a recipient that is to be recorded as failed for that reason. */
void recipient_write_failed(struct buf *body, uint32_t position, struct db_cell id,
                            struct db_cell to, const char *reason);

/* recipient_read_back: the row as a worker gets it, through a message of its own: it is
 * out->recipients[0]. The caller frees with chunk_fini. */
struct err recipient_read_back(const struct recipient_columns *columns, const struct db_cell *row,
                               const struct contact *contact, struct chunk_message *out) MUST_CHECK;

#endif
