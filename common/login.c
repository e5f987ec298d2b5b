/* Passwords that change while a program runs. */
#include "common/login.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

void login_init(struct login *l, const struct settings *settings, enum login_to to)
{
    *l = (struct login){.settings = settings, .to = to};
}

void login_init_transport(struct login *l, const struct settings *settings,
                          const struct settings_transport *transport)
{
    *l = (struct login){.settings = settings, .to = LOGIN_TRANSPORT, .transport = transport};
}

static void forget(struct login *l)
{
    if (l->password) explicit_bzero(l->password, strlen(l->password));
    free(l->password);
    l->password = NULL;
}

void login_fini(struct login *l)
{
    forget(l);
}

/* NULL: a transport that is not in these settings. */
static const char *password_of(const struct settings *settings, const struct login *l)
{
    if (l->to == LOGIN_DATABASE) return settings->database.password;
    if (l->to == LOGIN_BROKER) return settings->broker.password;
    const struct settings_transport *t = settings_find_transport(settings, l->transport->name);
    return t ? t->password : NULL;
}

static const char *name_of(const struct login *l)
{
    return l->to == LOGIN_DATABASE ? "database"
           : l->to == LOGIN_BROKER ? "broker"
                                   : l->transport->name;
}

const char *login_password(const struct login *l)
{
    return l->password ? l->password : password_of(l->settings, l);
}

/* From wherever it comes: the file itself, a file that it names, or one that a variable names. */
static void read_again(struct login *l)
{
    struct settings now;
    if (!l->settings->file) return;
    struct err e = settings_read(l->settings->file, &now);
    if (e.code) {
        log_warn("login", "msg=\"the settings cannot be read again\" err=\"%s\"", e.text);
        return;
    }
    const char *password = password_of(&now, l);
    if (password && strcmp(password, login_password(l)) != 0) {
        log_info("login", "msg=\"the password has changed, it is used from now on\" of=%s",
                 name_of(l));
        forget(l);
        l->password = mem_copy_text(password);
    }
    settings_free(&now);
}

bool login_refused(struct login *l)
{
    int64_t now_us = clock_boot_us();
    bool first = !l->refused_since_us;
    if (first) l->refused_since_us = now_us;
    read_again(l);
    return first || now_us - l->refused_since_us < l->settings->start_limit_ms * 1000;
}

void login_accepted(struct login *l)
{
    l->refused_since_us = 0;
}
