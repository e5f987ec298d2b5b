/* A login that a server refuses while a program runs: the password may have been rotated. The
 * settings are read again, and the new password is used for the next try. What is refused for
 * longer than start_limit is given up. Each connection has one of its own,
 * in its thread: reading settings is reentrant. */
#ifndef MAILFLOCK_LOGIN_H
#define MAILFLOCK_LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/settings.h"

enum login_to { LOGIN_DATABASE, LOGIN_BROKER, LOGIN_TRANSPORT };

struct login {
    const struct settings *settings; /* borrowed */
    enum login_to to;
    const struct settings_transport *transport; /* of LOGIN_TRANSPORT, borrowed from the settings */
    char *password;                             /* owned: as it was last read; NULL = never again */
    int64_t refused_since_us;                   /* CLOCK_BOOTTIME; 0 = the last one was accepted */
};

void login_init(struct login *l, const struct settings *settings, enum login_to to);
void login_init_transport(struct login *l, const struct settings *settings,
                          const struct settings_transport *transport);
void login_fini(struct login *l);

/* login_refused: to be called for each refusal. True: try again with login_password. False: it has
 * been refused for start_limit, and at least once with what the settings say now. */
bool login_refused(struct login *l);

/* login_accepted: the server took it, or was not there to refuse it. */
void login_accepted(struct login *l);

/* login_password: borrowed until the next login_refused. */
const char *login_password(const struct login *l);

#endif
