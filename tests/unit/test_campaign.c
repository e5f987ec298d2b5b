/* config/campaigns/NAME.cfg and its templates: what is read, and what is refused. */
#include "config_fixture.h"

#include "common/campaign.h"

#define SQL                                                                                        \
    "audience = { sql = \"SELECT id FROM s WHERE id > :after ORDER BY id LIMIT :limit\"; };\n"
#define FROM     "from = \"News <news@example.com>\"; subject = \"Hi\"; "
#define CONTENT  "content = { " FROM "text = \"a.txt\"; };\n"
#define COMPLETE SQL CONTENT

static struct settings settings;

/* letter.txt, letter.html: with partials that are right; the others each with one that is wrong. */
static void write_partials(void)
{
    mkdir(fixture_path("templates/layout"), 0700);
    fixture_write("templates/letter.txt",
                  "{{>layout/head}}{{#rooms}}{{>tree}}{{/rooms}}{{>layout/head}}");
    fixture_write("templates/letter.html", "<p>{{>layout/head}}</p>");
    fixture_write("templates/layout/head.txt", "\xef\xbb\xbfHello\n{{> layout/foot }}");
    fixture_write("templates/layout/foot.txt", "Bye\n");
    fixture_write("templates/layout/head.html", "<h1>{{name}}</h1>");
    fixture_write("templates/tree.txt", "{{#rooms}}{{>tree}}{{/rooms}}");
    fixture_write("templates/gone-part.txt", "a\n {{>layout/gone}}");
    fixture_write("templates/deep-gone.txt", "{{>gone-part}}");
    fixture_write("templates/above.txt", "{{>../secret}}");
    fixture_write("templates/absolute.txt", "{{>/etc/passwd}}");
    fixture_write("templates/linked.txt", "{{>link}}");
    fixture_write("templates/linked-folder.txt", "{{>neighbour/x}}");
    fixture_write("templates/not-utf8.txt", "{{>latin}}");
    fixture_write("templates/unclosed.txt", "{{>tree}}\n{{#a}}");
}

static int setup(void **state)
{
    if (fixture_setup(state)) return -1;
    mkdir(fixture_path("campaigns"), 0700);
    mkdir(fixture_path("templates"), 0700);
    mkdir(fixture_path("templates/sub"), 0700);
    fixture_write("templates/a.txt", "Hello {{name}}\n");
    fixture_write("templates/sub/b.html", "\xef\xbb\xbf<p>가</p>");
    fixture_write_bytes("templates/nul.txt", "a\0b", 3);
    fixture_write("templates/latin.txt", "caf\xe9");
    fixture_write("secret.txt", "secret");
    mkdir(fixture_path("templates-of-others"), 0700);
    fixture_write("templates-of-others/x.txt", "secret");
    if (symlink("../secret.txt", fixture_path("templates/link.txt")) != 0) return -1;
    if (symlink("../templates-of-others", fixture_path("templates/neighbour")) != 0) return -1;
    if (symlink("a.txt", fixture_path("templates/inner.txt")) != 0) return -1;
    write_partials();
    const char *file = fixture_write(
        "mailflock.cfg",
        "transports = { relay = { url = \"smtp://a\"; }; eu = { url = \"smtp://b\"; }; };"
        "databases = { replica = { host = \"r\"; }; };");
    struct err e = settings_read(file, &settings);
    return e.code;
}

static int teardown(void **state)
{
    settings_free(&settings);
    return fixture_teardown(state);
}

static struct err read_text(const char *text, struct campaign *c)
{
    fixture_write("campaigns/c.cfg", text);
    return campaign_read(&settings, "c", c);
}

