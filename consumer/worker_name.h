/* The name by which a worker is known in ledger, broker and log. Pure but for worker_name_choose.
 */
#ifndef MAILFLOCK_WORKER_NAME_H
#define MAILFLOCK_WORKER_NAME_H

/* What the ledger's columns chunk.owner and delivery.worker hold, and the NUL. */
enum { WORKER_NAME_SIZE = 64 + 1 };

/* worker_name_make: "host-pid", in printable ASCII. A host name that is too long for it, or has
 * other characters, keeps its end, which is what differs between the pods of a set, behind eight
 * digits of a hash of the whole. */
void worker_name_make(char name[WORKER_NAME_SIZE], const char *host, long pid);

/* worker_name_choose: configured (worker.name) where it is not "", or one made of this host's name
 * and this process. */
void worker_name_choose(char name[WORKER_NAME_SIZE], const char *configured);

#endif
