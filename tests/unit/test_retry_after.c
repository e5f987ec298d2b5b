/* Times in the texts of real servers, and texts that look like one and are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumer/retry_after.h"

struct row {
    const char *text;
    uint32_t want;
};

static const struct row SAID[] = {
    {"try again in 300 seconds", 300},
    {"retry after 5 minutes", 300},
    {"Retry-After: 60", 60},
    {"Retry after 90", 90},
    /* milter-greylist, with and without its own words */
    {"Greylisting in action, please come back in 00:04:32", 272},
    {"Greylisting in action, please try again in 00:05:00", 300},
    /* postgrey of old, sqlgrey, gld, qgreylist, exim's recipes */
    {"<a@b.example>: Recipient address rejected: Greylisted for 300 seconds (see "
     "http://isg.ee.ethz.ch/tools/postgrey/help/b.example.html)",
     300},
    {"<a@b.example>: Recipient address rejected: Greylisted for 5 minutes", 300},
    {"GREYLISTED - please try again in 4 minutes and 32 seconds", 272},
    {"Greylisted, please try again in 180 seconds", 180},
    {"Please wait 60 seconds and try again", 60},
    {"Deferred for 2 hours", 7200},
    {"Too many messages (100 in 60 minutes), try again in 10 min", 600},
    {"[192.0.2.7] has sent too much; please retry in 1 h", 3600},
    {"rate limit reached; wait at least 15 minutes before you send more", 900},
    {"Mailbox is busy, try again later (in 30s)", 30},
    {"try again in 1 hour, 30 minutes", 5400},
    {"try again after 2 days", 86400},
    {"try again in 99999999999999999999 seconds", 86400},
    {"do not retry before 120 sec.", 120},
};

static const struct row NOT_SAID[] = {
    {"", 0},
    /* Gmail */
    {"The user you are trying to contact is receiving mail at a rate that prevents additional "
     "messages from being delivered. Please resend your message at a later time. For more "
     "information, visit https://support.google.com/mail/?p=ReceivingRate 41be03b00d2f7 - gsmtp",
     0},
    {"Our system has detected an unusual rate of unsolicited mail originating from your IP "
     "address. To protect our users from spam, mail sent from your IP address has been temporarily "
     "rate limited. Please visit https://support.google.com/mail/?p=UnsolicitedRateLimitError",
     0},
    /* Outlook */
    {"Server busy. Please try again later from [40.107.1.2]. (S77719) "
     "[BN8NAM11FT012.eop-nam11.prod.protection.outlook.com]",
     0},
    {"The mail server [192.0.2.7] has been temporarily rate limited due to IP reputation. For "
     "e-mail delivery information, see https://postmaster.live.com (S775)",
     0},
    /* Yahoo */
    {"[TSS04] Messages from 192.0.2.7 temporarily deferred due to unexpected volume or user "
     "complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
     0},
    /* Postfix, postgrey, rspamd */
    {"<a@b.example>: Recipient address rejected: Greylisted, see "
     "http://postgrey.schweikert.ch/help/b.example.html",
     0},
    {"Greylisted, please try again later", 0},
    {"Error: too many connections from 192.0.2.7", 0},
    {"<a@b.example>: Recipient address rejected: Access denied, 15 attempts in 60 minutes", 0},
    {"try again at 12:05:00 UTC", 0},
    {"try again", 0},
    {"try again in", 0},
    {"try again in a few minutes", 0},
    {"try again in 5", 0},
    {"try again in 5 messages", 0},
    {"try again in 0 seconds", 0},
    {"Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", 0},
    {"Retry-After: 2026-10-21", 0},
    {"retry after 10.0.0.1 answers", 0},
    {"retry after 1.5 hours", 0},
    {"wait 00:05", 0},
    {"country 10 minutes", 0},
};

/* Each in memory of its own length, so that reading past it is seen. */
static uint32_t parse(const char *text, size_t len)
{
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    uint32_t s = retry_after_parse(copy, len);
    free(copy);
    return s;
}

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t got = parse(rows[i].text, strlen(rows[i].text));
        if (got != rows[i].want) fail_msg("%u, want %u: %s", got, rows[i].want, rows[i].text);
    }
}

static void a_time_is_read_where_a_text_names_one(void **state)
{
    (void)state;
    check(SAID, sizeof SAID / sizeof *SAID);
}

static void other_numbers_are_no_times(void **state)
{
    (void)state;
    check(NOT_SAID, sizeof NOT_SAID / sizeof *NOT_SAID);
}

static void texts_may_end_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SAID / sizeof *SAID; i++)
        for (size_t len = 0; len <= strlen(SAID[i].text); len++)
            assert_true(parse(SAID[i].text, len) <= RETRY_AFTER_MAX_S);
    for (int c = 0; c < 256; c++) {
        char text[] = "try again in ? 60 seconds";
        text[13] = (char)c;
        assert_true(parse(text, sizeof text - 1) <= RETRY_AFTER_MAX_S);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_is_read_where_a_text_names_one),
        cmocka_unit_test(other_numbers_are_no_times),
        cmocka_unit_test(texts_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
