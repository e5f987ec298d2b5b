/* The log: one event is one line, whatever is in its texts; JSON when asked. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "common/encode.h"
#include "common/err.h"
#include "common/log.h"

/* Standard error goes into a file between these two. */
static int own_stderr, caught;

static void catch_start(void)
{
    char name[] = "/tmp/mailflock-test-log-XXXXXX";
    own_stderr = dup(STDERR_FILENO);
    caught = mkstemp(name);
    assert_true(own_stderr >= 0 && caught >= 0);
    unlink(name);
    assert_true(dup2(caught, STDERR_FILENO) >= 0);
}

/* What was written, borrowed until the next one. */
static const char *catch_end(void)
{
    static char text[256 * 1024];
    assert_true(dup2(own_stderr, STDERR_FILENO) >= 0);
    close(own_stderr);
    ssize_t n = pread(caught, text, sizeof text - 1, 0);
    close(caught);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

/* One line, its line end taken off; its time is checked and skipped. */
static const char *caught_line(void)
{
    char *line = (char *)(uintptr_t)catch_end();
    size_t len = strlen(line);
    assert_true(len > 0 && line[len - 1] == '\n');
    line[len - 1] = '\0';
    assert_null(strchr(line, '\n'));
    int year, n = 0;
    assert_int_equal(sscanf(line, "ts=%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ %n", &year, &n), 1);
    assert_true(n == (int)strlen("ts=2026-01-02T03:04:05.678Z "));
    return line + n;
}

static cJSON *caught_json(void)
{
    const char *line = catch_end();
    assert_true(encode_utf8_valid(line, strlen(line)));
    cJSON *json = cJSON_Parse(line);
    if (!json) fail_msg("not JSON: %s", line);
    return json;
}

static const char *json_text(const cJSON *json, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
    return text ? text : "(none)";
}

static void a_text_line_has_time_level_module_and_pairs(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, false);
    catch_start();
    log_warn("sender", "msg=\"no reply in time\" run=%d detail=\"%s\"", 12, "x y");
    assert_string_equal(caught_line(),
                        "level=warn mod=sender msg=\"no reply in time\" run=12 detail=\"x y\"");
}

static void a_json_line_has_the_same_and_numbers_are_numbers(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, true);
    catch_start();
    log_error("broker", "msg=\"a b\" run=%d part=%d zip=%s low=-7 empty=\"\" id=%s big=%s", 12, 0,
              "007", "1/2/3", "12345678901234567890");
    cJSON *json = caught_json();
    assert_string_equal(json_text(json, "level"), "error");
    assert_string_equal(json_text(json, "mod"), "broker");
    assert_string_equal(json_text(json, "msg"), "a b");
    assert_string_equal(json_text(json, "zip"), "007");
    assert_string_equal(json_text(json, "id"), "1/2/3");
    assert_string_equal(json_text(json, "empty"), "");
    assert_string_equal(json_text(json, "big"), "12345678901234567890");
    assert_int_equal(strlen(json_text(json, "ts")), strlen("2026-01-02T03:04:05.678Z"));
    assert_int_equal(cJSON_GetObjectItem(json, "run")->valueint, 12);
    assert_int_equal(cJSON_GetObjectItem(json, "part")->valueint, 0);
    assert_int_equal(cJSON_GetObjectItem(json, "low")->valueint, -7);
    assert_int_equal(cJSON_GetArraySize(json), 11);
    cJSON_Delete(json);
}

static void levels_above_the_least_are_not_written(void **state)
{
    (void)state;
    for (int least = LOG_LEVEL_ERROR; least <= LOG_LEVEL_DEBUG; least++) {
        int lines = 0;
        log_setup((enum log_level)least, false);
        catch_start();
        log_error("m", "a=1");
        log_warn("m", "a=1");
        log_info("m", "a=1");
        log_debug("m", "a=1");
        for (const char *p = catch_end(); (p = strchr(p, '\n')); p++) lines++;
        assert_int_equal(lines, least + 1);
    }
}