static void a_short_campaign_gets_the_defaults(void **state)
{
    (void)state;
    struct campaign c;
    struct err e = read_text(COMPLETE, &c);
    assert_string_equal(e.text, "");
    assert_string_equal(c.name, "c");
    assert_int_equal(c.audience.chunk_size, 500);
    assert_string_equal(c.content.text, "Hello {{name}}\n");
    assert_string_equal(c.content.html, "");
    assert_string_equal(c.content.reply_to, "");
    assert_string_equal(c.delivery.transport, "relay");
    assert_string_equal(c.delivery.lane, "bulk");
    assert_int_equal(c.delivery.on_crash, CAMPAIGN_HOLD);
    assert_int_equal(c.delivery.delays.count, 4);
    assert_int_equal(c.delivery.delays.ms[3], 7200000);
    assert_int_equal(c.delivery.max_attempts, 5);
    assert_int_equal(c.delivery.max_age_ms, 86400000);
    assert_int_equal(c.schedule.expressions.count, 0);
    assert_string_equal(c.schedule.timezone, "UTC");
    assert_int_equal(c.schedule.start_within_ms, 900000);
    campaign_free(&c);
    campaign_free(&c); /* a second time is harmless */
}

static void a_full_campaign_is_read_as_written(void **state)
{
    (void)state;
    struct campaign c;
    struct err e = read_text(
        "audience = { sql = \"select id\\nfrom s where id > :after order\\n by id limit :limit\";"
        " database = \"replica\"; json = [\"rooms\", \"tags\"]; chunk = 1000; };"
        "content = { from = \"a@b.kr\"; reply_to = \"R <r@b>\"; to_name = \"{{name}}\";"
        " subject = \"가\"; html = \"sub/b.html\"; text = \"inner.txt\";"
        " list_unsubscribe = \"https://b/{{id}}\"; };"
        "delivery = { transport = \"eu\"; lane = \"fast\"; on_crash = \"resend\";"
        " retry = { delays = [\"10s\"]; max_attempts = 2; max_age = \"30d\"; }; };"
        "schedule = [\"0 9,13,17 * * *\", \"@daily\"]; timezone = \"Asia/Seoul\";"
        "start_within = \"20m\";",
        &c);
    assert_string_equal(e.text, "");
    int64_t at_s;
    assert_int_equal(c.schedule.start_within_ms, 1200000);
    assert_true(schedule_next(&c.schedule, 0, &at_s)); /* 1970-01-01T13:00 in Seoul */
    assert_int_equal(at_s, 4 * 3600);
    assert_int_equal(c.audience.chunk_size, 1000);
    assert_string_equal(c.audience.database, "replica");
    assert_int_equal(c.audience.json.count, 2);
    assert_string_equal(c.audience.json.items[1], "tags");
    assert_string_equal(c.content.from, "a@b.kr");
    assert_string_equal(c.content.html, "<p>가</p>"); /* without its byte order mark */
    assert_string_equal(c.content.text, "Hello {{name}}\n");
    assert_string_equal(c.delivery.transport, "eu");
    assert_string_equal(c.delivery.lane, "fast");
    assert_int_equal(c.delivery.on_crash, CAMPAIGN_RESEND);
    assert_int_equal(c.delivery.delays.count, 1);
    assert_int_equal(c.delivery.delays.ms[0], 10000);
    assert_int_equal(c.delivery.max_attempts, 2);
    assert_int_equal(c.delivery.max_age_ms, 2592000000);
    campaign_free(&c);
}

static void the_partials_of_templates_are_read_each_once(void **state)
{
    (void)state;
    static const struct template_source want[] = {
        {"layout/head.html", "<h1>{{name}}</h1>", 17},
        {"layout/head.txt", "Hello\n{{> layout/foot }}", 24},
        {"tree.txt", "{{#rooms}}{{>tree}}{{/rooms}}", 29},
        {"layout/foot.txt", "Bye\n", 4},
    };
    struct campaign c;
    struct err e =
        read_text(SQL "content = { " FROM "text = \"letter.txt\"; html = \"letter.html\"; };", &c);
    assert_string_equal(e.text, "");
    assert_int_equal(c.content.partials.count, sizeof want / sizeof *want);
    for (size_t i = 0; i < c.content.partials.count; i++) {
        assert_string_equal(c.content.partials.items[i].name, want[i].name);
        assert_string_equal(c.content.partials.items[i].text, want[i].text);
        assert_int_equal(c.content.partials.items[i].len, want[i].len);
    }
    campaign_free(&c);
}

static void a_campaign_takes_nothing_from_the_environment(void **state)
{
    (void)state;
    setenv("MAILFLOCK_CONTENT_SUBJECT", "other", 1);
    struct campaign c;
    struct err e = read_text(COMPLETE, &c);
    unsetenv("MAILFLOCK_CONTENT_SUBJECT");
    assert_string_equal(e.text, "");
    assert_string_equal(c.content.subject, "Hi");
    campaign_free(&c);
}

