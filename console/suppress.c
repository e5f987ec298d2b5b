/* mailflock suppress: the list of addresses that get no mail. Workers look an address up in the
 * form of address_fold, so nothing else is written here. Reads and writes in pages: the list may be
 * long. */
#include "console/suppress.h"

#include <stdio.h>
#include <string.h>

#include "common/address.h"
#include "common/chunk.h"
#include "common/encode.h"
#include "console/console.h"
#include "console/csv_file.h"
#include "console/recipients.h"

enum { PAGE_ROWS = 1000, PAGE_BYTES_MAX = 8 * 1024 * 1024, LINE_MAX_BYTES = 1300 };

struct suppress {
    struct db *db;
    const char *address, *reason; /* address: or a file's name; reason NULL: none given */
    bool json, csv;
    char separator;
    bool bad; /* rows of a file were wrong */
};

const char *suppress_key(const char *address, size_t len, char out[ADDRESS_MAX + 1])
{
    char room[ADDRESS_MAX + 1];
    const char *problem = address_prepare(&address, &len, room);
    if (problem) return problem;
    address_fold(address, len, out);
    out[len] = '\0';
    return NULL;
}

const char *suppress_reason_problem(const char *reason, size_t len)
{
    size_t characters = 0;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)reason[i] < ' ') return "the reason holds a control character";
        characters += ((unsigned char)reason[i] & 0xc0) != 0x80;
    }
    if (encode_utf8_valid(reason, len) && characters <= SUPPRESS_REASON_MAX) return NULL;
    return characters > SUPPRESS_REASON_MAX ? "the reason has more than 255 characters"
                                            : "the reason is not UTF-8";
}

/* ---- add, remove */

static struct err update_reason(struct suppress *s, const char *key)
{
    struct buf sql;
    buf_init(&sql, PAGE_BYTES_MAX);
    buf_append_text(&sql, "UPDATE suppression SET source='operator', reason=");
    db_quote(s->db, &sql, s->reason);
    buf_append_text(&sql, " WHERE email=");
    db_quote(s->db, &sql, key);
    struct err e = db_exec(s->db, &sql, NULL);
    buf_fini(&sql);
    return e;
}

static struct err add(struct suppress *s, const char *key)
{
    struct buf sql;
    uint64_t added = 0;
    buf_init(&sql, PAGE_BYTES_MAX);
    buf_append_text(&sql, "INSERT IGNORE INTO suppression (email, reason, source, at) VALUES (");
    db_quote(s->db, &sql, key);
    buf_append_char(&sql, ',');
    db_quote(s->db, &sql, s->reason ? s->reason : "");
    buf_append_text(&sql, ",'operator',UTC_TIMESTAMP(6))");
    struct err e = db_exec(s->db, &sql, &added);
    buf_fini(&sql);
    if (!e.code && !added && s->reason) e = update_reason(s, key);
    if (e.code) return e;
    printf("%s %s\n", key, added ? "gets no mail from now on" : "was on the list already");
    return err_none();
}

static struct err take_off(struct suppress *s, const char *key)
{
    struct buf sql;
    uint64_t matched = 0;
    buf_init(&sql, PAGE_BYTES_MAX);
    buf_append_text(&sql, "DELETE FROM suppression WHERE email=");
    db_quote(s->db, &sql, key);
    struct err e = db_exec(s->db, &sql, &matched);
    buf_fini(&sql);
    if (e.code) return e;
    if (!matched)
        return err_make(ERR_STATE, 0, "%s is not on the suppression list: nothing changed", key);
    printf("%s may get mail again\n", key);
    return err_none();
}

static struct err with_key(struct suppress *s,
                           struct err (*action)(struct suppress *, const char *))
{
    char key[ADDRESS_MAX + 1];
    const char *problem = suppress_key(s->address, strlen(s->address), key);
    if (!problem && s->reason) problem = suppress_reason_problem(s->reason, strlen(s->reason));
    if (problem) return err_make(ERR_INPUT, 0, "'%.100s': %s", s->address, problem);
    return action(s, key);
}

static struct err run_add(struct suppress *s)
{
    return with_key(s, add);
}

static struct err run_remove(struct suppress *s)
{
    return with_key(s, take_off);
}

/* ---- list */

static const char *const COLUMNS[] = {"email", "reason", "source", "at"};
enum { N_COLUMNS = 4 };

static void append_line(struct buf *out, const struct db_result *r)
{
    char email[LINE_MAX_BYTES], reason[LINE_MAX_BYTES], source[LINE_MAX_BYTES];
    console_text(email, sizeof email, db_text(r, 0));
    console_text(reason, sizeof reason, db_text(r, 1));
    console_text(source, sizeof source, db_text(r, 2));
    buf_append_format(out, "%s %s source=%s %s\n", email, db_text(r, 3), *source ? source : "-",
                      reason);
}

static void append_csv(struct buf *out, const struct db_result *r)
{
    for (unsigned i = 0; i < N_COLUMNS; i++) {
        if (i) buf_append_char(out, ',');
        recipients_csv_field(out, db_text(r, i), strlen(db_text(r, i)));
    }
    buf_append_text(out, "\r\n");
}

