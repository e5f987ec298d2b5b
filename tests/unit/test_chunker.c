/* Rows to chunk messages; what the decoder reads back is the oracle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "producer/chunker.h"

enum { N_COLUMNS = 4 };

static const struct db_column COLUMNS[N_COLUMNS] = {
    {"id", DB_KIND_INT, true},
    {"email", DB_KIND_TEXT, false},
    {"x", DB_KIND_TEXT, false},
    {"j", DB_KIND_JSON, false},
};
static const struct recipient_columns SHAPE = {COLUMNS, N_COLUMNS, 0, 1};

static struct db_cell text_cell(const char *text)
{
    return (struct db_cell){text, text ? strlen(text) : 0};
}

static void add_row(struct chunker *c, const char *id, const char *email, const char *x)
{
    const struct db_cell row[N_COLUMNS] = {text_cell(id), text_cell(email), text_cell(x),
                                           text_cell("[1]")};
    chunker_add(c, row, NULL);
}

static void add_number(struct chunker *c, unsigned number, const char *x)
{
    char id[16], email[40];
    snprintf(id, sizeof id, "%u", number);
    snprintf(email, sizeof email, "user%u@example.net", number);
    add_row(c, id, email, x);
}

static void decode(const struct chunker *c, unsigned i, struct chunk_message *out)
{
    const struct chunker_chunk *chunk = &c->chunks[i];
    struct err e = chunk_decode(c->body.data + chunk->at, chunk->len, out);
    if (e.code) fail_msg("chunk %u: %s", i, e.text);
    assert_int_equal(out->run, c->run);
    assert_int_equal(out->chunk, chunk->no);
    assert_int_equal(out->attempt, 1);
    assert_int_equal(out->n, chunk->recipients);
    assert_string_equal(out->recipients[0].id, chunk->first_id);
    assert_string_equal(out->recipients[out->n - 1].id, chunk->last_id);
    uint64_t digest = chunk_digest_start();
    for (uint32_t k = 0; k < out->n; k++) {
        assert_int_equal(out->recipients[k].position, k);
        digest = chunk_digest_add(digest, out->recipients[k].id, out->recipients[k].id_len);
    }
    assert_true(digest == out->digest);
}

static void a_chunk_closes_with_its_recipients(void **state)
{
    (void)state;
    struct chunker c;
    chunker_init(&c, &SHAPE, 12, 7, 3);
    for (unsigned i = 1; i <= 8; i++) add_number(&c, i, "a");
    assert_int_equal(c.n, 2);
    chunker_finish(&c);
    chunker_finish(&c); /* nothing open: nothing happens */
    assert_int_equal(c.n, 3);
    static const unsigned sizes[] = {3, 3, 2};
    for (unsigned i = 0; i < 3; i++) {
        struct chunk_message m;
        decode(&c, i, &m);
        assert_int_equal(m.chunk, 7 + i);
        assert_int_equal(m.n, sizes[i]);
        chunk_fini(&m);
    }
    chunker_fini(&c);
}

static void a_chunk_closes_when_its_body_is_large(void **state)
{
    (void)state;
    static char large[100 * 1024];
    memset(large, 'x', sizeof large - 1);
    struct chunker c;
    chunker_init(&c, &SHAPE, 1, 0, 1000);
    for (unsigned i = 1; i <= 7; i++) add_number(&c, i, large);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.chunks[0].recipients, 3);
    assert_true(c.chunks[0].len >= CHUNK_BODY_TARGET && c.chunks[0].len < CHUNK_BODY_MAX);
    chunker_fini(&c);
}

/* The concatenated bodies of the chunks of 100 rows, read in pages of that many rows. */
static void cut_in_pages(unsigned page, struct buf *out)
{
    struct chunker c;
    chunker_init(&c, &SHAPE, 1, 0, 7);
    for (unsigned i = 1; i <= 100; i++) {
        add_number(&c, i, "some text");
        if (i % page && i < 100) continue;
        if (i == 100) chunker_finish(&c);
        for (unsigned k = 0; k < c.n; k++)
            buf_append(out, c.body.data + c.chunks[k].at, c.chunks[k].len);
        chunker_shift(&c);
    }
    assert_false(c.open);
    assert_int_equal(c.next_no, 15);
    chunker_fini(&c);
}

