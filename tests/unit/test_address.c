/* Addresses and mailboxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/address.h"
#include "common/buf.h"

static void addresses_are_judged_as_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *want; /* want: part of the reason, NULL for good */
    } rows[] = {
        {"plain", "ada@example.com", NULL},
        {"tags and symbols", "a.b+c=d/e!{x}'y@sub.example.co.kr", NULL},
        {"host without a dot", "root@localhost", NULL},
        {"dots anywhere", ".a..b.@docomo.example", NULL},
        {"IDN in ASCII", "a@xn--bcher-kva.example", NULL},
        {"empty", "", "is empty"},
        {"no @", "ada", "no @"},
        {"two @", "a@b@example.com", "more than one @"},
        {"no local part", "@example.com", "nothing before the @"},
        {"no domain", "ada@", "no domain"},
        {"line feed", "a@b.c\nRCPT TO:<x@y.z>", "line break"},
        {"carriage return", "a\r@b.c", "line break"},
        {"tab", "a\tb@c.d", "control character"},
        {"DEL", "a\x7f@c.d", "control character"},
        {"space", "a b@c.d", "space"},
        {"angle bracket", "a@c.d>", "< or >"},
        {"UTF-8 local part", "é@c.d", NULL},
        {"Latin-1 local part", "\xe9@c.d", "not valid UTF-8"},
        {"control character of Unicode", "a\xc2\x9f@c.d", "control character"},
        {"first character behind the controls", "a\xc2\xa0@c.d", NULL},
        {"UTF-8 domain", "e@é.d", "letters, digits"},
        {"quoted local part", "\"ab\"@c.d", "quoted"},
        {"comma", "a,b@c.d", "must not stand there"},
        {"empty label", "a@b..c", "empty label"},
        {"dot at the end", "a@b.c.", "empty label"},
        {"hyphen at an end", "a@-b.c", "hyphen"},
        {"address literal", "a@[127.0.0.1]", "literal"},
        {"colon in the domain", "a@b:25", "letters, digits"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *got = address_check(rows[i].input, strlen(rows[i].input));
        bool good = rows[i].want ? got && strstr(got, rows[i].want) : !got;
        if (!good) fail_msg("%s: got %s", rows[i].name, got ? got : "nothing wrong");
    }
}

static void domains_are_made_ascii(void **state)
{
    (void)state;
    static const struct {
        const char *input, *want;
    } rows[] = {
        {"ada@example.com", "ada@example.com"},
        {"Ada@Example.COM", "Ada@Example.COM"},
        {"user@bücher.example", "user@xn--bcher-kva.example"},
        {"user@BÜCHER.Example", "user@xn--bcher-kva.example"},
        {"user@bu\xcc\x88"
         "cher.example",
         "user@xn--bcher-kva.example"}, /* u and a combining diaeresis */
        {"a@straße.example", "a@xn--strae-oqa.example"},
        {"a@한국.example", "a@xn--3e0b707e.example"},
        {"a@例え。テスト", "a@xn--r8jz45g.xn--zckzah"},
        {"a@ｅｘａｍｐｌｅ.com", "a@example.com"},
        {"김민지@메일.example", "김민지@xn--h32bq4v.example"},
        {"김민지@mail.example", "김민지@mail.example"},
        {"a@xn--bcher-kva.example", "a@xn--bcher-kva.example"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char room[ADDRESS_MAX + 1];
        const char *got = rows[i].input;
        size_t len = strlen(got);
        const char *problem = address_prepare(&got, &len, room);
        if (problem || len != strlen(rows[i].want) || memcmp(got, rows[i].want, len) != 0)
            fail_msg("%s: %s, got %.*s", rows[i].input, problem ? problem : "", (int)len, got);
    }
}

static void domains_that_cannot_be_made_ascii_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *input, *want;
    } rows[] = {
        {"what is wrong in ASCII too", "é", "no @"},
        {"the local part is looked at", "a b@bücher.example", "space"},
        {"line break before an IDN", "a\r\nRCPT TO:<x@y.z>@bücher.example", "line break"},
        {"Latin-1",
         "a@b\xfc"
         "cher.example",
         "not valid UTF-8"},
        {"empty label", "a@bücher..example", "empty label"},
        {"hyphen at an end", "a@-bücher.example", "internationalized"},
        {"emoji", "a@☃.example", "cannot have"},
        {"what maps to a blank",
         "a@bü\xe3\x80\x80"
         "cher.example",
         "internationalized"},
        {"what maps to an @", "a@b＠c.example", "more than one @"},
        {"what maps to < and >", "a@b＞＜c.example", "< or >"},
        {"right to left after left to right", "a@aא.example", "directions"},
        {"what only looks encoded", "a@xn--ü.example", "internationalized"},
        {"a long label",
         "a@"
         "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü.example",
         "63 bytes"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char room[ADDRESS_MAX + 1];
        const char *got = rows[i].input;
        size_t len = strlen(got);
        const char *problem = address_prepare(&got, &len, room);
        if (!problem || !strstr(problem, rows[i].want))
            fail_msg("%s: %s", rows[i].name, problem ? problem : "nothing wrong");
    }
}

