/* The chunk message: what is written is read, and what is malformed is refused with the reason. */
#include <stdio.h>

#include "tests/unit/chunk_fixture.h"

static struct chunk_message decode(const char *text)
{
    struct chunk_message m;
    struct err e = decode_bytes(text, strlen(text), &m);
    if (e.code) fail_msg("%.60s: %s", text, e.text);
    return m;
}

static void what_is_read_is_what_was_written(void **state)
{
    (void)state;
    struct chunk_message m = decode(MESSAGE);
    assert_true(m.run == 9007199254740991u && m.chunk == 4294967295u && m.attempt == 1000);
    assert_int_equal(m.digest, 0xff);
    assert_int_equal(m.n, 3);
    const struct chunk_recipient *r = m.recipients;
    assert_int_equal(r[1].position, 9998);
    assert_string_equal(r[0].id, "81");
    assert_int_equal(r[0].to_len, strlen("a@b.example"));
    assert_null(r[0].fail);
    assert_string_equal(r[1].fail, "the address is empty");
    const struct value *name = value_get(&r[0].vars, "name", 4);
    assert_string_equal(name->text, "\xed\x99\x8d \"q\" \\ \n\x1f");
    assert_int_equal(name->len, strlen(name->text));
    assert_string_equal(value_get(&r[0].vars, "n", 1)->text, "-7");
    assert_int_equal(value_get(&r[0].vars, "none", 4)->kind, VALUE_NULL);
    assert_int_equal(value_get(&r[0].vars, "list", 4)->len, 3);
    assert_null(value_get(&r[0].vars, "Name", 4));
    struct buf b;
    buf_init(&b, 10000);
    encode(&m, &b);
    assert_string_equal(buf_text(&b), MESSAGE);
    buf_fini(&b);
    chunk_fini(&m);
}