static void a_template_may_have_its_maximum_and_not_a_byte_more(void **state)
{
    (void)state;
    char *large = mem_alloc(CAMPAIGN_TEMPLATE_MAX + 2);
    memset(large, 'a', CAMPAIGN_TEMPLATE_MAX + 2);
    struct campaign c;
    fixture_write_bytes("templates/large.txt", large, CAMPAIGN_TEMPLATE_MAX);
    struct err e = read_text(SQL "content = { " FROM "text = \"large.txt\"; };", &c);
    assert_string_equal(e.text, "");
    assert_int_equal(strlen(c.content.text), CAMPAIGN_TEMPLATE_MAX);
    campaign_free(&c);
    for (int more = 1; more <= 2; more++) {
        fixture_write_bytes("templates/large.txt", large, CAMPAIGN_TEMPLATE_MAX + (size_t)more);
        e = read_text(SQL "content = { " FROM "text = \"large.txt\"; };", &c);
        assert_tells(&e, ERR_CONFIG, (const char *[]){"content.text", "large.txt", "1048576"}, 3);
    }
    free(large);
}

/* Who wants to know when campaigns run does not depend on their templates and transports. */
static void a_schedule_is_read_without_the_rest(void **state)
{
    (void)state;
    struct campaign c;
    int64_t at_s;
    const char *text = SQL "content = { " FROM "text = \"gone.txt\"; };"
                           "delivery = { transport = \"rely\"; }; schedule = [\"@daily\"];";
    struct err e = read_text(text, &c);
    assert_int_equal(e.code, ERR_CONFIG);
    e = campaign_read_schedule(&settings, "c", &c);
    assert_string_equal(e.text, "");
    assert_string_equal(c.name, "c");
    assert_true(schedule_next(&c.schedule, 0, &at_s));
    assert_int_equal(at_s, 86400);
    campaign_free(&c);
    fixture_write("campaigns/c.cfg", COMPLETE "schedule = [\"daily\"];");
    e = campaign_read_schedule(&settings, "c", &c);
    assert_tells(&e, ERR_CONFIG, (const char *[]){"c.cfg:3: schedule.[0]: 'daily'"}, 1);
}

static void a_campaign_that_does_not_exist_is_named(void **state)
{
    (void)state;
    struct campaign c;
    struct err e = campaign_read(&settings, "gone", &c);
    assert_tells(&e, ERR_IO, (const char *[]){"campaign gone", "gone.cfg: No such file"}, 2);
}

static void a_name_is_checked_before_it_becomes_a_path(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "../c",
        "a/b",
        "C",
        "c.cfg",
        "가",
        "a b",
        "2024",
        "20-24",
        "-",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct campaign c;
        struct err e = campaign_read(&settings, wrong[i], &c);
        assert_tells(&e, ERR_CONFIG, (const char *[]){"cannot be a campaign's name"}, 1);
    }
    assert_true(campaign_name_valid("welcome-2"));
    assert_true(campaign_name_valid("2024-a"));
}

static void campaigns_are_listed_in_order(void **state)
{
    (void)state;
    fixture_write("campaigns/b-2.cfg", "");
    fixture_write("campaigns/a.cfg", "");
    fixture_write("campaigns/.a.cfg", "");
    fixture_write("campaigns/notes.txt", "");
    fixture_write("campaigns/c.cfg", "");
    struct conf_texts names;
    struct err e = campaign_list(&settings, &names);
    assert_string_equal(e.text, "");
    assert_int_equal(names.count, 3);
    assert_string_equal(names.items[0], "a");
    assert_string_equal(names.items[1], "b-2");
    assert_string_equal(names.items[2], "c");
    conf_texts_free(&names);
    const char *wrong = fixture_write("campaigns/B.cfg", "");
    e = campaign_list(&settings, &names);
    assert_tells(&e, ERR_CONFIG, (const char *[]){"campaigns/B.cfg", "lower-case"}, 2);
    assert_int_equal(names.count, 3); /* the others */
    conf_texts_free(&names);
    unlink(wrong);
}

