/* Passwords that change while a program runs. */
#include "tests/unit/config_fixture.h"

#include "common/login.h"
#include "common/settings.h"

static char file[128], secret[128];
static struct settings settings;

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void begin(const char *start_limit)
{
    char text[256];
    snprintf(file, sizeof file, "%s/mailflock.cfg", fixture_dir);
    snprintf(secret, sizeof secret, "%s/secret", fixture_dir);
    snprintf(text, sizeof text,
             "start_limit = \"%s\";\nbroker = { password = \"b1\"; };\n"
             "database = { password_file = \"secret\"; };\n",
             start_limit);
    write_file(file, text);
    write_file(secret, "d1\n");
    struct err e = settings_read(file, &settings);
    assert_int_equal(e.code, ERR_NONE);
}

static void a_refused_password_is_read_again(void **state)
{
    (void)state;
    struct login database, broker;
    begin("1h");
    login_init(&database, &settings, LOGIN_DATABASE);
    login_init(&broker, &settings, LOGIN_BROKER);
    assert_string_equal(login_password(&database), "d1");
    assert_true(login_refused(&database));
    assert_string_equal(login_password(&database), "d1");
    write_file(secret, "d2\n");
    assert_string_equal(login_password(&database), "d1");
    assert_true(login_refused(&database));
    assert_string_equal(login_password(&database), "d2");
    write_file(secret, "d3\n");
    assert_true(login_refused(&database));
    assert_string_equal(login_password(&database), "d3");
    assert_true(login_refused(&broker));
    assert_string_equal(login_password(&broker), "b1");
    login_fini(&database);
    login_fini(&broker);
    settings_free(&settings);
}

static void where_the_settings_cannot_be_read_the_password_stays(void **state)
{
    (void)state;
    struct login l;
    begin("1h");
    login_init(&l, &settings, LOGIN_DATABASE);
    remove(secret);
    assert_true(login_refused(&l));
    assert_string_equal(login_password(&l), "d1");
    write_file(secret, "d2");
    write_file(file, "nonsense = ;");
    assert_true(login_refused(&l));
    assert_string_equal(login_password(&l), "d1");
    login_fini(&l);
    settings_free(&settings);
}

/* With start_limit = 0s there is one try with what the settings say by then. */
static void it_is_given_up_after_the_limit(void **state)
{
    (void)state;
    struct login l;
    begin("0s");
    login_init(&l, &settings, LOGIN_DATABASE);
    write_file(secret, "d2");
    assert_true(login_refused(&l));
    assert_string_equal(login_password(&l), "d2");
    assert_false(login_refused(&l));
    login_accepted(&l);
    assert_true(login_refused(&l));
    assert_false(login_refused(&l));
    login_fini(&l);
    settings_free(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_password_is_read_again),
        cmocka_unit_test(where_the_settings_cannot_be_read_the_password_stays),
        cmocka_unit_test(it_is_given_up_after_the_limit),
    };
    log_setup(LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
