/* config/mailflock.cfg: its defaults, the rules between its keys, and its documentation. */
#include "config_fixture.h"

#include <fcntl.h>

#include "common/settings.h"

#define RELAY(keys) "transports = {\n relay = {\n url = \"smtp://mx.example.com\"; " keys " }; };\n"

static struct err read_text(const char *text, struct settings *s)
{
    return settings_read(fixture_write("mailflock.cfg", text), s);
}

static void an_empty_file_gives_the_defaults(void **state)
{
    (void)state;
    struct settings s;
    struct err e = read_text("", &s);
    assert_string_equal(e.text, "");
    assert_string_equal(s.broker.host, "127.0.0.1");
    assert_int_equal(s.broker.port, 5672);
    assert_string_equal(s.broker.vhost, "/");
    assert_false(s.broker.tls);
    assert_true(s.broker.tls_verify);
    assert_int_equal(s.broker.heartbeat_ms, 30000);
    assert_int_equal(s.database.port, 3306);
    assert_string_equal(s.database.socket, "");
    assert_string_equal(s.database.name, "mailflock");
    assert_int_equal(s.start_limit_ms, 60000);
    assert_int_equal(s.log.level, LOG_LEVEL_INFO);
    assert_int_equal(s.log.format, SETTINGS_LOG_TEXT);
    assert_string_equal(s.worker.lane, "bulk");
    assert_int_equal(s.worker.prefetch, 4);
    assert_int_equal(s.worker.lease_ms, 60000);
    assert_int_equal(s.worker.drain_ms, 30000);
    assert_string_equal(s.worker.listen, "");
    assert_int_equal(s.transports.count, 0);
    settings_free(&s);
    settings_free(&s); /* a second time is harmless */
}

static void a_transport_has_safe_defaults(void **state)
{
    (void)state;
    struct settings s;
    struct err e = read_text(RELAY(""), &s);
    assert_string_equal(e.text, "");
    const struct settings_transport *t = settings_find_transport(&s, "relay");
    assert_non_null(t);
    assert_int_equal(t->type, SETTINGS_SMTP);
    assert_int_equal(t->tls, SETTINGS_TLS_REQUIRE);
    assert_true(t->tls_verify);
    assert_int_equal(t->connections, 20);
    assert_int_equal(t->messages_per_connection, 1000);
    assert_int_equal(t->connect_timeout_ms, 30000);
    assert_int_equal(t->reply_timeout_ms, 300000);
    assert_int_equal(t->final_reply_timeout_ms, 600000);
    assert_null(settings_find_transport(&s, "rela"));
    settings_free(&s);
}

/* How often the bytes are in the heap. */
static int in_heap(const char *bytes, size_t len)
{
    char line[512];
    int n = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (!strstr(line, "[heap]") || sscanf(line, "%lx-%lx", &from, &to) != 2) continue;
        const char *p = (const char *)from, *end = (const char *)to; /* NOLINT: that is the point */
        while ((p = memmem(p, (size_t)(end - p), bytes, len))) n++, p++;
    }
    fclose(maps);
    return n;
}

static void passwords_are_wiped(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* its memory is no heap */
#endif
    static const char SECRET[] = "swordfish-of-the-relay-and-the-broker";
    struct settings s;
    int fd = open(fixture_path("pw"), O_CREAT | O_TRUNC | O_WRONLY, 0600); /* stdio keeps copies */
    assert_int_equal(write(fd, SECRET, sizeof SECRET - 1), sizeof SECRET - 1);
    close(fd);
    const char *file =
        fixture_write("wiped.cfg", "broker = { password_file = \"pw\"; };\n"
                                   "transports = { a = { url = \"smtp://b\"; user = \"u\"; "
                                   "password_file = \"pw\"; }; };\n");
    struct err e = settings_read(file, &s);
    if (e.code) fail_msg("%s", e.text);
    assert_string_equal(s.broker.password, SECRET);
    const char *tail = SECRET + 16; /* free() writes over the beginning */
    assert_int_equal(in_heap(tail, strlen(tail)), 2);
    settings_free(&s);
    assert_int_equal(in_heap(tail, strlen(tail)), 0);
}

static void directories_are_relative_to_the_file(void **state)
{
    (void)state;
    struct settings s;
    struct err e = read_text("templates_dir = \"/srv/templates\";", &s);
    assert_string_equal(e.text, "");
    assert_string_equal(s.campaigns_dir, fixture_path("campaigns"));
    assert_string_equal(s.templates_dir, "/srv/templates");
    settings_free(&s);
}

static void names_of_log_levels_agree_with_the_log(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum log_level want;
    } rows[] = {{"error", LOG_LEVEL_ERROR},
                {"warn", LOG_LEVEL_WARN},
                {"info", LOG_LEVEL_INFO},
                {"debug", LOG_LEVEL_DEBUG}};
    static const char *const bad[] = {"", "warning", "Info", "infoo", "inf", "0"};
    struct settings s;
    char text[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, "log = { level = \"%s\"; };", rows[i].name);
        struct err e = read_text(text, &s);
        assert_string_equal(e.text, "");
        assert_int_equal(s.log.level, rows[i].want);
        settings_free(&s);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "log = { level = \"%s\"; };", bad[i]);
        assert_int_equal(read_text(text, &s).code, ERR_CONFIG);
    }
}

