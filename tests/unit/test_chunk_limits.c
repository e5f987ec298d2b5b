/* The limits of chunk messages, and messages changed at random. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/encode.h"
#include "tests/unit/chunk_fixture.h"

static void texts_have_their_limits(void **state)
{
    (void)state;
    static const struct {
        const char *name, *before, *behind, *want;
        size_t most;
    } rows[] = {
        {"id", "{\"p\":0,\"id\":\"", "\",\"to\":\"a\",\"vars\":{}}]}", "id must be", 64},
        {"to", "{\"p\":0,\"id\":\"1\",\"to\":\"", "\",\"vars\":{}}]}", "to must be", 320},
        {"fail", "{\"p\":0,\"id\":\"1\",\"to\":\"\",\"vars\":{},\"fail\":\"", "\"}]}", "fail must",
         200},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t over = 0; over < 2; over++) {
            char text[1000], fill[400] = "";
            memset(fill, 'x', rows[i].most + over);
            snprintf(text, sizeof text, HEAD "%s%s%s", rows[i].before, fill, rows[i].behind);
            struct chunk_message m;
            struct err e = decode_bytes(text, strlen(text), &m);
            if ((e.code == ERR_INPUT) != over) fail_msg("%s: %s", rows[i].name, e.text);
            if (over) assert_non_null(strstr(e.text, rows[i].want));
            chunk_fini(&m);
        }
    }
}

static void write_recipients(struct buf *b, int n, const char *vars)
{
    buf_reset(b);
    buf_append_text(b, HEAD);
    for (int i = 0; i < n; i++)
        buf_append_format(b, "%s{\"p\":%d,\"id\":\"%d\",\"to\":\"\",\"vars\":{%s}}", i ? "," : "",
                          i, i, vars);
    buf_append_text(b, "]}");
}

static void a_message_may_have_none_or_ten_thousand_recipients(void **state)
{
    (void)state;
    static const struct {
        int n;
        enum err_code want;
    } rows[] = {
        {0, ERR_NONE}, {1, ERR_NONE}, {CHUNK_RECIPIENTS_MAX, ERR_NONE}, {10001, ERR_TOO_BIG}};
    struct buf b;
    buf_init(&b, 4 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct chunk_message m;
        write_recipients(&b, rows[i].n, "");
        struct err e = decode_bytes(b.data, b.len, &m);
        assert_int_equal(e.code, rows[i].want);
        if (e.code)
            assert_non_null(strstr(e.text, "10001 recipients, at most 10000"));
        else
            assert_int_equal(m.n, rows[i].n);
        chunk_fini(&m);
    }
    buf_fini(&b);
}

static void a_body_past_four_mebibytes_is_refused_unread(void **state)
{
    (void)state;
    struct buf b;
    struct chunk_message m;
    buf_init(&b, CHUNK_BODY_MAX + 1);
    buf_append_text(&b, WITH_VARS("\"x\":1"));
    while (b.len < CHUNK_BODY_MAX) buf_append_char(&b, ' ');
    assert_int_equal(decode_bytes(b.data, b.len, &m).code, ERR_NONE);
    chunk_fini(&m);
    buf_append_char(&b, ' ');
    struct err e = decode_bytes(b.data, b.len, &m);
    assert_int_equal(e.code, ERR_TOO_BIG);
    assert_non_null(strstr(e.text, "4194305 bytes, at most 4194304 are allowed"));
    buf_fini(&b);
}

/* Appends `before`, then `item` as often as needed for n values in all, then `behind`. */
static void write_values(struct buf *b, const char *before, const char *item, const char *behind,
                         size_t n)
{
    buf_reset(b);
    buf_append_text(b, before);
    for (size_t have = 1; have < n; have++) buf_append_format(b, "%s%s", have > 1 ? "," : "", item);
    buf_append_text(b, behind);
}

#define VARS HEAD "{\"p\":0,\"id\":\"1\",\"to\":\"\",\"vars\":{\"\":"

/* Beside them a message has its outermost object with six members, the recipient with four, and the
 * map with one. What is refused costs nothing but the look at it. */
static void a_message_of_too_many_values_is_refused_unread(void **state)
{
    (void)state;
    enum { OTHERS = 1 + 6 + 1 + 4 + 1, ROOM = CHUNK_VALUES_MAX - OTHERS };
    static const char *const items[][3] = {
        {VARS "[", "0", "]}}]}"}, {VARS "[", "\"\"", "]}}]}"}, {VARS "{", "\"\":true", "}}}]}"}};
    struct buf b;
    buf_init(&b, CHUNK_BODY_MAX);
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        for (size_t over = 0; over < 2; over++) {
            struct chunk_message m;
            write_values(&b, items[i][0], items[i][1], items[i][2], ROOM + 1 + 10 * over);
            struct err e = decode_bytes(b.data, b.len, &m);
            assert_int_equal(e.code, over ? ERR_TOO_BIG : ERR_NONE);
            if (over) assert_non_null(strstr(e.text, "more than 200000 values"));
            chunk_fini(&m);
        }
    }
    buf_fini(&b);
}

static void a_document_of_too_many_values_is_no_variable(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, CHUNK_BODY_MAX);
    for (size_t over = 0; over < 2; over++) {
        struct arena arena;
        struct value value;
        write_values(&b, "[", "[]", "]", CHUNK_VARS_VALUES_MAX / 2 + 10 * over);
        assert_int_equal(chunk_json_valid(b.data, b.len), !over);
        arena_init(&arena, CHUNK_BODY_MAX);
        assert_int_equal(chunk_value_decode(&arena, b.data, b.len, &value), !over);
        arena_fini(&arena);
    }
    write_values(&b, "[", "\"[,,,\\\"\"", "]", 40000); /* in texts they do not count */
    assert_true(chunk_json_valid(b.data, b.len));
    buf_fini(&b);
}