static const struct {
    const char *name, *input;
    size_t len, size;
    const char *want;
} TEXTS[] = {
    {"plain", "250 2.0.0 Ok", 12, 40, "250 2.0.0 Ok"},
    {"quotes", "say \"hi\"", 8, 40, "say 'hi'"},
    {"backslash", "a\\b\\", 4, 40, "a b "},
    {"line breaks and tabs", "a\r\nb\tc", 6, 40, "a  b c"},
    {"escape sequence and DEL", "\x1b[31mred\x7f", 9, 40, " [31mred "},
    {"ends at a NUL", "ab\0cd", 5, 40, "ab"},
    {"cut to size", "abcdefgh", 8, 5, "abcd"},
    {"just fits", "abcd", 4, 5, "abcd"},
    {"room for the NUL alone", "abcd", 4, 1, ""},
    {"less than the text is given", "abcd", 2, 40, "ab"},
    {"Korean", "\xec\x82\xac\xec\x9a\xa9", 6, 40, "\xec\x82\xac\xec\x9a\xa9"},
    {"cut between characters", "a\xec\x82\xac\xec\x9a\xa9", 7, 7, "a\xec\x82\xac"},
    {"cut between characters, one more", "a\xec\x82\xac\xec\x9a\xa9", 7, 6, "a\xec\x82\xac"},
    {"cut inside the first", "\xf0\x9f\x8e\x88", 4, 4, ""},
    {"Latin-1", "refus\xe9 ici", 10, 40, "refus? ici"},
    {"not UTF-8 at the end", "ok \xf0\x9f\x8e", 6, 40, "ok ???"},
    {"bytes of no character", "\xff\xfe\x80", 3, 40, "???"},
    {"overlong and surrogate", "\xc0\xaf\xed\xa0\x80", 5, 40, "?????"},
};

static void texts_become_safe_for_a_line_and_a_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        char out[64];
        memset(out, 'x', sizeof out);
        const char *got = log_text(out, TEXTS[i].size, TEXTS[i].input, TEXTS[i].len);
        assert_ptr_equal(got, out);
        if (strcmp(got, TEXTS[i].want) != 0) fail_msg("%s: got '%s'", TEXTS[i].name, got);
        for (size_t k = TEXTS[i].size; k < sizeof out; k++) assert_int_equal(out[k], 'x');
    }
}

static void any_bytes_become_valid_text(void **state)
{
    (void)state;
    srand(99);
    for (int round = 0; round < 20000; round++) {
        char in[40], out[40];
        size_t len = (size_t)rand() % sizeof in, size = 1 + (size_t)rand() % sizeof out;
        for (size_t i = 0; i < len; i++) in[i] = (char)(rand() % 3 ? rand() : 0xe0 + rand() % 32);
        log_text(out, size, in, len);
        size_t n = strlen(out);
        assert_true(n < size);
        assert_true(encode_utf8_valid(out, n));
        for (size_t i = 0; i < n; i++)
            assert_true((unsigned char)out[i] >= 0x20 && !strchr("\"\\\x7f", out[i]));
    }
}

static void errors_keep_to_one_line_in_both_forms(void **state)
{
    (void)state;
    struct err e = err_make(ERR_INPUT, 0, "no \"%s\" in\n%s", "x\\d", "C:\\dir\\");
    assert_string_equal(e.text, "no 'x\\d' in C:\\dir\\");
    log_setup(LOG_LEVEL_INFO, false);
    catch_start();
    log_error("m", "err=\"%s\" n=1", e.text);
    assert_string_equal(caught_line(), "level=error mod=m err=\"no 'x\\d' in C:\\dir\\\" n=1");
    log_setup(LOG_LEVEL_INFO, true);
    catch_start();
    log_error("m", "err=\"%s\" n=1", e.text);
    cJSON *json = caught_json();
    assert_string_equal(json_text(json, "err"), e.text);
    assert_int_equal(cJSON_GetObjectItem(json, "n")->valueint, 1);
    cJSON_Delete(json);
}

static void a_line_break_that_slips_in_starts_no_second_line(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, false);
    catch_start();
    log_info("m", "id=%s n=1", "a\nlevel=error");
    assert_string_equal(caught_line(), "level=info mod=m id=a level=error n=1");
    log_setup(LOG_LEVEL_INFO, true);
    catch_start();
    log_info("m", "id=%s n=1", "a\"b\x01");
    cJSON *json = caught_json();
    assert_string_equal(json_text(json, "id"), "a\"b");
    cJSON_Delete(json);
}