static void append_json(struct buf *out, const struct db_result *r)
{
    for (unsigned i = 0; i < N_COLUMNS; i++) {
        buf_append_format(out, "%s\"%s\":", i ? "," : "{", COLUMNS[i]);
        if (!chunk_write_text(out, db_text(r, i), strlen(db_text(r, i))))
            buf_append_text(out, "null");
    }
    buf_append_char(out, '}');
}

/* Puts a page into out; after becomes its last address. */
static struct err list_page(struct suppress *s, char after[LINE_MAX_BYTES], struct buf *sql,
                            struct buf *out, uint64_t *rows)
{
    struct db_result *r;
    bool first = !*after;
    buf_reset(sql);
    buf_append_text(sql, "SELECT email, reason, source, DATE_FORMAT(at, '%Y-%m-%dT%H:%i:%sZ')"
                         " FROM suppression WHERE email > ");
    db_quote(s->db, sql, after);
    buf_append_format(sql, " ORDER BY email LIMIT %d", PAGE_ROWS);
    TRY(db_query(s->db, sql, &r));
    *rows = db_rows(r);
    while (db_next(r)) {
        if (s->json && !first) buf_append_char(out, ',');
        first = false;
        (s->json ? append_json : s->csv ? append_csv : append_line)(out, r);
        snprintf(after, LINE_MAX_BYTES, "%s", db_text(r, 0));
    }
    db_result_free(r);
    return buf_check(out, "a page of the suppression list");
}

static struct err print_pages(struct suppress *s, struct buf *sql, struct buf *out)
{
    char after[LINE_MAX_BYTES] = "";
    uint64_t rows = PAGE_ROWS;
    if (s->json) buf_append_text(out, "{\"suppressions\":[");
    if (s->csv) buf_append_text(out, "email,reason,source,at\r\n");
    while (rows == PAGE_ROWS) {
        TRY(list_page(s, after, sql, out, &rows));
        if (rows < PAGE_ROWS && s->json) buf_append_text(out, "]}\n");
        if (out->len && fwrite(out->data, 1, out->len, stdout) != out->len)
            return err_make(ERR_IO, 0, "cannot write the answer");
        buf_reset(out);
    }
    return err_none();
}

static struct err run_list(struct suppress *s)
{
    struct buf sql, out;
    buf_init(&sql, PAGE_BYTES_MAX);
    buf_init(&out, PAGE_BYTES_MAX);
    struct err e = print_pages(s, &sql, &out);
    buf_fini(&sql);
    buf_fini(&out);
    return e;
}

/* ---- the command */

static struct err run_import(struct suppress *s)
{
    return suppress_import(s->db, s->address, s->separator, s->json, &s->bad);
}

static const struct action {
    const char *word;
    struct err (*run)(struct suppress *s);
    const char *argument; /* NULL: takes none */
    bool has_reason, has_csv, has_json, has_separator;
} ACTIONS[] = {
    {"add", run_add, .argument = "an address", .has_reason = true},
    {"remove", run_remove, .argument = "an address"},
    {"list", run_list, .has_csv = true, .has_json = true},
    {"import", run_import, .argument = "a file", .has_json = true, .has_separator = true},
};
enum { N_ACTIONS = sizeof ACTIONS / sizeof ACTIONS[0] };

static bool options_fit(const struct action *a, const struct suppress *s, const char *separator)
{
    return (!s->reason || a->has_reason) && (!s->csv || a->has_csv) && (!s->json || a->has_json) &&
           (!separator || a->has_separator);
}

int command_suppress(struct console *c, int argc, char **argv)
{
    struct suppress s = {0};
    const char *separator = NULL;
    const struct console_option options[] = {{"--reason", NULL, &s.reason},
                                             {"--separator", NULL, &separator},
                                             {"--json", &s.json, NULL},
                                             {"--csv", &s.csv, NULL}};
    int i = 0;
    if (!console_options(&argc, argv, options, 4, 1, 2)) return CONSOLE_USAGE;
    while (i < N_ACTIONS && strcmp(ACTIONS[i].word, argv[1]) != 0) i++;
    if (i == N_ACTIONS)
        return console_usage(argv[0], "there is no '%.100s', only add, remove, list and import",
                             argv[1]);
    const struct action *action = &ACTIONS[i];
    if ((action->argument != NULL) != (argc == 3))
        return console_usage(argv[0], "%s takes %s", argv[1],
                             action->argument ? action->argument : "no argument");
    if (!options_fit(action, &s, separator))
        return console_usage(argv[0], "%s has no such option", argv[1]);
    if (s.json && s.csv) return console_usage(argv[0], "--json and --csv exclude one another");
    if (!csv_file_separator(separator, &s.separator))
        return console_usage(argv[0], "--separator takes , ; | or tab");
    s.address = argv[2];
    struct err e = console_open(c);
    s.db = c->db;
    if (!e.code) e = action->run(&s);
    if (e.code) return console_fail(&e);
    return s.bad ? CONSOLE_FAILED : CONSOLE_DONE;
}
