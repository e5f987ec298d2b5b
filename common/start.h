/* What every program does first: reach the database and the broker, with patience. */
#ifndef MAILFLOCK_START_H
#define MAILFLOCK_START_H

#include "common/broker.h"
#include "common/db.h"
#include "common/err.h"
#include "common/settings.h"

/* start_db_config: the ledger's database as db.h wants it; start_db_config_at: another one. The
 * texts stay borrowed. */
struct db_config start_db_config(const struct settings *settings, const char *program);
struct db_config start_db_config_at(const struct settings_database *d, const char *program);

/* start_db, start_broker: connect, trying again with jittered backoff until settings.start_limit
 * has passed since the first try; what waiting cannot mend (a wrong password) fails at once. Each
 * failed try is logged once as a warning. */
struct err start_db(const struct settings *settings, const struct db_config *config,
                    struct db **out) MUST_CHECK;
struct err start_broker(const struct settings *settings, const struct broker_config *config,
                        struct broker **out) MUST_CHECK;

/* start_broker_config: the settings as broker.h wants them. */
struct broker_config start_broker_config(const struct settings *settings, const char *name);

/* Everyone who declares a queue must say the same limit. It is far above the ledger's own verdict
 * on poison (PROTOCOL C11): a message in hand is counted when its worker dies, whoever is to blame.
 */
enum { START_DELIVERY_LIMIT = 1000 };

/* The delay queue, in seconds, of what cannot be used now. */
enum { START_WAIT_DELAY_S = 15 };

/* How far ahead next_due lies when a message begins to wait for a worker: after it the chunk is
 * overdue (PROTOCOL P6). */
enum { START_OVERDUE_S = 600 };

/* The lanes, NULL after the last: one of its own for transactional mail, so that it never waits
 * behind a campaign. */
extern const char *const START_LANES[];

/* start_key: the routing key of a campaign's chunks, "<lane>.<transport>", into out; returns out.
 */
const char *start_key(char out[BROKER_KEY_SIZE], const char *lane, const char *transport);

/* The same two names in SQL, from a column with a run's content. */
#define START_LANE_OF(content)      "JSON_UNQUOTE(JSON_EXTRACT(" content ", '$.lane'))"
#define START_TRANSPORT_OF(content) "JSON_UNQUOTE(JSON_EXTRACT(" content ", '$.transport'))"

/* start_queue: declares queue mailflock.<key> as all programs do. Idempotent. */
struct err start_queue(struct broker *broker, const char *key) MUST_CHECK;

/* start_delays: declares the delay queues that workers need: for releases (1 s), waiting (15 s) and
 * a foreign lease; and the given ones (seconds). Idempotent. */
struct err start_delays(const struct settings *settings, struct broker *broker, const int *delays_s,
                        int n_delays) MUST_CHECK;

/* The queue mailflock.contacts, and the routing keys of the events that go there. */
#define START_CONTACTS_LANE   "contacts"
#define START_CONTACT_UPDATED "contact.updated"
#define START_CONTACT_DELETED "contact.deleted"

/* start_contacts: declares the queue and binds it to the exchange of the settings. Idempotent. */
struct err start_contacts(const struct settings *settings, struct broker *broker) MUST_CHECK;

/* start_lease_s: the lease in whole seconds, rounded up: the delay queue for a held chunk. */
int start_lease_s(const struct settings *settings);

#endif
