/* Builds one mail for tests that judge it with another program's parser. Reads fields from stdin,
 * each "key\tlength\n", the bytes, "\n"; keys are those of struct message_spec and struct
 * message_recipient, var:NAME, attachment:NAME and image:NAME. The mail goes to stdout; exit 1 with
 * the reason on stderr where the content does not compile, 3 where this recipient cannot have a
 * mail. */
#include <stdio.h>
#include <stdlib.h>

#include "common/mime.h"

enum { FIELDS_MAX = 64, MAIL_MAX = 64 << 20 };

struct input {
    struct message_spec spec;
    struct message_recipient recipient;
    struct value_field vars[FIELDS_MAX];
    size_t var_count;
    struct message_file files[FIELDS_MAX];
};

static const char **spec_slot(struct message_spec *s, const char *key)
{
    const struct {
        const char *key;
        const char **slot;
    } slots[] = {
        {"from", &s->from},
        {"reply_to", &s->reply_to},
        {"to_name", &s->to_name},
        {"subject", &s->subject},
        {"text", &s->text},
        {"html", &s->html},
        {"list_unsubscribe", &s->list_unsubscribe},
    };
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        if (strcmp(key, slots[i].key) == 0) return slots[i].slot;
    }
    return NULL;
}

/* True for image:NAME and attachment:NAME. */
static bool take_file(struct input *in, const char *key, const char *bytes, size_t len)
{
    bool image = strncmp(key, "image:", 6) == 0;
    if (!image && strncmp(key, "attachment:", 11) != 0) return false;
    if (in->spec.n_files == FIELDS_MAX) return false;
    in->files[in->spec.n_files++] =
        (struct message_file){mem_copy_text(strchr(key, ':') + 1), bytes, len, image};
    in->spec.files = in->files;
    return true;
}

static bool take_field(struct input *in, const char *key, char *bytes, size_t len)
{
    const char **slot = spec_slot(&in->spec, key);
    if (slot) {
        *slot = bytes;
    } else if (strcmp(key, "to") == 0) {
        in->recipient.to = bytes;
        in->recipient.to_len = len;
    } else if (strcmp(key, "message_id") == 0) {
        in->recipient.message_id = bytes;
    } else if (strcmp(key, "date") == 0) {
        in->recipient.date_s = strtoll(bytes, NULL, 10);
    } else if (strncmp(key, "var:", 4) == 0 && in->var_count < FIELDS_MAX) {
        struct value_field *f = &in->vars[in->var_count++];
        f->name = mem_copy_text(key + 4);
        f->name_len = (uint32_t)strlen(f->name);
        f->value = (struct value){.kind = VALUE_TEXT, .len = (uint32_t)len, .text = bytes};
    } else {
        return take_file(in, key, bytes, len);
    }
    return true;
}

static bool read_fields(struct input *in)
{
    char key[1024];
    size_t len;
    while (scanf("%1023[^\t]\t%zu", key, &len) == 2) {
        char *bytes = mem_alloc(len + 1);
        if (getchar() != '\n' || fread(bytes, 1, len, stdin) != len) return false;
        if (getchar() != '\n') return false;
        bytes[len] = '\0';
        if (!take_field(in, key, bytes, len)) return false;
    }
    return feof(stdin);
}

/* Everything allocated here lives until the program ends. */
int main(void)
{
    static struct input in;
    if (!read_fields(&in)) {
        fputs("build_mail: cannot read the fields\n", stderr);
        return 2;
    }
    struct message *m;
    struct err e = message_compile(&in.spec, &m);
    if (e.code) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    struct value vars = {.kind = VALUE_MAP, .len = (uint32_t)in.var_count, .fields = in.vars};
    in.recipient.vars = &vars;
    struct message_scratch scratch;
    message_scratch_init(&scratch, MAIL_MAX);
    struct buf out;
    buf_init(&out, MAIL_MAX);
    char reason[MESSAGE_REASON_SIZE];
    bool built = message_build(m, &in.recipient, &scratch, &out, reason, sizeof reason);
    size_t files_len;
    const char *files = message_files(m, &files_len);
    if (built) {
        fwrite(out.data, 1, out.len, stdout);
        if (files_len) fwrite(files, 1, files_len, stdout);
    } else {
        fprintf(stderr, "%s\n", reason);
    }
    message_scratch_fini(&scratch);
    buf_fini(&out);
    message_free(m);
    return built ? 0 : 3;
}
