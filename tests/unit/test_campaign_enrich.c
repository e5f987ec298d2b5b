/* The group enrich of a campaign: what is read, and what is refused before anything is sent. */
#include "config_fixture.h"

#include "common/campaign.h"

#define REST                                                                                       \
    "audience = { sql = \"SELECT id FROM s WHERE id > :after ORDER BY id LIMIT :limit\"; };\n"     \
    "content = { from = \"a@b.kr\"; subject = \"Hi\"; text = \"a.txt\"; };\n"

static struct settings settings;

static int setup(void **state)
{
    if (fixture_setup(state)) return -1;
    mkdir(fixture_path("campaigns"), 0700);
    mkdir(fixture_path("templates"), 0700);
    fixture_write("templates/a.txt", "Hello\n");
    struct err e = settings_read(
        fixture_write("mailflock.cfg", "transports = { relay = { url = \"smtp://a\"; }; };"),
        &settings);
    return e.code;
}

static int teardown(void **state)
{
    settings_free(&settings);
    return fixture_teardown(state);
}

static struct err read_enrich(const char *keys, struct campaign *c)
{
    char text[4096];
    snprintf(text, sizeof text, "%senrich = { %s };\n", REST, keys);
    fixture_write("campaigns/c.cfg", text);
    return campaign_read(&settings, "c", c);
}

static void without_a_url_nobody_is_asked(void **state)
{
    (void)state;
    struct campaign c;
    struct err e = read_enrich("", &c);
    assert_string_equal(e.text, "");
    assert_string_equal(c.enrich.url, "");
    campaign_free(&c);
}

static void a_url_alone_gets_the_defaults(void **state)
{
    (void)state;
    struct campaign c;
    struct err e = read_enrich("url = \"https://crm.example/contacts?by=id\";", &c);
    assert_string_equal(e.text, "");
    assert_string_equal(c.enrich.method, "POST");
    assert_int_equal(c.enrich.batch, 300);
    assert_int_equal(c.enrich.delay_ms, 200);
    assert_int_equal(c.enrich.concurrency, 1);
    assert_int_equal(c.enrich.timeout_ms, 10000);
    assert_int_equal(c.enrich.retry.count, 5);
    assert_int_equal(c.enrich.cache_ttl_ms, 0);
    assert_string_equal(c.enrich.cache, "c"); /* the campaign's own */
    assert_int_equal(c.enrich.headers.count + c.enrich.secret_headers.count, 0);
    campaign_free(&c);
    campaign_free(&c);
}

static void all_keys_are_read_and_secrets_come_from_their_file(void **state)
{
    (void)state;
    struct campaign c;
    fixture_write("campaigns/crm.headers",
                  "Authorization: Bearer s3cret \r\n\n  \nX-Tenant:\tmain\nCookie: a=b");
    struct err e = read_enrich(
        "url = \"http://127.0.0.1:8080\"; method = \"PUT\"; batch = 1000; delay = \"0s\";"
        "concurrency = 16; timeout = \"100ms\"; retry = [\"10ms\", \"1h\"];"
        "headers = [\"X-Team: news\", \"Accept-Language: ko\"];"
        "headers_file = \"crm.headers\"; ca_file = \"ca.pem\"; cache_ttl = \"7d\";"
        "cache = \"crm-2\";",
        &c);
    assert_string_equal(e.text, "");
    assert_string_equal(c.enrich.method, "PUT");
    assert_int_equal(c.enrich.batch, 1000);
    assert_int_equal(c.enrich.delay_ms, 0);
    assert_int_equal(c.enrich.concurrency, 16);
    assert_int_equal(c.enrich.timeout_ms, 100);
    assert_int_equal(c.enrich.retry.ms[1], 3600000);
    assert_int_equal(c.enrich.headers.count, 2);
    assert_int_equal(c.enrich.secret_headers.count, 3);
    assert_string_equal(c.enrich.secret_headers.items[0], "Authorization: Bearer s3cret");
    assert_string_equal(c.enrich.secret_headers.items[1], "X-Tenant:\tmain");
    assert_string_equal(c.enrich.secret_headers.items[2], "Cookie: a=b");
    assert_int_equal(c.enrich.cache_ttl_ms, 604800000);
    assert_string_equal(c.enrich.cache, "crm-2");
    campaign_free(&c);
}