static void a_nul_byte_is_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(address_check("a@b\0.c", 6), "NUL"));
    assert_non_null(strstr(address_check("\0a@b.c", 6), "NUL"));
}

static void lengths_are_limited(void **state)
{
    (void)state;
    char address[400];
    memset(address, 'a', sizeof address);
    address[64] = '@';
    for (size_t i = 65 + 50; i < sizeof address; i += 51) address[i] = '.';
    assert_null(address_check(address, 254));
    assert_non_null(strstr(address_check(address, 255), "254"));
    address[64] = 'a';
    address[65] = '@';
    assert_non_null(strstr(address_check(address, 100), "64 bytes"));
    memset(address + 66, 'b', 64);
    assert_non_null(strstr(address_check(address + 2, 64 + 64), "63 bytes"));
}

static void lengths_are_those_of_the_ascii_form(void **state)
{
    (void)state;
    static const struct {
        int labels;
        const char *want;
    } rows[] = {{13, NULL},
                {14, "254 bytes"},
                {20, "255 bytes"},
                {200, "255 bytes"},
                {100000, "255 bytes"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf text;
        char room[ADDRESS_MAX + 1];
        buf_init(&text, 1 << 20);
        for (int k = 0; k < 64; k++) buf_append_char(&text, 'a');
        buf_append_char(&text, '@');
        for (int k = 0; k < rows[i].labels; k++) buf_append_text(&text, "bücher.");
        buf_append_text(&text, "kr");
        const char *address = text.data, *want = rows[i].want;
        size_t len = text.len;
        const char *got = address_prepare(&address, &len, room);
        if (want ? !got || !strstr(got, want) : got != NULL)
            fail_msg("%d labels: %s", rows[i].labels, got ? got : "nothing wrong");
        buf_fini(&text);
    }
}

static void mailboxes_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *input, *name, *address;
    } rows[] = {
        {"a@b.c", "", "a@b.c"},
        {" <a@b.c> ", "", "a@b.c"},
        {"Ada <a@b.c>", "Ada", "a@b.c"},
        {"  Ada  Lovelace  <a@b.c>", "Ada  Lovelace", "a@b.c"},
        {"\"Lovelace, Ada\" <a@b.c>", "Lovelace, Ada", "a@b.c"},
        {"\"a \\\"b\\\" \\\\\" <a@b.c>", "a \"b\" \\", "a@b.c"},
        {"Lovelace, Ada <a@b.c>", "Lovelace, Ada", "a@b.c"},
        {"Bücher <info@bücher.example>", "Bücher", "info@xn--bcher-kva.example"},
        {"\xed\x99\x8d\xea\xb8\xb8\xeb\x8f\x99 <a@b.c>", "\xed\x99\x8d\xea\xb8\xb8\xeb\x8f\x99",
         "a@b.c"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mailbox got;
        struct err e = mailbox_parse(rows[i].input, strlen(rows[i].input), &got);
        if (e.code) fail_msg("%s: %s", rows[i].input, e.text);
        assert_string_equal(got.name, rows[i].name);
        assert_string_equal(got.address, rows[i].address);
    }
}

static void wrong_mailboxes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *input, *want;
    } rows[] = {
        {"", "is empty"},
        {"Ada", "no @"},
        {"Ada <a@b.c", "space"},
        {"Ada a@b.c>", "> without <"},
        {"Ada\r\nBcc: x@y.z <a@b.c>", "control character"},
        {"\"Ada <a@b.c>", "quote"},
        {"\"Ada\\\" <a@b.c>", "quote"},
        {"A \"d\" a <a@b.c>", "quote"},
        {"\"a\" b <a@b.c>", "quote"},
        {"\xff <a@b.c>", "UTF-8"},
        {"a@b.c, d@e.f", "space"},
        {"Ada <>", "is empty"},
        {"Ada <a@☃.example>", "cannot have"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mailbox got;
        struct err e = mailbox_parse(rows[i].input, strlen(rows[i].input), &got);
        if (e.code != ERR_CONFIG || !strstr(e.text, rows[i].want))
            fail_msg("%s: %d %s", rows[i].input, e.code, e.text);
    }
    struct mailbox got;
    assert_int_equal(mailbox_parse("A\0 <a@b.c>", 10, &got).code, ERR_CONFIG);
}

static void folding_changes_ascii_letters_only(void **state)
{
    (void)state;
    static const struct {
        const char *address, *want;
    } rows[] = {
        {"Mia@Example.NET", "mia@example.net"},
        {"a+b_C@x.y", "a+b_c@x.y"},
        {"@[`{AZaz09", "@[`{azaz09"},
        {"JOS\xc3\x89@x.y", "jos\xc3\x89@x.y"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[64] = "";
        address_fold(rows[i].address, strlen(rows[i].address), out);
        assert_string_equal(out, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folding_changes_ascii_letters_only),
        cmocka_unit_test(addresses_are_judged_as_the_table_says),
        cmocka_unit_test(domains_are_made_ascii),
        cmocka_unit_test(domains_that_cannot_be_made_ascii_are_refused),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(lengths_are_limited),
        cmocka_unit_test(lengths_are_those_of_the_ascii_form),
        cmocka_unit_test(mailboxes_are_parsed),
        cmocka_unit_test(wrong_mailboxes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
