/* Says when cron expressions occur, for a test that compares the answers with another program's.
 * Reads lines EXPRESSION TAB ZONE TAB SECONDS TAB COUNT; answers each with a line: the COUNT next
 * occurrences after that second of UTC, a bar, and the last one before it; or the error's text. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cron.h"

static struct err answer(const char *expression, const char *name, int64_t at_s, int count)
{
    struct cron cron;
    struct zone *zone;
    int64_t next_s = at_s, previous_s;
    TRY(cron_parse(expression, &cron));
    TRY(zone_load(&zone, name));
    for (int i = 0; i < count && cron_next(&cron, zone, next_s, &next_s); i++)
        printf("%" PRId64 " ", next_s);
    printf("|");
    if (cron_previous(&cron, zone, at_s, &previous_s)) printf(" %" PRId64, previous_s);
    printf("\n");
    zone_free(zone);
    return err_none();
}

int main(void)
{
    char line[1024];
    while (fgets(line, sizeof line, stdin)) {
        char *fields[4] = {line}, *p = line;
        for (int i = 1; i < 4 && (p = strchr(p, '\t')); i++) {
            *p++ = '\0';
            fields[i] = p;
        }
        if (!p) return 2;
        struct err e = answer(fields[0], fields[1], strtoll(fields[2], NULL, 10),
                              (int)strtol(fields[3], NULL, 10));
        if (e.code) puts(e.text);
    }
    return 0;
}
