/* mailflock-consumer --contacts: keeps the contact cache fresh from the events of a contact
 * service. A process of its own: nothing that goes wrong here disturbs sending, and one is enough
 * for any number of workers. */
#ifndef MAILFLOCK_CONTACTS_H
#define MAILFLOCK_CONTACTS_H

#include "common/err.h"
#include "common/settings.h"

/* contacts_run: returns after a signal that asks for the end, with what was in hand stored or given
 * back. An error: it could not begin. After that it goes on whatever breaks. */
struct err contacts_run(const struct settings *settings) MUST_CHECK;

#endif
