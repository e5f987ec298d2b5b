/* A row of the audience and what a service says of it become one recipient. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/chunk.h"
#include "common/recipient.h"

static const struct db_column COLUMNS[] = {
    {"id", DB_KIND_INT, true}, {"name", DB_KIND_TEXT, false}, {"email", DB_KIND_TEXT, false}};
static const struct recipient_columns WITH_EMAIL = {COLUMNS, 3, 0, 2}, WITHOUT = {COLUMNS, 2, 0, 2};
static const struct db_cell ROW[] = {{"5", 1}, {"of the table", 12}, {"table@b.example", 15}};

static bool write(struct buf *body, const struct recipient_columns *columns, const char *json,
                  size_t len, const char *fail)
{
    struct arena arena;
    struct value vars;
    struct contact contact = {.fail = fail};
    arena_init(&arena, 8 << 20);
    if (json) {
        assert_true(chunk_value_decode(&arena, json, len, &vars));
        contact.vars = &vars;
    }
    buf_init(body, CHUNK_BODY_MAX);
    chunk_write_start(body, 1, 0, 1);
    bool usable = recipient_write(body, 0, columns, ROW, &contact);
    chunk_write_end(body, 0);
    assert_false(body->too_big);
    arena_fini(&arena);
    return usable;
}

/* The recipient as it is in the message. */
static void assert_written(const struct recipient_columns *columns, const char *json,
                           const char *want)
{
    struct buf body;
    struct chunk_message m;
    write(&body, columns, json, strlen(json), NULL);
    struct err e = chunk_decode(body.data, body.len, &m);
    if (e.code) fail_msg("%s: %s", json, e.text);
    chunk_fini(&m);
    if (!strstr(buf_text(&body), want)) fail_msg("no %s in %s", want, buf_text(&body));
    buf_fini(&body);
}

static void what_the_service_says_comes_before_columns_of_the_same_name(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{\"id\":\"5\"}",
         "\"to\":\"table@b.example\",\"vars\":{\"id\":5,\"name\":\"of the table\","
         "\"email\":\"table@b.example\"}}"},
        {"{\"id\":\"5\",\"name\":\"Mia\"}", "\"to\":\"table@b.example\",\"vars\":{\"id\":5,"
                                            "\"email\":\"table@b.example\",\"name\":\"Mia\"}}"},
        {"{\"email\":\"mia@b.example\",\"rooms\":[{\"n\":3,\"x\":null}],\"vip\":true}",
         "\"to\":\"mia@b.example\",\"vars\":{\"id\":5,\"name\":\"of the table\","
         "\"email\":\"mia@b.example\",\"rooms\":[{\"n\":3,\"x\":null}],\"vip\":true}}"},
        {"{\"name\":null}", "\"name\":null}}"},
        /* An id in a contact is how it is found, and names of other cases are other names. */
        {"{\"id\":\"6\",\"Name\":\"x\"}", "{\"id\":5,\"name\":\"of the table\",\"email\":"
                                          "\"table@b.example\",\"Name\":\"x\"}}"},
        /* It takes an address back. */
        {"{\"email\":null}", "\"to\":\"\",\"vars\":{},\"fail\":\"the address is empty\"}"},
        {"{\"email\":7}", "\"to\":\"\",\"vars\":{},\"fail\":\"the address is empty\"}"},
        {"{\"email\":\"nobody\"}",
         "\"to\":\"nobody\",\"vars\":{},\"fail\":\"the address has no @\"}"},
        {"{}", "\"to\":\"table@b.example\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_written(&WITH_EMAIL, rows[i][0], rows[i][1]);
}

static void the_address_can_come_from_the_service_alone(void **state)
{
    (void)state;
    assert_written(&WITHOUT, "{\"email\":\"mia@b.example\"}",
                   "\"to\":\"mia@b.example\",\"vars\":{\"id\":5,\"name\":\"of the table\","
                   "\"email\":\"mia@b.example\"}}");
    assert_written(&WITHOUT, "{\"phone\":1}", "\"fail\":\"the address is empty\"");
}

static void a_reason_to_fail_goes_before_everything(void **state)
{
    (void)state;
    struct buf body;
    assert_false(write(&body, &WITH_EMAIL, NULL, 0, "the service does not know it"));
    assert_non_null(strstr(buf_text(&body), "\"to\":\"table@b.example\",\"vars\":{},\"fail\":\"the "
                                            "service does not know it\"}"));
    buf_fini(&body);
    assert_false(write(&body, &WITHOUT, NULL, 0, "the service does not know it"));
    assert_non_null(strstr(buf_text(&body), "\"to\":\"\",\"vars\":{},\"fail\""));
    buf_fini(&body);
}

static void too_much_of_a_contact_fails_its_recipient_alone(void **state)
{
    (void)state;
    struct buf body, json;
    buf_init(&json, 4 << 20);
    for (size_t len = RECIPIENT_VARS_MAX - 100; len <= RECIPIENT_VARS_MAX; len += 100) {
        buf_reset(&json);
        buf_append_text(&json, "{\"essay\":\"");
        for (size_t i = 0; i < len; i++) buf_append_char(&json, 'x');
        buf_append_text(&json, "\"}");
        bool fits = len < RECIPIENT_VARS_MAX - 50;
        assert_int_equal(write(&body, &WITH_EMAIL, json.data, json.len, NULL), fits);
        assert_int_equal(strstr(buf_text(&body), "the variable 'essay' brings") == NULL, fits);
        buf_fini(&body);
    }
    buf_fini(&json);
}

/* What can be read from a service can be read from a message, and nothing else is let in. */
static void what_is_decoded_is_what_a_message_can_carry(void **state)
{
    (void)state;
    struct arena arena;
    struct value value;
    char json[100];
    for (unsigned depth = 1; depth <= CHUNK_VARS_DEPTH_MAX + 1; depth++) {
        snprintf(json, sizeof json, "{\"a\":%.*s%.*s}", (int)depth - 1, "[[[[[[[[[[[[[[[[[[[[",
                 (int)depth - 1, "]]]]]]]]]]]]]]]]]]]]");
        if (depth == 1) snprintf(json, sizeof json, "{\"a\":1}");
        arena_init(&arena, 1 << 20);
        bool fits = depth <= CHUNK_VARS_DEPTH_MAX;
        assert_int_equal(chunk_value_decode(&arena, json, strlen(json), &value), fits);
        arena_fini(&arena);
        if (fits) assert_written(&WITH_EMAIL, json, "\"a\":");
    }
    static const char *const bad[] = {
        "", "{", "{} x", "{\"a\":\"\\u0000\"}", "{\"a\":\"\xff\"}", "x", "{\"a\":1,}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        arena_init(&arena, 1 << 20);
        if (chunk_value_decode(&arena, bad[i], strlen(bad[i]), &value)) fail_msg("%s", bad[i]);
        arena_fini(&arena);
    }
    arena_init(&arena, 1 << 20);
    assert_false(chunk_value_decode(&arena, "{\0}", 3, &value));
    arena_fini(&arena);
    arena_init(&arena, 10);
    assert_false(chunk_value_decode(&arena, "{\"a\":\"0123456789\"}", 18, &value));
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_service_says_comes_before_columns_of_the_same_name),
        cmocka_unit_test(the_address_can_come_from_the_service_alone),
        cmocka_unit_test(a_reason_to_fail_goes_before_everything),
        cmocka_unit_test(too_much_of_a_contact_fails_its_recipient_alone),
        cmocka_unit_test(what_is_decoded_is_what_a_message_can_carry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
