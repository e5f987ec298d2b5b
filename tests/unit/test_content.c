/* A run's content: written by the producer, read by every worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/content.h"

static const struct template_source PARTIALS[] = {
    {"layout/head.html", "<h1>\xed\x99\x98</h1>\n", 13},
    {"empty.html", "", 0},
};

static const struct message_file FILES[] = {
    {"\xec\x95\xbd\xea\xb4\x80 \"1\".pdf", "%PDF\0\xff", 6, false},
    {"logo.png", "\x89PNG", 4, true},
    {"empty", "", 0, false}};

static const struct content FULL = {
    .campaign = "welcome",
    .from = "\"News, daily\" <news@m.example>",
    .reply_to = "help@m.example",
    .to_name = "{{name}}",
    .subject = "\xed\x99\x98\xec\x98\x81 {{name}} \xf0\x9f\x8e\x88",
    .text = "Hello {{name}},\r\n\ttab, \"quotes\", back\\slash and \x01\n.\n",
    .html = "<p class=\"x\">{{{raw}}}</p>\n",
    .list_unsubscribe = "https://m.example/u?id={{id}}",
    .has_text = true,
    .has_html = true,
    .transport = "relay",
    .lane = "bulk",
    .text_name = "hello.txt",
    .html_name = "mail/hello.html",
    .partials = {PARTIALS, 2},
    .files = FILES,
    .n_files = 3,
    .resend = true,
    .max_attempts = 5,
    .max_age_s = 86400,
    .n_delays = 3,
    .delays_s = {60, 300, 7200},
};

static void encode(const struct content *c, struct buf *out)
{
    buf_init(out, CONTENT_BYTES_MAX);
    content_encode(c, out);
    assert_false(out->too_big);
}

static void assert_same(const struct content *a, const struct content *b)
{
    assert_string_equal(a->campaign, b->campaign);
    assert_string_equal(a->from, b->from);
    assert_string_equal(a->reply_to, b->reply_to);
    assert_string_equal(a->to_name, b->to_name);
    assert_string_equal(a->subject, b->subject);
    assert_string_equal(a->text, b->text);
    assert_string_equal(a->html, b->html);
    assert_string_equal(a->list_unsubscribe, b->list_unsubscribe);
    assert_string_equal(a->transport, b->transport);
    assert_string_equal(a->lane, b->lane);
    assert_string_equal(a->text_name, b->text_name);
    assert_string_equal(a->html_name, b->html_name);
    assert_int_equal(a->partials.count, b->partials.count);
    for (size_t i = 0; i < a->partials.count; i++) {
        assert_string_equal(a->partials.items[i].name, b->partials.items[i].name);
        assert_string_equal(a->partials.items[i].text, b->partials.items[i].text);
        assert_int_equal(a->partials.items[i].len, b->partials.items[i].len);
    }
    assert_int_equal(a->n_files, b->n_files);
    for (size_t i = 0; i < a->n_files; i++) {
        assert_string_equal(a->files[i].name, b->files[i].name);
        assert_int_equal(a->files[i].image, b->files[i].image);
        assert_int_equal(a->files[i].len, b->files[i].len);
        assert_memory_equal(a->files[i].bytes, b->files[i].bytes, a->files[i].len);
    }
    assert_int_equal(a->has_text, b->has_text);
    assert_int_equal(a->has_html, b->has_html);
    assert_int_equal(a->resend, b->resend);
    assert_int_equal(a->max_attempts, b->max_attempts);
    assert_int_equal(a->max_age_s, b->max_age_s);
    assert_int_equal(a->n_delays, b->n_delays);
    assert_memory_equal(a->delays_s, b->delays_s, sizeof a->delays_s);
}

static void what_is_read_is_what_was_written(void **state)
{
    (void)state;
    struct content rows[] = {FULL, FULL, FULL};
    rows[1].text = rows[1].html = rows[1].reply_to = rows[1].to_name = rows[1].list_unsubscribe =
        "";
    rows[1].has_html = rows[1].resend = false; /* an empty text is not the same as none */
    rows[1].partials = (struct template_partials){0};
    rows[1].n_files = 0;
    rows[2].max_attempts = 1000;
    rows[2].max_age_s = 1000000000;
    rows[2].n_delays = CONTENT_DELAYS_MAX;
    for (int i = 0; i < CONTENT_DELAYS_MAX; i++) rows[2].delays_s[i] = 10000000 - i;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf json;
        struct content got;
        encode(&rows[i], &json);
        struct err e = content_decode(json.data, json.len, &got);
        if (e.code) fail_msg("row %zu: %s", i, e.text);
        assert_same(&rows[i], &got);
        content_drop_files(&got);
        assert_int_equal(got.n_files, 0);
        assert_string_equal(got.subject, rows[i].subject); /* the rest stays */
        content_fini(&got);
        buf_fini(&json);
    }
}

