/* A zone is the list of its periods, each with one offset: those of the TZif file, and those that
 * the rule at its end makes until UNTIL_YEAR. Reads one file while loading and nothing afterwards.
 */
#include "common/zone.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/civil.h"
#include "common/config.h"
#include "common/zone_rule.h"

#define DATABASE "/usr/share/zoneinfo"
enum { UNTIL_YEAR = 2200, NAME_MAX_LEN = 64, FILE_MAX = 256 * 1024, HEADER = 44, RULE_MAX = 255 };
enum { TIME = 8, TYPE = 6, LEAP = TIME + 4, TIME_V1 = 4, LEAP_V1 = TIME_V1 + 4 };
enum { OFFSET_MAX_S = 26 * 3600 }; /* RFC 8536 allows no more */

/* From from_s, in UTC, until the next period. */
struct period {
    int64_t from_s;
    int32_t offset_s;
};

/* There is at least one period, and the first has no beginning: INT64_MIN. */
struct zone {
    struct period *periods;
    size_t n, room;
};

/* ---- the list */

static void add_period(struct zone *z, int64_t from_s, int32_t offset_s)
{
    if (z->n && z->periods[z->n - 1].offset_s == offset_s) return;
    if (z->n == z->room) {
        z->room = z->room ? 2 * z->room : 64;
        z->periods = mem_resize(z->periods, z->room * sizeof *z->periods);
    }
    z->periods[z->n++] = (struct period){from_s, offset_s};
}

void zone_free(struct zone *zone)
{
    if (!zone) return;
    free(zone->periods);
    free(zone);
}