static void a_missing_directory_of_campaigns_is_named(void **state)
{
    (void)state;
    struct settings other = settings;
    other.campaigns_dir = (char *)"/nonexistent";
    struct conf_texts names;
    struct err e = campaign_list(&other, &names);
    assert_tells(&e, ERR_IO, (const char *[]){"/nonexistent: No such file"}, 1);
}

static void the_campaign_we_ship_is_right(void **state)
{
    (void)state;
    struct settings s;
    struct err e = settings_read("../config/mailflock.cfg", &s);
    assert_string_equal(e.text, "");
    struct campaign c;
    e = campaign_read(&s, "welcome", &c);
    assert_string_equal(e.text, "");
    assert_in_range(strlen(c.content.text) + strlen(c.content.html), 1500, 2048);
    campaign_free(&c);
    settings_free(&s);
}

static void the_documentation_is_up_to_date(void **state)
{
    (void)state;
    struct buf block;
    buf_init(&block, 1 << 20);
    campaign_help(&block, CONF_HELP_MARKDOWN);
    assert_documented("a campaign", buf_text(&block));
    buf_fini(&block);
}

struct bad {
    const char *claim, *text;
    const char *tells[4];
};

#define AUDIENCE(sql)  "\naudience = {\n sql = \"" sql "\"; };\n" CONTENT
#define TEMPLATE(path) SQL "content = { " FROM "\n text = \"" path "\"; };"
#define DELIVERY(keys) COMPLETE "delivery = {\n " keys " };"

