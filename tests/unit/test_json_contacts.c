/* Answers and events of a contact service, whole and broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/json_contacts.h"

/* What was taken, as "id/version/json;". */
static struct err note_contact(void *user, const struct contact_text *c)
{
    if (strcmp(c->id, "refuse") == 0) return err_make(ERR_INPUT, 0, "not this one");
    buf_append_format(user, "%s/%llu/%.*s;", c->id, (unsigned long long)c->version,
                      (int)c->json_len, c->json);
    return err_none();
}

/* Reads from memory of exactly that size, so that a sanitizer sees what is read behind it. */
static struct err read_exact(const char *text, size_t len, struct buf *out)
{
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    buf_init(out, 1 << 20);
    struct err e = contacts_read(copy, len, note_contact, out);
    free(copy);
    return e;
}

static void an_answer_gives_its_contacts_as_they_were_written(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{\"contacts\":[]}", ""},
        {" {\n\"contacts\" : [ ] \r\n}\t", ""},
        {"{\"contacts\":[{\"id\":\"1\"}]}", "1/0/{\"id\":\"1\"};"},
        {"{\"contacts\":[{\"id\":7,\"version\":3, \"a\":[1,{\"b\":\"]}\\\"\"}]} , {\"id\":\"x "
         "y\"}]}",
         "7/3/{\"id\":7,\"version\":3, \"a\":[1,{\"b\":\"]}\\\"\"}]};x y/0/{\"id\":\"x y\"};"},
        {"{\"total\":2,\"next\":null,\"meta\":{\"contacts\":[1]},\"contacts\":[{\"id\":-5}],\"z\":["
         "[]]}",
         "-5/0/{\"id\":-5};"},
        {"{\"contacts\":[{\"id\":\"1\",\"version\":1732312345678}]}",
         "1/1732312345678/{\"id\":\"1\",\"version\":1732312345678};"},
        /* No version of ours: nothing to compare by. */
        {"{\"contacts\":[{\"id\":\"1\",\"version\":\"v2\"}]}",
         "1/0/{\"id\":\"1\",\"version\":\"v2\"};"},
        {"{\"contacts\":[{\"id\":\"1\",\"version\":1.5}]}", "1/0/{\"id\":\"1\",\"version\":1.5};"},
        {"{\"contacts\":[{\"id\":\"1\",\"version\":-1}]}", "1/0/{\"id\":\"1\",\"version\":-1};"},
        {"{\"contacts\":[{\"id\":\"ü\"}]}", "ü/0/{\"id\":\"ü\"};"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf got;
        struct err e = read_exact(rows[i][0], strlen(rows[i][0]), &got);
        if (e.code) fail_msg("row %zu: %s", i, e.text);
        assert_string_equal(buf_text(&got), rows[i][1]);
        buf_fini(&got);
    }
}

static void what_is_no_answer_is_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "breaks off after 0 bytes"},
        {"  ", "breaks off"},
        {"<html></html>", "no JSON object"},
        {"[{\"id\":\"1\"}]", "no JSON object"},
        {"null", "no JSON object"},
        {"{}", "no list 'contacts'"},
        {"{\"contact\":[]}", "no list 'contacts'"},
        {"{\"contacts\":{}}", "no list 'contacts'"},
        {"{\"contacts\":null}", "no list 'contacts'"},
        {"{\"data\":{\"contacts\":[]}}", "no list 'contacts'"},
        {"{\"contacts\":[]", "no JSON around"},
        {"{\"contacts\":[]}}", "no JSON around"},
        {"{\"contacts\":[],}", "no JSON around"},
        {"{\"contacts\":[]} x", "no JSON around"},
        {"{\"a\":tru,\"contacts\":[]}", "no JSON around"},
        {"{\"contacts\":[{\"id\":\"1\"}", "breaks off"},
        {"{\"contacts\":[{\"id\":\"1\"},", "breaks off"},
        {"{\"contacts\":[{\"id\":\"1", "breaks off"},
        {"{\"contacts\":[{\"id\":\"1\\", "breaks off"},
        {"{\"contacts\"", "breaks off"},
        {"{\"contacts\":", "breaks off"},
        {"{\"contacts\" []}", "no JSON at byte 12"},
        {"{\"contacts\":[{\"id\":\"1\"} {\"id\":\"2\"}]}", "no JSON at byte"},
        {"{\"contacts\":[{\"id\":\"1\"},]}", "no JSON at byte"},
        {"{\"contacts\":[,{\"id\":\"1\"}]}", "no JSON at byte"},
        {"{\"contacts\":[}", "no JSON"},
        {"{\"contacts\":[{]]}", "no JSON"},
        {"{\"contacts\":[{\"id\":\"1\",}]}", "contact 1 of the answer: it is no JSON"},
        {"{\"contacts\":[{\"id\":\"1\"},17]}", "contact 2 of the answer: it is no object"},
        {"{\"contacts\":[\"1\"]}", "it is no object"},
        {"{\"contacts\":[[]]}", "it is no object"},
        {"{\"contacts\":[{\"name\":\"x\"}]}", "id must be"},
        {"{\"contacts\":[{\"id\":\"\"}]}", "id must be"},
        {"{\"contacts\":[{\"id\":1.5}]}", "id must be"},
        {"{\"contacts\":[{\"id\":9007199254740993}]}", "id must be"},
        {"{\"contacts\":[{\"id\":null}]}", "id must be"},
        {"{\"contacts\":[{\"id\":"
         "\"12345678901234567890123456789012345678901234567890123456789012345"
         "\"}]}",
         "id must be"},
        {"{\"contacts\":[{\"id\":\"1\"},{\"id\":\"refuse\"}]}",
         "contact 2 of the answer: not this one"},
        {"{\"contacts\":[{\"id\":\"\xff\"}]}", "not UTF-8 at byte 20"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf got;
        struct err e = read_exact(rows[i][0], strlen(rows[i][0]), &got);
        if (!e.code || !strstr(e.text, rows[i][1]))
            fail_msg("row %zu: no '%s' in: %s", i, rows[i][1], e.text);
        buf_fini(&got);
    }
}