/* vars is one level, so is each list in it. */
static void variables_may_be_sixteen_levels_deep(void **state)
{
    (void)state;
    for (int depth = 1; depth < 40; depth++) {
        char text[400] = HEAD "{\"p\":0,\"id\":\"1\",\"to\":\"\",\"vars\":{\"[{\\\"[\":";
        for (int i = 1; i < depth; i++) strncat(text, i % 2 ? "[" : "{\"x\":", 8);
        strncat(text, "\"]}]}]}\"", 10); /* brackets in texts do not count */
        for (int i = depth - 1; i > 0; i--) strncat(text, i % 2 ? "]" : "}", 2);
        strncat(text, "}}]}", 8);
        struct chunk_message m;
        struct err e = decode_bytes(text, strlen(text), &m);
        assert_int_equal(e.code, depth <= 16 ? ERR_NONE : ERR_TOO_BIG);
        if (e.code) assert_non_null(strstr(e.text, "vars nested deeper than 16"));
        chunk_fini(&m);
    }
}

static void a_document_may_stand_as_a_variable_where_it_can_be_read_back(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input;
        bool want;
    } rows[] = {
        {"null", "null", true},
        {"blanks around", " {\"a\":[1]} \n", true},
        {"nothing", "", false},
        {"two", "1 2", false},
        {"a comma behind", "1,", false},
        {"a bracket open", "[1", false},
        {"an escaped NUL", "\"\\u0000\"", false},
        {"fifteen levels", "[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]", true},
        {"sixteen levels", "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[400];
        struct chunk_message m;
        if (chunk_json_valid(rows[i].input, strlen(rows[i].input)) != rows[i].want)
            fail_msg("%s", rows[i].name);
        snprintf(text, sizeof text, HEAD "{\"p\":0,\"id\":\"1\",\"to\":\"\",\"vars\":{\"x\":%s}}]}",
                 rows[i].input);
        struct err e = decode_bytes(text, strlen(text), &m);
        if (rows[i].want && e.code) fail_msg("%s: %s", rows[i].name, e.text);
        chunk_fini(&m);
    }
}

static void mutate(char *text, size_t *len, size_t size)
{
    static const char *const pieces[] = {"\"",   "\\",   "{",    "}",    "[",      "]",
                                         ",",    ":",    "0",    "-",    "1e9",    "\\u00",
                                         "\xed", "\x80", "\xff", "null", "\"p\":", " "};
    size_t at = (size_t)rand() % (*len + 1);
    const char *piece = pieces[(size_t)rand() % (sizeof pieces / sizeof *pieces)];
    size_t n = strlen(piece), cut = (size_t)rand() % 6;
    switch (rand() % 4) {
    case 0:
        if (at < *len) text[at] = (char)rand();
        break;
    case 1:
        if (*len + n > size) break;
        memmove(text + at + n, text + at, *len - at);
        memcpy(text + at, piece, n);
        *len += n;
        break;
    case 2:
        if (at + cut > *len) cut = *len - at;
        memmove(text + at, text + at + cut, *len - at - cut);
        *len -= cut;
        break;
    default:
        if (at < *len) text[at] ^= (char)(1 << rand() % 8);
    }
}

/* Whatever comes: a reason, or a message that keeps the limits and survives writing and reading. */
static void mutated_messages_are_refused_or_sound(void **state)
{
    (void)state;
    int taken = 0;
    struct buf b, again;
    buf_init(&b, 1 << 20);
    buf_init(&again, 1 << 20);
    srand(20260102);
    for (int round = 0; round < 10000; round++) {
        char text[sizeof MESSAGE + 64];
        size_t len = sizeof MESSAGE - 1;
        struct chunk_message m, back;
        memcpy(text, MESSAGE, len);
        for (int i = rand() % 4; i >= 0; i--) mutate(text, &len, sizeof text);
        struct err e = decode_bytes(text, len, &m);
        if (e.code) {
            assert_true(strlen(e.text) > 10 && m.n == 0);
            continue;
        }
        taken++;
        for (uint32_t i = 0; i < m.n; i++) {
            const struct chunk_recipient *r = &m.recipients[i];
            assert_true(r->position < CHUNK_RECIPIENTS_MAX && r->id_len && r->id_len <= 64);
            assert_true(r->to_len <= 320 && encode_utf8_valid(r->to, r->to_len));
            assert_true(!i || r[-1].position < r->position);
        }
        buf_reset(&b);
        encode(&m, &b);
        assert_false(b.too_big);
        e = decode_bytes(b.data, b.len, &back);
        if (e.code) fail_msg("'%.*s' became '%s': %s", (int)len, text, buf_text(&b), e.text);
        buf_reset(&again);
        encode(&back, &again);
        assert_string_equal(buf_text(&again), buf_text(&b));
        chunk_fini(&m);
        chunk_fini(&back);
    }
    assert_in_range(taken, 300, 7000);
    buf_fini(&b);
    buf_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_have_their_limits),
        cmocka_unit_test(a_message_may_have_none_or_ten_thousand_recipients),
        cmocka_unit_test(a_body_past_four_mebibytes_is_refused_unread),
        cmocka_unit_test(a_message_of_too_many_values_is_refused_unread),
        cmocka_unit_test(a_document_of_too_many_values_is_no_variable),
        cmocka_unit_test(variables_may_be_sixteen_levels_deep),
        cmocka_unit_test(a_document_may_stand_as_a_variable_where_it_can_be_read_back),
        cmocka_unit_test(mutated_messages_are_refused_or_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