static void lines_of_any_length_stay_whole(void **state)
{
    (void)state;
    static char text[5000];
    for (size_t len = 1900; len < 2100; len++) {
        for (size_t i = 0; i + 3 <= len; i += 3) memcpy(text + i, "\xec\x82\xac", 3);
        text[len - len % 3] = '\0';
        log_setup(LOG_LEVEL_INFO, false);
        catch_start();
        log_info("m", "a=1 detail=\"%s\" n=1", text);
        const char *line = caught_line();
        assert_true(encode_utf8_valid(line, strlen(line)));
        log_setup(LOG_LEVEL_INFO, true);
        catch_start();
        log_info("m", "a=1 detail=\"%s\" n=1", text);
        cJSON *json = caught_json();
        assert_int_equal(cJSON_GetObjectItem(json, "a")->valueint, 1);
        assert_memory_equal(json_text(json, "detail"), text, 1800);
        cJSON_Delete(json);
    }
    memset(text, '\\', 4000); /* each is two in JSON */
    text[4000] = '\0';
    catch_start();
    log_info("m", "a=1 detail=\"%s\" n=1", text);
    cJSON *json = caught_json();
    assert_memory_equal(json_text(json, "detail"), text, 1900);
    cJSON_Delete(json);
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < 300; i++) log_info("m", "who=%s n=%d pad=\"%0100d\"", (char *)arg, i, i);
    return NULL;
}

static void lines_of_several_threads_do_not_mix(void **state)
{
    (void)state;
    pthread_t threads[3];
    char names[3][2] = {"a", "b", "c"};
    int next[3] = {0};
    log_setup(LOG_LEVEL_INFO, false);
    catch_start();
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_APPEND), 0);
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, write_lines, names[i]);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    char *rest = (char *)(uintptr_t)catch_end();
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        char who;
        int n, pad;
        assert_int_equal(sscanf(strstr(line, "who="), "who=%c n=%d pad=\"%d\"", &who, &n, &pad), 3);
        assert_int_equal(n, next[who - 'a']++);
        assert_int_equal(n, pad);
    }
    for (int i = 0; i < 3; i++) assert_int_equal(next[i], 300);
}

static void what_a_server_says_is_shown_without_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"no such user", "no such user"},
        {"<ann@b.example>: no such user", "<[address]>: no such user"},
        {"ann@b.example", "[address]"},
        {"user=ann+x@b.example;", "[address];"},
        {"blocked: ann@b.example, bob@c.example (x@y)",
         "blocked: [address], [address] ([address])"},
        {"see https://b.example/?who=ann@b.example", "see https:[address]"},
        {"at @ last", "at [address] last"},
        {"\"q\" \\", "'q'  "},
        {"", ""},
    };
    char out[200];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        log_text_masked(out, sizeof out, rows[i].text, strlen(rows[i].text));
        if (strcmp(out, rows[i].want) != 0) fail_msg("%s: %s", rows[i].text, out);
    }
    char longest[5000];
    memset(longest, 'x', sizeof longest);
    log_text_masked(out, sizeof out, longest, sizeof longest);
    assert_int_equal(strlen(out), sizeof out - 1);
    memcpy(longest + 3000, "@b", 2); /* one word, however long, is one address */
    log_text_masked(out, sizeof out, longest, sizeof longest);
    assert_string_equal(out, "[address]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_server_says_is_shown_without_addresses),
        cmocka_unit_test(a_text_line_has_time_level_module_and_pairs),
        cmocka_unit_test(a_json_line_has_the_same_and_numbers_are_numbers),
        cmocka_unit_test(levels_above_the_least_are_not_written),
        cmocka_unit_test(texts_become_safe_for_a_line_and_a_table),
        cmocka_unit_test(any_bytes_become_valid_text),
        cmocka_unit_test(errors_keep_to_one_line_in_both_forms),
        cmocka_unit_test(a_line_break_that_slips_in_starts_no_second_line),
        cmocka_unit_test(lines_of_any_length_stay_whole),
        cmocka_unit_test(lines_of_several_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