static const struct bad bad[] = {
    {"unknown_key",
     SQL "content = { form = \"\"; };",
     {"c.cfg:2: key 'content.form'", "'content.from'?"}},
    {"key_of_later_versions",
     COMPLETE "colour = \"\";",
     {"c.cfg:3: key 'colour' is not known", "schedule, timezone, start_within"}},
    {"one_expression_without_its_list",
     COMPLETE "schedule = \"@daily\";",
     {"c.cfg:3: schedule must be a list of texts", "not the text '@daily'"}},
    {"impossible_minute",
     COMPLETE "schedule = [\"0 9 * * *\",\n \"61 * * * *\"];",
     {"c.cfg:4: schedule.[1]: '61 * * * *': column 1: '61' is not a minute: 0 to 59 are"}},
    {"impossible_date",
     COMPLETE "\nschedule = [\"0 0 30 2 *\"];",
     {"c.cfg:4: schedule.[0]: '0 0 30 2 *': column 5: there is no such day"}},
    {"three_fields",
     COMPLETE "schedule = [\"* * *\"];",
     {"c.cfg:3: schedule.[0]: '* * *': column 6: there are 3 fields, five are needed"}},
    {"empty_expression", COMPLETE "schedule = [\"\"];", {"c.cfg:3: schedule must not be empty"}},
    {"unknown_zone",
     COMPLETE "schedule = [\"@daily\"];\ntimezone = \"Asia/Soul\";",
     {"c.cfg:4: timezone: 'Asia/Soul' is no time zone", "Asia/Seoul"}},
    {"unknown_zone_without_a_schedule",
     COMPLETE "timezone = \"KST-9\";",
     {"c.cfg:3: timezone: 'KST-9' is no time zone"}},
    {"zone_outside_the_database",
     COMPLETE "timezone = \"../../../etc/hostname\";",
     {"c.cfg:3: timezone: '../../../etc/hostname' is no time zone"}},
    {"start_within_fractions",
     COMPLETE "start_within = \"90500ms\";",
     {"c.cfg:3: start_within: must be whole seconds"}},
    {"start_within_too_little",
     COMPLETE "start_within = \"59s\";",
     {"c.cfg:3: start_within must be a duration from 1m to 1d", "not '59s'"}},
    {"syntax_error", SQL "content = {\n from = ;", {"c.cfg:3: syntax error"}},
    {"missing_sql", CONTENT, {"c.cfg: audience.sql is missing", ":after"}},
    {"missing_subject", SQL "content = { from = \"a@b\"; };", {"content.subject is missing"}},
    {"chunk_out_of_range",
     "audience = { chunk = 1001; };",
     {"c.cfg:1: audience.chunk", "1 to 1000"}},
    {"sql_without_after",
     AUDIENCE("SELECT id FROM s ORDER BY id LIMIT :limit"),
     {"c.cfg:3: audience.sql", "must use :after"}},
    {"sql_that_writes",
     AUDIENCE("DELETE FROM s WHERE id > :after ORDER BY id LIMIT :limit"),
     {"c.cfg:3: audience.sql: must be a SELECT"}},
    {"sql_into_a_file",
     AUDIENCE("SELECT id FROM s WHERE id > :after ORDER BY id LIMIT :limit INTO OUTFILE '/tmp/x'"),
     {"c.cfg:3: audience.sql: must not have INTO"}},
    {"sql_with_a_longer_parameter",
     AUDIENCE("SELECT :afters, :limit ORDER BY id"),
     {"must use :after"}},
    {"sql_without_limit",
     AUDIENCE("SELECT id FROM s WHERE id > :after ORDER BY id"),
     {"c.cfg:3: audience.sql", "must use :limit"}},
    {"sql_without_order",
     AUDIENCE("SELECT id FROM s WHERE id > :after LIMIT :limit"),
     {"c.cfg:3: audience.sql", "ORDER BY id"}},
    {"sql_ordered_in_name_only",
     AUDIENCE("SELECT id FROM reorder by WHERE id > :after LIMIT :limit"),
     {"ORDER BY id"}},
    {"unknown_database",
     "audience = { sql = \"SELECT :after ORDER BY id LIMIT :limit\";\n database = \"x\"; "
     "};" CONTENT,
     {"c.cfg:2: audience.database: 'x' is not among those of the settings; there is: replica"}},
    {"sender_without_address",
     SQL "content = {\n from = \"News\"; subject = \"a\"; text = \"a.txt\"; };",
     {"c.cfg:3: content.from", "Name <news@example.com>"}},
    {"sender_without_domain",
     SQL "content = { from = \"N <a@>\"; subject = \"a\"; text = \"a.txt\"; };",
     {"content.from"}},
    {"sender_with_two_addresses",
     SQL "content = { from = \"a@b, c@d\"; subject = \"a\"; text = \"a.txt\"; };",
     {"content.from"}},
    {"sender_with_a_line_break",
     SQL "content = { from = \"a@b\\r\\nBcc: c@d\"; };",
     {"content.from must be one line"}},
    {"answer_without_address",
     SQL "content = { " FROM "reply_to = \"me\"; text = \"a.txt\"; };",
     {"c.cfg:2: content.reply_to"}},
    {"neither_text_nor_html",
     SQL "content = { " FROM "};",
     {"c.cfg:2: content: has neither text nor html nor markdown"}},
    {"unsubscribing_by_other_means",
     SQL "content = { " FROM "text = \"a.txt\"; list_unsubscribe = \"call\"; };",
     {"content.list_unsubscribe", "https://"}},
    {"missing_template",
     TEMPLATE("gone.txt"),
     {"c.cfg:3: content.text: cannot open the file", "templates/gone.txt: No such file"}},
    {"template_above_its_directory",
     TEMPLATE("../secret.txt"),
     {"c.cfg:3: content.text", "inside the templates directory"}},
    {"template_above_by_a_detour", TEMPLATE("sub/../a.txt"), {"without .."}},
    {"template_with_an_absolute_path",
     TEMPLATE("/etc/passwd"),
     {"c.cfg:3: content.text", "inside the templates directory"}},
    {"template_linked_from_outside",
     TEMPLATE("link.txt"),
     {"c.cfg:3: content.text", "'link.txt' is a link that leads outside"}},
    {"template_in_a_directory_linked_from_outside",
     TEMPLATE("neighbour/x.txt"),
     {"is a link that leads outside"}},
    {"template_that_is_a_directory", TEMPLATE("sub"), {"content.text", "not a regular file"}},
    {"template_with_a_nul", TEMPLATE("nul.txt"), {"nul.txt is not UTF-8"}},
    {"template_in_latin_1",
     TEMPLATE("latin.txt"),
     {"c.cfg:3: content.text", "latin.txt is not UTF-8"}},
    {"missing_partial",
     TEMPLATE("gone-part.txt"),
     {"c.cfg: gone-part.txt:2:2: cannot open", "templates/layout/gone.txt: No such file"}},
    {"partial_missing_in_a_partial", TEMPLATE("deep-gone.txt"), {"c.cfg: gone-part.txt:2:2: "}},
    {"partial_above_the_directory",
     TEMPLATE("above.txt"),
     {"above.txt:1:1: '../secret.txt' must be a path inside the templates directory"}},
    {"partial_with_an_absolute_path",
     TEMPLATE("absolute.txt"),
     {"absolute.txt:1:1: '/etc/passwd.txt' must be a path inside the templates directory"}},
    {"partial_linked_from_outside",
     TEMPLATE("linked.txt"),
     {"linked.txt:1:1: 'link.txt' is a link that leads outside"}},
    {"partial_in_a_directory_linked_from_outside",
     TEMPLATE("linked-folder.txt"),
     {"linked-folder.txt:1:1: 'neighbour/x.txt' is a link that leads outside"}},
    {"partial_in_latin_1",
     TEMPLATE("not-utf8.txt"),
     {"not-utf8.txt:1:1: ", "latin.txt is not UTF-8"}},
    {"template_with_an_unclosed_section",
     TEMPLATE("unclosed.txt"),
     {"c.cfg: unclosed.txt:2:1: a section that is not closed: {{#a}}"}},
    {"unknown_transport",
     DELIVERY("transport = \"rely\";"),
     {"c.cfg:4: delivery.transport: 'rely'", "there is: relay, eu"}},
    {"unknown_lane", DELIVERY("lane = \"slow\";"), {"c.cfg:4: delivery.lane must be bulk or fast"}},
    {"unknown_policy", DELIVERY("on_crash = \"cry\";"), {"must be hold or resend, not 'cry'"}},
    {"too_many_attempts",
     DELIVERY("retry = { max_attempts = 21; };"),
     {"c.cfg:4: delivery.retry.max_attempts", "1 to 20"}},
    {"no_delays", DELIVERY("retry = { delays = []; };"), {"delivery.retry.delays: must hold"}},
    {"delay_in_fractions",
     DELIVERY("retry = { delays = [\"1500ms\"]; };"),
     {"c.cfg:4: delivery.retry.delays: must be whole seconds"}},
    {"bad_delay",
     DELIVERY("retry = { delays = [\"1 m\"]; };"),
     {"c.cfg:4: delivery.retry.delays", "1s to 7d"}},
    {"bad_age",
     DELIVERY("retry = { max_age = \"1w\"; };"),
     {"max_age must be a duration", "not '1w'"}},
};