/* Every beginning of an answer but the whole is refused, and nothing is read behind its end. */
static void no_beginning_of_an_answer_is_taken_for_one(void **state)
{
    (void)state;
    static const char whole[] =
        "{\"total\":1,\"contacts\":[{\"id\":\"a\\\"b\",\"x\":[{\"y\":1.5e3}]},"
        "{\"id\":12,\"n\":null}],\"end\":\"\\u00e9\"}";
    for (size_t len = 0; len < sizeof whole; len++) {
        struct buf got;
        struct err e = read_exact(whole, len, &got);
        assert_int_equal(e.code == ERR_NONE, len == sizeof whole - 1);
        buf_fini(&got);
    }
}

static void a_call_lists_its_ids_as_texts(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    contacts_write_start(&out);
    contacts_write_end(&out);
    assert_string_equal(buf_text(&out), "{\"ids\":[]}");
    buf_reset(&out);
    contacts_write_start(&out);
    contacts_write_id(&out, "1", 1);
    contacts_write_id(&out, "a\"b", 3);
    contacts_write_id(&out, "ü", 2);
    contacts_write_end(&out);
    assert_string_equal(buf_text(&out), "{\"ids\":[\"1\",\"a\\\"b\",\"ü\"]}");
    buf_fini(&out);
}

static void an_event_is_a_contact_with_a_version(void **state)
{
    (void)state;
    static const struct {
        const char *text, *tells;
    } rows[] = {
        {"{\"id\":\"1\",\"version\":5,\"name\":\"Mia\"}", NULL},
        {" {\"version\":9007199254740991,\"id\":1} ", NULL},
        {"", "no JSON"},
        {"{\"id\":\"1\",\"version\":5", "no JSON"},
        {"{\"id\":\"1\",\"version\":5} x", "no JSON"},
        {"[]", "no object"},
        {"{\"version\":5}", "id must be"},
        {"{\"id\":\"1\"}", "version must be"},
        {"{\"id\":\"1\",\"version\":0}", "version must be"},
        {"{\"id\":\"1\",\"version\":\"5\"}", "version must be"},
        {"{\"id\":\"1\",\"version\":9007199254740992}", "version must be"},
        {"{\"id\":\"1\",\"version\":1e300}", "version must be"},
        {"{\"id\":\"\xc3\",\"version\":1}", "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct contact_text contact;
        struct err e = contact_read_event(rows[i].text, strlen(rows[i].text), &contact);
        if (!rows[i].tells) {
            if (e.code) fail_msg("row %zu: %s", i, e.text);
            assert_string_equal(contact.id, "1");
            assert_true(contact.version == 5 || contact.version == 9007199254740991u);
        } else if (!e.code || !strstr(e.text, rows[i].tells)) {
            fail_msg("row %zu: no '%s' in: %s", i, rows[i].tells, e.text);
        }
    }
    struct contact_text contact;
    struct err e = contact_read_event("{\"id\":\"1\",\0\"version\":5}", 22, &contact);
    assert_non_null(strstr(e.text, "NUL"));
}

/* before, then n zeros, then behind. */
static void write_zeros(struct buf *b, const char *before, size_t n, const char *behind)
{
    buf_reset(b);
    buf_append_text(b, before);
    for (size_t i = 0; i < n; i++) buf_append_text(b, i ? ",0" : "0");
    buf_append_text(b, behind);
}

static void too_many_values_are_not_made_into_a_tree(void **state)
{
    (void)state;
    enum { MOST = CHUNK_VARS_VALUES_MAX };
    struct buf b, got;
    struct contact_text contact;
    buf_init(&b, 1 << 20);
    write_zeros(&b, "{\"id\":\"1\",\"version\":5,\"a\":[", MOST - 10, "]}");
    assert_int_equal(contact_read_event(b.data, b.len, &contact).code, ERR_NONE);
    write_zeros(&b, "{\"id\":\"1\",\"version\":5,\"a\":[", MOST, "]}");
    struct err e = contact_read_event(b.data, b.len, &contact);
    assert_non_null(strstr(e.text, "it holds more than 50000 values"));
    write_zeros(&b, "{\"contacts\":[{\"id\":\"1\",\"a\":[", MOST, "]}]}");
    e = read_exact(b.data, b.len, &got);
    assert_non_null(strstr(e.text, "contact 1 of the answer: it holds more than 50000 values"));
    buf_fini(&got);
    write_zeros(&b, "{\"a\":[", MOST, "],\"contacts\":[{\"id\":\"1\"}]}");
    e = read_exact(b.data, b.len, &got);
    assert_non_null(strstr(e.text, "around its list 'contacts'"));
    buf_fini(&got);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_gives_its_contacts_as_they_were_written),
        cmocka_unit_test(what_is_no_answer_is_refused),
        cmocka_unit_test(no_beginning_of_an_answer_is_taken_for_one),
        cmocka_unit_test(a_call_lists_its_ids_as_texts),
        cmocka_unit_test(an_event_is_a_contact_with_a_version),
        cmocka_unit_test(too_many_values_are_not_made_into_a_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