static void the_environment_reaches_into_a_transport(void **state)
{
    (void)state;
    setenv("MAILFLOCK_TRANSPORTS_EU_RELAY_URL", "smtps://[2001:db8::1]:465", 1);
    setenv("MAILFLOCK_TRANSPORTS_EU_RELAY_USER", "flock", 1);
    setenv("MAILFLOCK_TRANSPORTS_EU_RELAY_PASSWORD_FILE", fixture_write("pw", "s3\n"), 1);
    setenv("MAILFLOCK_DATABASE_PASSWORD", "d", 1);
    struct settings s;
    struct err e = read_text("transports = { eu-relay = { }; };", &s);
    unsetenv("MAILFLOCK_TRANSPORTS_EU_RELAY_URL");
    unsetenv("MAILFLOCK_TRANSPORTS_EU_RELAY_USER");
    unsetenv("MAILFLOCK_TRANSPORTS_EU_RELAY_PASSWORD_FILE");
    unsetenv("MAILFLOCK_DATABASE_PASSWORD");
    assert_string_equal(e.text, "");
    const struct settings_transport *t = settings_find_transport(&s, "eu-relay");
    assert_non_null(t);
    assert_string_equal(t->url, "smtps://[2001:db8::1]:465");
    assert_string_equal(t->user, "flock");
    assert_string_equal(t->password, "s3");
    assert_string_equal(s.database.password, "d");
    settings_free(&s);
}

static void databases_of_audiences_have_the_keys_of_the_ledgers(void **state)
{
    (void)state;
    setenv("MAILFLOCK_DATABASES_READ_REPLICA_HOST", "replica.example.com", 1);
    setenv("MAILFLOCK_DATABASES_READ_REPLICA_PASSWORD_FILE", fixture_write("pw", "s3\n"), 1);
    struct settings s;
    struct err e = read_text("database = { user = \"ledger\"; };\n"
                             "databases = { read-replica = { user = \"reader\"; tls = true; }; };",
                             &s);
    unsetenv("MAILFLOCK_DATABASES_READ_REPLICA_HOST");
    unsetenv("MAILFLOCK_DATABASES_READ_REPLICA_PASSWORD_FILE");
    assert_string_equal(e.text, "");
    const struct settings_database *d = settings_find_database(&s, "read-replica");
    assert_non_null(d);
    assert_string_equal(d->host, "replica.example.com");
    assert_int_equal(d->port, 3306);
    assert_string_equal(d->name, "mailflock");
    assert_string_equal(d->user, "reader");
    assert_string_equal(d->password, "s3");
    assert_true(d->tls);
    assert_int_equal(d->connect_timeout_ms, 10000);
    assert_ptr_equal(settings_find_database(&s, ""), &s.database);
    assert_string_equal(settings_find_database(&s, "")->user, "ledger");
    assert_null(settings_find_database(&s, "replica"));
    settings_free(&s);
}

static void the_file_we_ship_is_right(void **state)
{
    (void)state;
    struct settings s;
    struct err e = settings_read("../config/mailflock.cfg", &s);
    assert_string_equal(e.text, "");
    assert_non_null(settings_find_transport(&s, "relay"));
    assert_string_equal(s.campaigns_dir, "../config/campaigns");
    settings_free(&s);
}

static void the_documentation_is_up_to_date(void **state)
{
    (void)state;
    struct buf block;
    buf_init(&block, 1 << 20);
    settings_help(&block, CONF_HELP_MARKDOWN);
    assert_documented("mailflock.cfg", buf_text(&block));
    buf_fini(&block);
}

struct bad {
    const char *claim, *text;
    const char *tells[4];
    const char *variable, *value; /* set during the reading */
};