/* The last period that begins at utc_s or before. */
static size_t find(const struct zone *z, int64_t utc_s)
{
    size_t low = 0, high = z->n;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (z->periods[middle].from_s <= utc_s)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int32_t zone_offset(const struct zone *zone, int64_t utc_s)
{
    return zone->periods[find(zone, utc_s)].offset_s;
}

/* The clocks show wall_s first in the earliest period that does not end before; where that period
 * begins with a later time, the clocks skip wall_s. */
int64_t zone_instant(const struct zone *zone, int64_t wall_s)
{
    size_t i = find(zone, wall_s - OFFSET_MAX_S);
    while (i + 1 < zone->n && wall_s >= zone->periods[i + 1].from_s + zone->periods[i].offset_s)
        i++;
    int64_t utc_s = wall_s - zone->periods[i].offset_s;
    return utc_s < zone->periods[i].from_s ? zone->periods[i].from_s : utc_s;
}

/* ---- the file */

static int64_t read_int(const unsigned char *p, int bytes)
{
    uint64_t n = p[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < bytes; i++) n = n << 8 | p[i];
    return (int64_t)n;
}

/* What a header announces, and the bytes behind it. */
struct block {
    uint32_t ut, standard, leaps, times, types, chars;
    const unsigned char *data;
    size_t len; /* of the data, by these numbers */
};

static bool read_header(const unsigned char *bytes, size_t len, int time_size, struct block *b)
{
    uint32_t *counts[] = {&b->ut, &b->standard, &b->leaps, &b->times, &b->types, &b->chars};
    if (len < HEADER || memcmp(bytes, "TZif", 4) != 0 || bytes[4] < '2') return false;
    for (int i = 0; i < 6; i++) {
        int64_t count = read_int(bytes + 20 + 4 * i, 4);
        if (count < 0 || count > FILE_MAX) return false;
        *counts[i] = (uint32_t)count;
    }
    b->data = bytes + HEADER;
    b->len = (size_t)b->times * (unsigned)(time_size + 1) + (size_t)b->types * TYPE + b->chars +
             (size_t)b->leaps * (unsigned)(time_size + 4) + b->standard + b->ut;
    return b->len <= len - HEADER;
}

static struct err bad(const char *what)
{
    return err_make(ERR_INPUT, 0, "this is no zone file: %s", what);
}

static struct err add_listed(struct zone *z, const struct block *b)
{
    const unsigned char *chosen = b->data + (size_t)b->times * TIME, *types = chosen + b->times;
    int64_t before_s = INT64_MIN;
    for (uint32_t i = 0; i < b->types; i++)
        if (llabs(read_int(types + (size_t)i * TYPE, 4)) > OFFSET_MAX_S)
            return bad("an offset of more than a day");
    add_period(z, INT64_MIN, (int32_t)read_int(types, 4));
    for (uint32_t i = 0; i < b->times; i++) {
        int64_t from_s = read_int(b->data + (size_t)i * TIME, TIME);
        if (from_s <= before_s || from_s > INT64_MAX / 2) return bad("times out of order");
        if (chosen[i] >= b->types) return bad("a type that is not there");
        /* Some files begin with the beginning of time. */
        before_s = from_s < INT64_MIN / 2 ? INT64_MIN / 2 : from_s;
        add_period(z, before_s, (int32_t)read_int(types + (size_t)chosen[i] * TYPE, 4));
    }
    return err_none();
}

/* Both changes of a year, in their order. */
static void add_year(struct zone *z, const struct zone_rule *r, int64_t year, int64_t after_s)
{
    struct period changes[] = {
        {zone_rule_moment(&r->begins, year, r->standard_s), r->summer_s},
        {zone_rule_moment(&r->ends, year, r->summer_s), r->standard_s},
    };
    bool summer_first = changes[0].from_s <= changes[1].from_s;
    for (int i = 0; i < 2; i++) {
        const struct period *c = &changes[summer_first ? i : 1 - i];
        if (c->from_s > after_s) add_period(z, c->from_s, c->offset_s);
    }
}

/* Between the last change in the file and the first that the rule makes, the file's word holds. */
static struct err add_ruled(struct zone *z, const struct block *b, const char *text)
{
    struct zone_rule rule;
    int64_t last_s = b->times ? read_int(b->data + ((size_t)b->times - 1) * TIME, TIME) : 0;
    if (!*text) return err_none();
    if (!zone_rule_parse(text, &rule)) return bad("its last line is no rule");
    if (!rule.has_summer) return err_none();
    for (int64_t year = civil_date(civil_day_of(last_s)).year; year < UNTIL_YEAR; year++)
        add_year(z, &rule, year, last_s);
    return err_none();
}

/* The text between two line ends. */
static bool read_footer(const unsigned char *bytes, size_t len, char rule[RULE_MAX + 1])
{
    const unsigned char *end = len > 1 ? memchr(bytes + 1, '\n', len - 1) : NULL;
    if (!end || bytes[0] != '\n' || end - bytes - 1 > RULE_MAX) return false;
    memcpy(rule, bytes + 1, (size_t)(end - bytes - 1));
    rule[end - bytes - 1] = '\0';
    return true;
}

static struct err fill(struct zone *z, const unsigned char *bytes, size_t len)
{
    struct block old, b;
    char rule[RULE_MAX + 1];
    if (!read_header(bytes, len, TIME_V1, &old)) return bad("not of version 2 or later, or cut");
    size_t skip = HEADER + old.len;
    if (!read_header(bytes + skip, len - skip, TIME, &b)) return bad("its second part is cut");
    if (b.leaps) return bad("it counts leap seconds");
    if (!b.types) return bad("it has no offset");
    skip += HEADER + b.len;
    if (!read_footer(bytes + skip, len - skip, rule)) return bad("its last line is missing");
    TRY(add_listed(z, &b));
    return add_ruled(z, &b, rule);
}

struct err zone_parse(struct zone **out, const unsigned char *bytes, size_t len)
{
    struct zone *z = mem_alloc(sizeof *z);
    struct err e = fill(z, bytes, len);
    if (e.code)
        zone_free(z);
    else
        *out = z;
    return e;
}

/* ---- the database */

static struct zone *make_utc(void)
{
    struct zone *z = mem_alloc(sizeof *z);
    add_period(z, INT64_MIN, 0);
    return z;
}

/* So that no name leads out of the database. */
static bool is_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_/");
    return len && len <= NAME_MAX_LEN && !name[len] && name[0] != '/' && !strstr(name, "//");
}

static struct err unknown(const char *name)
{
    if (access(DATABASE "/UTC", R_OK) != 0)
        return err_make(ERR_IO, errno,
                        "the zone database " DATABASE " is missing: install the package tzdata");
    return err_make(ERR_CONFIG, 0,
                    "'%.80s' is no time zone of " DATABASE
                    "; write a name as Asia/Seoul, Europe/Berlin or UTC",
                    name);
}

static struct err read_file(const char *name, struct buf *out)
{
    char path[sizeof DATABASE + NAME_MAX_LEN + 1];
    snprintf(path, sizeof path, DATABASE "/%s", name);
    return conf_file_read(path, out);
}

struct err zone_load(struct zone **out, const char *name)
{
    struct buf file;
    if (strcmp(name, "UTC") == 0) {
        *out = make_utc();
        return err_none();
    }
    if (!is_name(name)) return unknown(name);
    buf_init(&file, FILE_MAX);
    struct err e = read_file(name, &file);
    if (!e.code) {
        e = zone_parse(out, (const unsigned char *)file.data, file.len);
        /* The database holds lists and directories beside zones. */
        if (e.code) e = err_make(ERR_CONFIG, 0, "the time zone '%s': %.200s", name, e.text);
    } else if (e.native == ENOENT || e.native == ENOTDIR || e.native == EINVAL) {
        e = unknown(name); /* EINVAL: a directory */
    }
    buf_fini(&file);
    return e;
}