static void chunks_do_not_depend_on_pages(void **state)
{
    (void)state;
    struct buf want, got;
    buf_init(&want, 1 << 20);
    buf_init(&got, 1 << 20);
    cut_in_pages(100, &want);
    for (unsigned page = 1; page < 40; page++) {
        buf_reset(&got);
        cut_in_pages(page, &got);
        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.data, want.data, want.len);
    }
    buf_fini(&want);
    buf_fini(&got);
}

/* One row through recipient_write and chunk_decode. */
static struct chunk_recipient one(const struct recipient_columns *shape, const struct db_cell *row,
                                  struct chunk_message *m)
{
    struct buf body;
    buf_init(&body, CHUNK_BODY_MAX);
    chunk_write_start(&body, 1, 0, 1);
    bool usable = recipient_write(&body, 0, shape, row, NULL);
    chunk_write_end(&body, 0);
    assert_false(body.too_big);
    struct err e = chunk_decode(body.data, body.len, m);
    if (e.code) fail_msg("%s", e.text);
    buf_fini(&body);
    assert_int_equal(usable, !m->recipients[0].fail);
    return m->recipients[0];
}

static void unusable_addresses_become_the_recipients_failure(void **state)
{
    (void)state;
    static char longest[5000];
    memset(longest, 'a', sizeof longest);
    longest[300] = '@';
    memcpy(longest + 319, "\xc3\xa9", 2); /* a cut at 320 would halve it */
    static const struct {
        const char *name;
        struct db_cell email;
        const char *fail, *to; /* to: NULL where it does not matter */
    } rows[] = {
        {"good", {"a@b.example", 11}, NULL, "a@b.example"},
        {"NULL", {NULL, 0}, "is empty", ""},
        {"empty", {"", 0}, "is empty", ""},
        {"without @", {"nobody", 6}, "no @", "nobody"},
        {"line break", {"a@b.c\r\nX: y", 11}, "line break", "a@b.c??X: y"},
        {"NUL", {"a\0b@c.d", 7}, "NUL", "a?b@c.d"},
        {"not UTF-8", {"\xff\xfe@c.d", 6}, "not valid UTF-8", "??@c.d"},
        {"local part beyond ASCII", {"zo\xc3\xab@c.d", 8}, NULL, "zo\xc3\xab@c.d"},
        {"domain beyond ASCII", {"a@b\xc3\xbc.de", 8}, NULL, "a@xn--b-eha.de"},
        {"domain that cannot be", {"a@\xe2\x98\x83.de", 8}, "cannot have", "a@\xe2\x98\x83.de"},
        {"too long", {longest, sizeof longest}, "", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct db_cell row[N_COLUMNS] = {text_cell("5"), rows[i].email, text_cell("v"),
                                               text_cell("1")};
        struct chunk_message m;
        struct chunk_recipient r = one(&SHAPE, row, &m);
        assert_string_equal(r.id, "5");
        if (rows[i].to) assert_string_equal(r.to, rows[i].to);
        if (!rows[i].fail) {
            assert_null(r.fail);
            assert_int_equal(r.vars.len, N_COLUMNS);
        } else if (!r.fail || !strstr(r.fail, rows[i].fail)) {
            fail_msg("%s: %s", rows[i].name, r.fail ? r.fail : "usable");
        } else {
            assert_int_equal(r.vars.len, 0);
        }
        chunk_fini(&m);
    }
}

static void values_keep_what_the_database_wrote(void **state)
{
    (void)state;
    static const struct {
        enum db_kind kind;
        const char *cell;
        enum value_kind want_kind;
        const char *want;
    } rows[] = {
        {DB_KIND_INT, "42", VALUE_NUMBER, "42"},
        {DB_KIND_INT, "-7", VALUE_NUMBER, "-7"},
        {DB_KIND_INT, "0", VALUE_NUMBER, "0"},
        {DB_KIND_INT, "9007199254740991", VALUE_NUMBER, "9007199254740991"},
        {DB_KIND_INT, "9007199254740992", VALUE_TEXT, "9007199254740992"},
        {DB_KIND_INT, "-9007199254740991", VALUE_NUMBER, "-9007199254740991"},
        {DB_KIND_INT, "18446744073709551615", VALUE_TEXT, "18446744073709551615"},
        {DB_KIND_INT, "00042", VALUE_TEXT, "00042"},
        {DB_KIND_DECIMAL, "3.50", VALUE_TEXT, "3.50"},
        {DB_KIND_TEXT, "42", VALUE_TEXT, "42"},
        {DB_KIND_TEXT, "\"\\\n\t\x01\xed\x95\x9c", VALUE_TEXT, "\"\\\n\t\x01\xed\x95\x9c"},
        {DB_KIND_TEXT, "", VALUE_TEXT, ""},
        {DB_KIND_BYTES, "text", VALUE_TEXT, "text"},
        {DB_KIND_BIT, "\x01", VALUE_NUMBER, "1"},
        {DB_KIND_BIT, "\x01\x02", VALUE_NUMBER, "258"},
        {DB_KIND_BIT, "\x1f\xff\xff\xff\xff\xff\xff", VALUE_NUMBER, "9007199254740991"},
        {DB_KIND_BIT, "\xff\xff\xff\xff\xff\xff\xff\xff", VALUE_TEXT, "18446744073709551615"},
        {DB_KIND_TEXT, NULL, VALUE_NULL, NULL},
        {DB_KIND_JSON, NULL, VALUE_NULL, NULL},
        {DB_KIND_JSON, "\"a\"", VALUE_TEXT, "a"},
        {DB_KIND_JSON, " true ", VALUE_TRUE, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct db_column columns[] = {COLUMNS[0], COLUMNS[1], {"v", rows[i].kind, false}};
        const struct recipient_columns shape = {columns, 3, 0, 1};
        const struct db_cell row[] = {text_cell("5"), text_cell("a@b.c"), text_cell(rows[i].cell)};
        struct chunk_message m;
        struct chunk_recipient r = one(&shape, row, &m);
        assert_null(r.fail);
        const struct value *v = value_get(&r.vars, "v", 1);
        assert_non_null(v);
        assert_int_equal(v->kind, rows[i].want_kind);
        if (rows[i].want) assert_string_equal(v->text, rows[i].want);
        v = value_get(&r.vars, "id", 2);
        assert_true(v && v->kind == VALUE_NUMBER && strcmp(v->text, "5") == 0);
        assert_non_null(value_get(&r.vars, "email", 5));
        chunk_fini(&m);
    }
}

static void unusable_values_become_the_recipients_failure(void **state)
{
    (void)state;
    static char huge[RECIPIENT_VARS_MAX + 2];
    memset(huge, 'x', sizeof huge);
    static const struct {
        const char *name;
        enum db_kind kind;
        struct db_cell cell;
        const char *want;
    } rows[] = {
        {"not UTF-8", DB_KIND_TEXT, {"a\xff", 2}, "'v' is not UTF-8"},
        {"NUL", DB_KIND_BYTES, {"a\0b", 3}, "NUL"},
        {"no JSON", DB_KIND_JSON, {"{\"a\":", 5}, "not JSON"},
        {"JSON and more", DB_KIND_JSON, {"1 2", 3}, "not JSON"},
        {"huge", DB_KIND_TEXT, {huge, sizeof huge}, "1 MiB"},
        {"huge with the others", DB_KIND_TEXT, {huge, sizeof huge - 10}, "1 MiB"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct db_column columns[] = {COLUMNS[0], COLUMNS[1], {"v", rows[i].kind, false}};
        const struct recipient_columns shape = {columns, 3, 0, 1};
        const struct db_cell row[] = {text_cell("5"), text_cell("a@b.c"), rows[i].cell};
        struct chunk_message m;
        struct chunk_recipient r = one(&shape, row, &m);
        if (!r.fail || !strstr(r.fail, rows[i].want))
            fail_msg("%s: %s", rows[i].name, r.fail ? r.fail : "usable");
        assert_string_equal(r.to, "a@b.c");
        chunk_fini(&m);
    }
}

/* What the producer embeds, the decoder takes: else one deep value would cost a whole chunk. */
static void the_deepest_json_is_read_back(void **state)
{
    (void)state;
    const struct db_column columns[] = {COLUMNS[0], COLUMNS[1], {"v", DB_KIND_JSON, false}};
    const struct recipient_columns shape = {columns, 3, 0, 1};
    bool refused = false;
    for (unsigned depth = 1; depth <= CHUNK_VARS_DEPTH_MAX + 2; depth++) {
        char json[100] = "";
        memset(json, '[', depth);
        memset(json + depth, ']', depth);
        const struct db_cell row[] = {text_cell("5"), text_cell("a@b.c"), text_cell(json)};
        struct chunk_message m;
        struct chunk_recipient r = one(&shape, row, &m);
        refused = r.fail != NULL;
        chunk_fini(&m);
    }
    assert_true(refused);
}

/* As many values as one recipient may have are read back, one column or several. */
static void the_most_values_are_read_back(void **state)
{
    (void)state;
    enum { HALF = CHUNK_VARS_VALUES_MAX / 2 };
    static char json[4 * CHUNK_VARS_VALUES_MAX];
    const struct db_column columns[] = {
        COLUMNS[0], COLUMNS[1], {"v", DB_KIND_JSON, false}, {"w", DB_KIND_JSON, false}};
    static const struct {
        size_t values;
        unsigned n_columns;
        const char *want;
    } rows[] = {{HALF - 10, 4, NULL},
                {HALF + 10, 4, "the variables hold more than 50,000 values"},
                {2 * HALF - 10, 3, NULL},
                {2 * HALF + 10, 3, "the variable 'v' holds more than 50,000 values"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct recipient_columns shape = {columns, rows[i].n_columns, 0, 1};
        json[0] = '[';
        for (size_t k = 0; k < rows[i].values; k++) memcpy(json + 1 + 2 * k, "0,", 2);
        memcpy(json + 2 * rows[i].values, "]", 2);
        const struct db_cell row[] = {text_cell("5"), text_cell("a@b.c"), text_cell(json),
                                      text_cell(json)};
        struct chunk_message m;
        struct chunk_recipient r = one(&shape, row, &m);
        if (rows[i].want)
            assert_string_equal(r.fail, rows[i].want);
        else
            assert_null(r.fail);
        chunk_fini(&m);
    }
}

static void ids_are_judged_as_the_table_says(void **state)
{
    (void)state;
    static char longest[CHUNK_ID_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_null(recipient_id_problem(text_cell("81")));
    assert_null(recipient_id_problem((struct db_cell){longest, CHUNK_ID_MAX}));
    assert_non_null(recipient_id_problem((struct db_cell){longest, CHUNK_ID_MAX + 1}));
    assert_string_equal(recipient_id_problem((struct db_cell){NULL, 0}), "is NULL");
    assert_string_equal(recipient_id_problem(text_cell("")), "is empty");
    assert_non_null(recipient_id_problem((struct db_cell){"a\0b", 3}));
    assert_non_null(recipient_id_problem(text_cell("\xff")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_closes_with_its_recipients),
        cmocka_unit_test(a_chunk_closes_when_its_body_is_large),
        cmocka_unit_test(chunks_do_not_depend_on_pages),
        cmocka_unit_test(unusable_addresses_become_the_recipients_failure),
        cmocka_unit_test(values_keep_what_the_database_wrote),
        cmocka_unit_test(unusable_values_become_the_recipients_failure),
        cmocka_unit_test(the_deepest_json_is_read_back),
        cmocka_unit_test(the_most_values_are_read_back),
        cmocka_unit_test(ids_are_judged_as_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
