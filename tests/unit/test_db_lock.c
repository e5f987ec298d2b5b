/* Names of locks, which producers of all versions must share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/db_lock.h"
#include "common/sha1.h"

/* FIPS 180-4's examples, and what Python's hashlib says of the lengths around a block. */
static void sha1_is_that_of_the_standard(void **state)
{
    (void)state;
    static const struct {
        const char *hash;
        size_t len; /* of a text of a's, where text is NULL */
        const char *text;
    } rows[] = {
        {"da39a3ee5e6b4b0d3255bfef95601890afd80709", 0, NULL},
        {"c1c8bbdc22796e28c0e15163d20899b65621d65a", 55, NULL},
        {"c2db330f6083854c99d4b5bfb6e8f29f201be699", 56, NULL},
        {"03f09f5b158a7a8cdad920bddc29b81c18a551f5", 63, NULL},
        {"0098ba824b5c16427bd7a1122a5a442a25ec644d", 64, NULL},
        {"11655326c708d70319be2610e8a57d9a5b959d3b", 65, NULL},
        {"ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56", 119, NULL},
        {"f34c1488385346a55709ba056ddd08280dd4c6d6", 120, NULL},
        {"ad5b3fdbcb526778c2839d2f151ea753995e26a0", 128, NULL},
        {"34aa973cd4c4daa4f61eeb2bdbad27316534016f", 1000000, NULL},
        {"a9993e364706816aba3e25717850c26c9cd0d89d", 3, "abc"},
        {"84983e441c3bd26ebaae4aa1f95129e5e54670f1", 56,
         "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"},
    };
    char *as = malloc(1000000), hex[SHA1_HEX_SIZE];
    memset(as, 'a', 1000000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sha1_hex(rows[i].text ? rows[i].text : as, rows[i].len, hex);
        assert_string_equal(hex, rows[i].hash);
    }
    free(as);
}

static void a_long_name_is_named_by_its_hash(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"mailflock", "mailflock"},
        {"mailflock_of_28_characters_1", "mailflock_of_28_characters_1"},
        {"mailflock_production_newsletters", "bdd68ced3a7a09eb465fe8809b22"},
        {"우편물우편물우편물우편물우편물우편물우편물우편물우편물우",
         "우편물우편물우편물우편물우편물우편물우편물우편물우편물우"}, /* 28 characters, 84 bytes */
        {"우편물우편물우편물우편물우편물우편물우편물우편물우편물우편",
         "f64d1cb56a1ed35620aab0740d83"},
    };
    char out[DB_LOCK_DATABASE_SIZE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        db_lock_database(rows[i][0], out);
        assert_string_equal(out, rows[i][1]);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1_is_that_of_the_standard),
        cmocka_unit_test(a_long_name_is_named_by_its_hash),
    };
    return cmocka_run_group_tests_name("db_lock", tests, NULL, NULL);
}