static void numbers_keep_their_digits(void **state)
{
    (void)state;
    static const struct {
        const char *input, *want;
    } rows[] = {
        {"0", "0"},
        {"7", "7"},
        {"-7", "-7"},
        {"9007199254740991", "9007199254740991"},
        {"-9007199254740991", "-9007199254740991"},
        {"1e5", "100000"},
        {"3.5", "3.5"},
        {"0.1", "0.1"},
        {"1.1e-7", "1.1e-07"},
        {"2.2250738585072014e-308", "2.2250738585072014e-308"},
        {"1e300", "1e+300"},
        {"1e999", "1e999"},
        {"-1e999", "-1e999"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[300];
        for (int round = 0; round < 2; round++) { /* a retry's retry says the same */
            snprintf(text, sizeof text, HEAD "%s%s}}]}",
                     "{\"p\":0,\"id\":\"1\",\"to\":\"a@b.c\",\"vars\":{\"n\":",
                     round ? rows[i].want : rows[i].input);
            struct chunk_message m = decode(text);
            const struct value *got = value_get(&m.recipients[0].vars, "n", 1);
            if (got->kind != VALUE_NUMBER || strcmp(got->text, rows[i].want) != 0)
                fail_msg("%s: got %s", rows[i].input, got->text);
            assert_int_equal(got->len, strlen(got->text));
            chunk_fini(&m);
        }
    }
}

static void a_message_of_a_later_version_is_told_from_a_wrong_one(void **state)
{
    (void)state;
    static const char *const rows[] = {"{\"v\":2}", "{\"run\":\"x\",\"v\":1000}"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct chunk_message m;
        struct err e = chunk_decode(rows[i], strlen(rows[i]), &m);
        assert_int_equal(e.code, ERR_NEWER);
        assert_non_null(strstr(e.text, ", this program reads version 1"));
    }
}

static void what_is_no_chunk_message_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *want;
    } rows[] = {
        {"nothing", "", "not JSON at byte 0 of 0"},
        {"blanks", "  ", "not JSON"},
        {"a word", "hello", "not JSON at byte 0 of 5"},
        {"a list", "[]", "the body must be a JSON object"},
        {"a number", "1", "the body must be a JSON object"},
        {"null", "null", "the body must be a JSON object"},
        {"an empty object", "{}", "v must be a whole number from 0 to 1000"},
        {"text behind the object", HEAD "]} x", "not JSON at byte"},
        {"a second object", HEAD "]}" HEAD "]}", "not JSON at byte"},
        {"a comma too many", HEAD ",]}", "not JSON at byte"},
        {"single quotes", "{'v':1}", "not JSON at byte 2 of 7"},
        {"version 0", "{\"v\":0}", "version 0, this program reads version 1"},
        {"half a version", "{\"v\":1.5}", "v must be a whole number"},
        {"version past 1000", "{\"v\":1001}", "v must be a whole number"},
        {"version as text", "{\"v\":\"1\"}", "v must be a whole number"},
        {"no run", "{\"v\":1}", "run must be a whole number from 0 to 9007199254740991"},
        {"negative run", "{\"v\":1,\"run\":-1}", "run must be"},
        {"half a run", "{\"v\":1,\"run\":1.5}", "run must be"},
        {"run past 2^53", "{\"v\":1,\"run\":9007199254740992}", "run must be"},
        {"huge run", "{\"v\":1,\"run\":1e999}", "run must be"},
        {"run null", "{\"v\":1,\"run\":null}", "run must be"},
        {"no chunk", "{\"v\":1,\"run\":1}", "chunk must be a whole number from 0 to 4294967295"},
        {"chunk past 32 bits", "{\"v\":1,\"run\":1,\"chunk\":4294967296}", "chunk must be"},
        {"no attempt", "{\"v\":1,\"run\":1,\"chunk\":1}", "attempt must be a whole number"},
        {"attempt 0", "{\"v\":1,\"run\":1,\"chunk\":1,\"attempt\":0}",
         "attempt must be at least 1"},
        {"attempt 1001", "{\"v\":1,\"run\":1,\"chunk\":1,\"attempt\":1001}", "from 0 to 1000"},
        {"no digest", "{\"v\":1,\"run\":1,\"chunk\":1,\"attempt\":1}",
         "digest must be 16 lower-case hexadecimal digits"},
        {"capital digest",
         "{\"v\":1,\"run\":1,\"chunk\":1,\"attempt\":1,\"digest\":"
         "\"0123456789ABCDEF\"}",
         "digest must be"},
        {"short digest", "{\"v\":1,\"run\":1,\"chunk\":1,\"attempt\":1,\"digest\":\"1\"}",
         "digest must be"},
        {"digest as number", "{\"v\":1,\"run\":1,\"chunk\":1,\"attempt\":1,\"digest\":1}",
         "digest must be"},
        {"no recipients",
         "{\"v\":1,\"run\":1,\"chunk\":1,\"attempt\":1,\"digest\":\"0123456789abcdef\"}",
         "recipients must be a list"},
        {"a recipient that is none", HEAD "1]}", "each recipient must be an object"},
        {"no position", HEAD "{\"id\":\"1\",\"to\":\"a\",\"vars\":{}}]}",
         "recipient 0 of the message: chunk message: p must be a whole number from 0 to 9999"},
        {"position past the limit", HEAD ONE("10000", "1", "a", "") "]}", "p must be"},
        {"the same position twice", HEAD ONE("3", "1", "a", "") "," ONE("3", "2", "a", "") "]}",
         "position 3 follows 3, they must ascend"},
        {"positions that descend", HEAD ONE("3", "1", "a", "") "," ONE("2", "2", "a", "") "]}",
         "position 2 follows 3"},
        {"the second is wrong", HEAD ONE("0", "1", "a", "") ",{\"p\":1}]}",
         "recipient 1 of the message: chunk message: id must be a text of 1 to 64 bytes"},
        {"empty id", HEAD ONE("0", "", "a", "") "]}", "id must be a text of 1 to 64 bytes"},
        {"id as a number", HEAD "{\"p\":0,\"id\":1,\"to\":\"a\",\"vars\":{}}]}", "id must be"},
        {"no address", HEAD "{\"p\":0,\"id\":\"1\",\"vars\":{}}]}",
         "to must be a text of 0 to 320 bytes"},
        {"address null", HEAD "{\"p\":0,\"id\":\"1\",\"to\":null,\"vars\":{}}]}", "to must be"},
        {"no vars", HEAD "{\"p\":0,\"id\":\"1\",\"to\":\"a\"}]}", "vars must be an object"},
        {"vars as a list", HEAD "{\"p\":0,\"id\":\"1\",\"to\":\"a\",\"vars\":[]}]}",
         "vars must be"},
        {"empty fail", HEAD "{\"p\":0,\"id\":\"1\",\"to\":\"a\",\"vars\":{},\"fail\":\"\"}]}",
         "fail must be a text of 1 to 200 bytes"},
        {"fail null", HEAD "{\"p\":0,\"id\":\"1\",\"to\":\"a\",\"vars\":{},\"fail\":null}]}",
         "fail must be"},
        {"an escaped NUL in a variable", WITH_VARS("\"x\":\"a\\u0000b\""),
         "every text must be free of NUL characters"},
        {"an escaped NUL in a name", WITH_VARS("\"a\\u0000b\":1"), "free of NUL"},
        {"an escaped NUL in an id", HEAD ONE("0", "8\\u00001", "a@b.c", "") "]}", "free of NUL"},
        {"half a surrogate pair", WITH_VARS("\"x\":\"\\ud800\""), "not JSON at byte"},
        {"the other half", WITH_VARS("\"x\":\"\\udc00\""), "not JSON at byte"},
        {"a byte that is not UTF-8", WITH_VARS("\"x\":\"\xff\""), "the body must be UTF-8"},
        {"Latin-1 in an address", HEAD ONE("0", "1", "jos\xe9@b.c", "") "]}", "must be UTF-8"},
        {"an overlong form", HEAD ONE("0", "\xc0\xaf", "a@b.c", "") "]}", "must be UTF-8"},
        {"a surrogate as bytes", WITH_VARS("\"x\":\"\xed\xa0\x80\""), "must be UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct chunk_message m;
        struct err e = decode_bytes(rows[i].input, strlen(rows[i].input), &m);
        if (e.code != ERR_INPUT || !strstr(e.text, rows[i].want))
            fail_msg("%s: code %d, %s", rows[i].name, e.code, e.text);
    }
}