static const struct bad bad[] = {
    {"unknown_key",
     "worker = {\n prefech = 4; };",
     {"mailflock.cfg:2: key 'worker.prefech' is not known", "did you mean 'worker.prefetch'?"},
     NULL,
     NULL},
    {"unknown_key_of_a_transport",
     RELAY("conections = 3;"),
     {"mailflock.cfg:3: key 'transports.relay.conections'", "'connections'?"},
     NULL,
     NULL},
    {"unknown_key_of_a_database",
     "databases = { replica = {\n hots = \"a\"; }; };",
     {"mailflock.cfg:2: key 'databases.replica.hots'", "'host'?"},
     NULL,
     NULL},
    {"a_password_twice",
     "databases = { r = { password = \"geheim\";\n password_file = \"x\"; }; };",
     {"mailflock.cfg:2: databases.r.password_file: password is given as well"},
     NULL,
     NULL},
    {"wrong_type", "worker = { prefetch = \"4\"; };", {"an integer from 1 to 100"}, NULL, NULL},
    {"out_of_range",
     "\nworker = { lease = \"4s\"; };",
     {"cfg:2: worker.lease must be a duration "
      "from 5s to 10m"},
     NULL,
     NULL},
    {"type_that_does_not_exist",
     RELAY("type = \"sendgrid\";"),
     {"mailflock.cfg:3: transports.relay.type must be smtp, not 'sendgrid'"},
     NULL,
     NULL},
    {"transport_without_url",
     "transports = {\n relay = { }; };",
     {"mailflock.cfg:2: transports.relay.url is missing", "smtp://host:port"},
     NULL,
     NULL},
    {"url_of_another_kind",
     "transports = { relay = {\n url = \"http://mx\"; }; };",
     {"mailflock.cfg:2: transports.relay.url", "smtp://host:port or smtps://"},
     NULL,
     NULL},
    {"url_without_host", "transports={r={url=\"smtp://\";};};", {"transports.r.url"}, NULL, NULL},
    {"url_with_path", "transports={r={url=\"smtp://a/b\";};};", {"transports.r.url"}, NULL, NULL},
    {"url_with_user", "transports={r={url=\"smtp://u:p@a\";};};", {"nothing behind"}, NULL, NULL},
    {"url_with_a_bad_port", "transports={r={url=\"smtp://a:65536\";};};", {"r.url"}, NULL, NULL},
    {"url_with_no_port", "transports={r={url=\"smtp://a:\";};};", {"r.url"}, NULL, NULL},
    {"smtps_without_tls",
     "transports={r={url=\"smtps://a\";\n tls=\"off\";};};",
     {"mailflock.cfg:2: transports.r.tls", "require"},
     NULL,
     NULL},
    {"user_without_password",
     RELAY("user = \"u\";"),
     {"mailflock.cfg:2: transports.relay.password: is missing", "password_file"},
     NULL,
     NULL},
    {"password_without_user",
     RELAY("password = \"geheim\";"),
     {"mailflock.cfg:2: transports.relay.user: is missing"},
     NULL,
     NULL},
    {"password_without_tls",
     RELAY("user = \"u\"; password = \"geheim\"; tls = \"off\";"),
     {"transports.relay.tls: must be require", "allow_plaintext_login = true"},
     NULL,
     NULL},
    {"password_with_tls_that_can_be_stripped",
     RELAY("user = \"u\"; password = \"geheim\"; tls = \"try\";"),
     {"transports.relay.tls: must be require", "allow_plaintext_login = true"},
     NULL,
     NULL},
    {"listen_without_port", "worker = { listen = \"::\"; };", {"host:port, such as"}, NULL, NULL},
    {"heartbeat_in_fractions",
     "broker = { heartbeat = \"1500ms\"; };",
     {"mailflock.cfg:1: broker.heartbeat: must be whole seconds"},
     NULL,
     NULL},
    {"variable_that_does_not_parse",
     "",
     {"MAILFLOCK_BROKER_PORT must be an integer from 1 to 65535", "'tcp://10.0.0.1:5672'"},
     "MAILFLOCK_BROKER_PORT",
     "tcp://10.0.0.1:5672"},
    {"variable_that_breaks_a_rule",
     RELAY(""),
     {"MAILFLOCK_TRANSPORTS_RELAY_URL (transports.relay.url): must be smtp://"},
     "MAILFLOCK_TRANSPORTS_RELAY_URL",
     "mx"},
    {"variable_whose_file_is_missing",
     "",
     {"MAILFLOCK_DATABASE_PASSWORD_FILE", "/nonexistent: No such file"},
     "MAILFLOCK_DATABASE_PASSWORD_FILE",
     "/nonexistent"},
};

static void refuses(void **state)
{
    const struct bad *row = *state;
    if (row->variable) setenv(row->variable, row->value, 1);
    struct settings s;
    struct err e = read_text(row->text, &s);
    if (row->variable) unsetenv(row->variable);
    if (!e.code) settings_free(&s);
    assert_tells(&e, ERR_CONFIG, row->tells, 4);
    assert_null(strstr(e.text, "geheim"));
}

enum { BAD = sizeof bad / sizeof *bad };

int main(void)
{
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(an_empty_file_gives_the_defaults),
        cmocka_unit_test(a_transport_has_safe_defaults),
        cmocka_unit_test(passwords_are_wiped),
        cmocka_unit_test(directories_are_relative_to_the_file),
        cmocka_unit_test(names_of_log_levels_agree_with_the_log),
        cmocka_unit_test(the_environment_reaches_into_a_transport),
        cmocka_unit_test(databases_of_audiences_have_the_keys_of_the_ledgers),
        cmocka_unit_test(the_file_we_ship_is_right),
        cmocka_unit_test(the_documentation_is_up_to_date),
    };
    static struct CMUnitTest files[BAD];
    for (int i = 0; i < BAD; i++)
        files[i] = (struct CMUnitTest){bad[i].claim, refuses, NULL, NULL, (void *)&bad[i]};
    int failed = cmocka_run_group_tests_name("settings", plain, fixture_setup, fixture_teardown);
    return failed +
           cmocka_run_group_tests_name("settings refuses", files, fixture_setup, fixture_teardown);
}