static void large_contents_keep_to_their_maximum(void **state)
{
    (void)state;
    enum { LARGE = CONTENT_BYTES_MAX / 2 + 1 };
    struct content c = FULL, got;
    struct buf json;
    char *text = malloc(2 * LARGE + 1);
    assert_non_null(text);
    memset(text, 'x', 2 * LARGE);
    text[2 * LARGE] = '\0';
    c.html = text + LARGE;
    encode(&c, &json);
    assert_int_equal(content_decode(json.data, json.len, &got).code, ERR_NONE);
    assert_int_equal(strlen(got.html), LARGE);
    content_fini(&got);
    buf_reset(&json);
    c.html = text;
    content_encode(&c, &json);
    assert_true(json.too_big);
    buf_fini(&json);
    free(text);
}

static void the_largest_files_fit(void **state)
{
    (void)state;
    char *bytes = calloc(1, MESSAGE_FILES_MAX);
    struct message_file file = {"a.bin", bytes, MESSAGE_FILES_MAX, false};
    struct content c = FULL, got;
    struct buf json;
    assert_non_null(bytes);
    c.files = &file;
    c.n_files = 1;
    encode(&c, &json);
    assert_int_equal(content_decode(json.data, json.len, &got).code, ERR_NONE);
    assert_same(&c, &got);
    content_fini(&got);
    buf_fini(&json);
    free(bytes);
}

static void text_that_is_not_utf8_cannot_be_written(void **state)
{
    (void)state;
    struct content c = FULL;
    struct buf json;
    buf_init(&json, CONTENT_BYTES_MAX);
    c.subject = "caf\xe9";
    content_encode(&c, &json);
    assert_true(json.too_big);
    buf_fini(&json);
}

/* The first place of what becomes with; "" takes it away. */
static void replace(char *json, size_t size, const char *what, const char *with)
{
    char *at = strstr(json, what);
    if (!at) fail_msg("there is no %s", what);
    char rest[2000];
    snprintf(rest, sizeof rest, "%s", at + strlen(what));
    snprintf(at, size - (size_t)(at - json), "%s%s", with, rest);
}

/* As it was written before there were partials and files. */
static void a_content_of_an_earlier_version_is_read(void **state)
{
    (void)state;
    static const char json[] =
        "{\"v\":1,\"campaign\":\"welcome\",\"from\":\"a@m.example\",\"reply_to\":\"\","
        "\"to_name\":\"\",\"subject\":\"s\",\"text\":\"t\",\"html\":\"\",\"list_unsubscribe\":\"\","
        "\"transport\":\"relay\",\"lane\":\"bulk\",\"has_text\":true,\"has_html\":false,"
        "\"on_crash\":\"hold\",\"max_attempts\":5,\"max_age_s\":86400,\"delays_s\":[60]}";
    struct content got;
    struct err e = content_decode(json, strlen(json), &got);
    assert_string_equal(e.text, "");
    assert_string_equal(got.text_name, "");
    assert_string_equal(got.html_name, "");
    assert_int_equal(got.partials.count, 0);
    assert_int_equal(got.n_files, 0);
    content_fini(&got);
}

/* A newer program reads it: whatever else is in it. */
static void a_content_of_a_later_version_is_told_from_a_wrong_one(void **state)
{
    (void)state;
    static const char *const rows[] = {"{\"v\":2}", "{\"from\":7,\"v\":1000000}"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct content got;
        struct err e = content_decode(rows[i], strlen(rows[i]), &got);
        assert_int_equal(e.code, ERR_NEWER);
        assert_non_null(strstr(e.text, ", this program reads up to 1"));
    }
}