static void refuses(void **state)
{
    const struct bad *row = *state;
    struct campaign c;
    struct err e = read_text(row->text, &c);
    if (!e.code) campaign_free(&c);
    assert_tells(&e, ERR_CONFIG, row->tells, 4);
}

enum { BAD = sizeof bad / sizeof *bad };

int main(void)
{
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(a_short_campaign_gets_the_defaults),
        cmocka_unit_test(a_full_campaign_is_read_as_written),
        cmocka_unit_test(the_partials_of_templates_are_read_each_once),
        cmocka_unit_test(a_campaign_takes_nothing_from_the_environment),
        cmocka_unit_test(a_template_may_have_its_maximum_and_not_a_byte_more),
        cmocka_unit_test(a_schedule_is_read_without_the_rest),
        cmocka_unit_test(a_campaign_that_does_not_exist_is_named),
        cmocka_unit_test(a_name_is_checked_before_it_becomes_a_path),
        cmocka_unit_test(campaigns_are_listed_in_order),
        cmocka_unit_test(a_missing_directory_of_campaigns_is_named),
        cmocka_unit_test(the_campaign_we_ship_is_right),
        cmocka_unit_test(the_documentation_is_up_to_date),
    };
    static struct CMUnitTest files[BAD];
    for (int i = 0; i < BAD; i++)
        files[i] = (struct CMUnitTest){bad[i].claim, refuses, NULL, NULL, (void *)&bad[i]};
    int failed = cmocka_run_group_tests_name("campaign", plain, setup, teardown);
    return failed + cmocka_run_group_tests_name("campaign refuses", files, setup, teardown);
}