static void a_nul_byte_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    size_t len = sizeof MESSAGE - 1;
    char copy[sizeof MESSAGE];
    for (size_t at = 0; at < len; at++) {
        struct chunk_message m;
        memcpy(copy, MESSAGE, sizeof copy);
        copy[at] = '\0';
        struct err e = decode_bytes(copy, len, &m);
        if (e.code != ERR_INPUT) fail_msg("NUL at byte %zu was taken", at);
    }
    struct chunk_message m;
    assert_int_equal(decode_bytes(MESSAGE, len + 1, &m).code, ERR_INPUT);
}

static void an_escaped_backslash_before_u0000_is_no_nul(void **state)
{
    (void)state;
    struct chunk_message m = decode(WITH_VARS("\"x\":\"\\\\u0000\""));
    assert_string_equal(value_get(&m.recipients[0].vars, "x", 1)->text, "\\u0000");
    chunk_fini(&m);
}

static void a_message_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof MESSAGE - 1; len++) {
        struct chunk_message m;
        struct err e = decode_bytes(MESSAGE, len, &m);
        if (e.code != ERR_INPUT) fail_msg("cut at byte %zu: taken", len);
        assert_null(m.recipients);
    }
}

static void the_digest_knows_ids_and_their_bounds(void **state)
{
    (void)state;
    uint64_t one = chunk_digest_start(), two = one;
    assert_true(one == 0xcbf29ce484222325u);
    for (int i = 1; i <= 4; i++) one = chunk_digest_add(one, (char[]){(char)('0' + i)}, 1);
    assert_true(one == 0x26175bc6a6d2f655u); /* docs/chunk-format.md */
    one = chunk_digest_add(chunk_digest_add(two, "ab", 2), "c", 1);
    two = chunk_digest_add(chunk_digest_add(two, "a", 1), "bc", 2);
    assert_true(one != two);
}

static void what_json_cannot_carry_is_not_written(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_append_text(&b, "[");
    assert_false(chunk_write_text(&b, "a\xff", 2));
    assert_false(chunk_write_text(&b, "a\0b", 3));
    assert_true(chunk_write_text(&b, "a\x01\t\"\\\x7f", 6));
    assert_string_equal(buf_text(&b), "[\"a\\u0001\\t\\\"\\\\\x7f\"");
    buf_fini(&b);
}

static void a_message_id_has_room_for_the_largest_numbers(void **state)
{
    (void)state;
    char id[CHUNK_MESSAGE_ID_SIZE];
    assert_string_equal(chunk_message_id(id, UINT64_MAX, UINT32_MAX, UINT32_MAX),
                        "18446744073709551615/4294967295/4294967295");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_what_was_written),
        cmocka_unit_test(numbers_keep_their_digits),
        cmocka_unit_test(a_message_of_a_later_version_is_told_from_a_wrong_one),
        cmocka_unit_test(what_is_no_chunk_message_is_refused_with_the_reason),
        cmocka_unit_test(a_nul_byte_is_refused_wherever_it_stands),
        cmocka_unit_test(an_escaped_backslash_before_u0000_is_no_nul),
        cmocka_unit_test(a_message_cut_at_any_byte_is_refused),
        cmocka_unit_test(the_digest_knows_ids_and_their_bounds),
        cmocka_unit_test(what_json_cannot_carry_is_not_written),
        cmocka_unit_test(a_message_id_has_room_for_the_largest_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