static void what_is_missing_or_wrong_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *name, *what, *with, *want;
    } rows[] = {
        {"no version", "\"v\":1", "\"w\":1", "'v' is missing or wrong"},
        {"version as text", "\"v\":1", "\"v\":\"1\"", "'v'"},
        {"half a version", "\"v\":1", "\"v\":1.5", "'v'"},
        {"negative version", "\"v\":1", "\"v\":-2", "'v'"},
        {"endless version", "\"v\":1", "\"v\":1e999", "'v'"},
        {"no sender", "\"from\"", "\"From\"", "'from' is missing"},
        {"subject null", "\"subject\":\"", "\"subject\":null,\"s\":\"", "'subject'"},
        {"no text", "\"text\"", "\"txt\"", "'text'"},
        {"a name that is no text", "\"text_name\":\"", "\"text_name\":1,\"t\":\"", "'text_name'"},
        {"partials that are no map", "\"partials\":{", "\"partials\":[],\"p\":{", "'partials'"},
        {"a partial that is no text", "\"empty.html\":\"\"", "\"empty.html\":[]", "'partials'"},
        {"files that are no list", "\"files\":[", "\"files\":{},\"f\":[", "'files'"},
        {"a file without a name", "\"name\":\"logo", "\"mane\":\"logo", "'files'"},
        {"a file without bytes", "\"base64\":\"iV", "\"base32\":\"iV", "'files'"},
        {"a file with a broken end", "iVBORw==", "iVBORx==", "'files'"},
        {"a file with other characters", "iVBORw==", "iVB-Rw==", "'files'"},
        {"no lane", "\"lane\"", "\"line\"", "'lane'"},
        {"no attempts", "\"max_attempts\":5", "\"x\":5", "'max_attempts'"},
        {"too many attempts", "\"max_attempts\":5", "\"max_attempts\":1001", "'max_attempts'"},
        {"negative attempts", "\"max_attempts\":5", "\"max_attempts\":-5", "'max_attempts'"},
        {"negative age", "\"max_age_s\":", "\"max_age_s\":-", "'max_age_s'"},
        {"endless age", "\"max_age_s\":86400", "\"max_age_s\":1e999", "'max_age_s'"},
        {"no policy", "\"on_crash\"", "\"on_crush\"", "'on_crash'"},
        {"another policy", "\"resend\"", "\"perhaps\"", "'on_crash'"},
        {"no delays", "\"delays_s\"", "\"d\"", "'delays_s'"},
        {"an empty list of delays", "[60,300,7200]", "[]", "'delays_s'"},
        {"a delay of nothing", "[60,", "[0,", "'delays_s'"},
        {"a negative delay", "[60,", "[-60,", "'delays_s'"},
        {"a delay as text", "[60,", "[\"60\",", "'delays_s'"},
        {"an endless delay", "[60,", "[1e9,", "'delays_s'"},
        {"too many delays", "[60,", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,", "'delays_s'"},
        {"no JSON", "{", "<", "not a JSON object"},
        {"a list", "{\"v\":1,", "[1],{", "not a JSON object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf full;
        struct content got;
        char json[2000];
        encode(&FULL, &full);
        snprintf(json, sizeof json, "%s", buf_text(&full));
        buf_fini(&full);
        replace(json, sizeof json, rows[i].what, rows[i].with);
        struct err e = content_decode(json, strlen(json), &got);
        if (e.code != ERR_INPUT || !strstr(e.text, rows[i].want))
            fail_msg("%s: code %d, %s", rows[i].name, e.code, e.text);
        content_fini(&got); /* harmless */
    }
}

static void a_content_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    struct buf json;
    struct content got;
    encode(&FULL, &json);
    for (size_t len = 0; len < json.len; len++)
        if (content_decode(json.data, len, &got).code != ERR_INPUT) fail_msg("cut at %zu", len);
    buf_fini(&json);
}

static void the_last_delay_repeats(void **state)
{
    (void)state;
    static const struct {
        unsigned attempt;
        int want;
    } rows[] = {{0, 60},   {1, 60},      {2, 300},           {3, 7200},
                {4, 7200}, {1000, 7200}, {4294967295u, 7200}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (content_delay_s(&FULL, rows[i].attempt) != rows[i].want)
            fail_msg("after attempt %u: %d", rows[i].attempt,
                     content_delay_s(&FULL, rows[i].attempt));
}

/* Asked again when a server wants to be, as far as the campaign's delays and max_age go. */
static void a_wanted_delay_is_the_next_one_that_is_as_long(void **state)
{
    (void)state;
    struct content mixed = {.n_delays = 4, .delays_s = {60, 7200, 300, 5}};
    static const struct {
        unsigned attempt;
        int64_t wanted_s, left_s;
        int want, want_mixed; /* of 60, 300, 7200 and of 60, 7200, 300, 5 */
    } rows[] = {
        {1, 0, 99999, 60, 60},     {1, 60, 99999, 60, 60},      {1, 61, 99999, 300, 300},
        {1, 300, 99999, 300, 300}, {1, 301, 99999, 7200, 7200}, {1, 86400, 99999, 7200, 7200},
        {2, 61, 99999, 300, 7200}, {3, 61, 99999, 7200, 300},   {9, 1000, 99999, 7200, 7200},
        {9, 6, 99999, 7200, 60},   {1, 301, 7199, 300, 300},    {1, 301, 7200, 7200, 7200},
        {1, 86400, 299, 60, 60},   {1, 86400, 0, 60, 60},       {1, 86400, -5, 60, 60},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int got = content_delay_hinted_s(&FULL, rows[i].attempt, rows[i].wanted_s, rows[i].left_s);
        int got_mixed =
            content_delay_hinted_s(&mixed, rows[i].attempt, rows[i].wanted_s, rows[i].left_s);
        if (got != rows[i].want || got_mixed != rows[i].want_mixed)
            fail_msg("row %zu: %d and %d, want %d and %d", i, got, got_mixed, rows[i].want,
                     rows[i].want_mixed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_what_was_written),
        cmocka_unit_test(large_contents_keep_to_their_maximum),
        cmocka_unit_test(the_largest_files_fit),
        cmocka_unit_test(text_that_is_not_utf8_cannot_be_written),
        cmocka_unit_test(a_content_of_an_earlier_version_is_read),
        cmocka_unit_test(a_content_of_a_later_version_is_told_from_a_wrong_one),
        cmocka_unit_test(what_is_missing_or_wrong_is_named),
        cmocka_unit_test(a_content_cut_at_any_byte_is_refused),
        cmocka_unit_test(the_last_delay_repeats),
        cmocka_unit_test(a_wanted_delay_is_the_next_one_that_is_as_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