#define URL "url = \"https://crm.example/\"; "

static void what_cannot_be_is_refused_with_its_line(void **state)
{
    (void)state;
    fixture_write("campaigns/no-colon", "Authorization: x\nBearer s3cret\n");
    fixture_write("campaigns/no-value", "Authorization:  \n");
    fixture_write("campaigns/control", "Authorization: s3c\x01ret\n");
    fixture_write("campaigns/latin", "Authorization: caf\xe9\n");
    fixture_write_bytes("campaigns/nul", "X: a\0b\n", 7);
    fixture_write("campaigns/ours", "content-length: 5\n");
    static const char *const rows[][2] = {
        {"url = \"crm.example/contacts\";", "enrich.url: must be https://host/path"},
        {"url = \"ftp://crm.example/\";", "must be https://host/path"},
        {"url = \"https:///contacts\";", "must be https://host/path"},
        {"url = \"file:///etc/passwd\";", "must be https://host/path"},
        {"url = \"https://user:s3cret@crm.example/\";", "must not hold a user or a password"},
        {"url = \"https://crm.example/a b\";", "without blanks"},
        {"url = \"https://crm.example/#all\";", "without a # part"},
        {"url = \"https://crm.example/가\";", "must be ASCII"},
        {"cache_ttl = \"1h\";", "enrich.url: must be https://host/path"},
        {"headers = [\"X: y\"];", "enrich.url: must be"},
        {URL "method = \"GET\";", "enrich.method must be POST or PUT"},
        {URL "batch = 0;", "an integer from 1 to 1000"},
        {URL "batch = 1001;", "an integer from 1 to 1000"},
        {URL "concurrency = 17;", "an integer from 1 to 16"},
        {URL "delay = 200;", "a duration"},
        {URL "timeout = \"1ms\";", "a duration from 100ms"},
        {URL "retry = [];", "enrich.retry: must hold at least one duration"},
        {URL "retry = [\"1ms\"];", "a list of durations from 10ms"},
        {URL "cache = \"A b\";", "lower-case letters, digits and hyphens"},
        {URL "headers = [\"no colon\"];", "enrich.headers: must hold headers as Name: value"},
        {URL "headers = [\": x\"];", "must hold headers as Name: value"},
        {URL "headers = [\"X-Empty: \"];", "must hold headers as Name: value"},
        {URL "headers = [\"X Y: z\"];", "must hold headers as Name: value"},
        {URL "headers = [\"Content-Type: text/plain\"];", "Content-Type is not for you to set"},
        {URL "headers = [\"AUTHORIZATION: Bearer s3cret\"];", "AUTHORIZATION is a secret"},
        {URL "headers = [\"X-Api-Key: s3cret\"];", "X-Api-Key is a secret"},
        {URL "headers_file = \"missing\";", "enrich.headers_file: "},
        {URL "headers_file = \"no-colon\";", "must hold headers as Name: value"},
        {URL "headers_file = \"no-value\";", "must hold headers as Name: value"},
        {URL "headers_file = \"control\";", "must be lines of text"},
        {URL "headers_file = \"latin\";", "must be lines of text"},
        {URL "headers_file = \"nul\";", "must be lines of text"},
        {URL "headers_file = \"ours\";", "content-length is not for you to set"},
        {URL "secret = \"x\";", "key 'enrich.secret' is not known"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct campaign c;
        const char *const tells[] = {"c.cfg:3", rows[i][1]};
        struct err e = read_enrich(rows[i][0], &c);
        if (!e.code) fail_msg("'%s' is taken", rows[i][0]);
        assert_tells(&e, ERR_CONFIG, tells, 2);
        if (strstr(e.text, "s3c")) fail_msg("a secret is in: %s", e.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_url_nobody_is_asked),
        cmocka_unit_test(a_url_alone_gets_the_defaults),
        cmocka_unit_test(all_keys_are_read_and_secrets_come_from_their_file),
        cmocka_unit_test(what_cannot_be_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
