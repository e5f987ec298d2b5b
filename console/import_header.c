/* A column's name becomes a name in templates, so what has a meaning there is refused. */
#include "console/import_header.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_CHARACTERS = 64 }; /* of MySQL's identifiers */

struct csv_field import_trim(struct csv_field f)
{
    while (f.len && (*f.text == ' ' || *f.text == '\t')) f.text++, f.len--;
    while (f.len && (f.text[f.len - 1] == ' ' || f.text[f.len - 1] == '\t')) f.len--;
    return f;
}

int import_header_find(const struct import_header *h, const char *name)
{
    for (unsigned i = 0; i < h->n; i++)
        if (strcasecmp(h->names[i], name) == 0) return (int)i;
    return -1;
}

static const char *name_problem(const char *name)
{
    size_t characters = 0;
    for (const char *p = name; *p; p++) {
        if ((unsigned char)*p < ' ' || strchr(".`{}", *p))
            return "has . ` { } or a control character";
        characters += ((unsigned char)*p & 0xc0) != 0x80;
    }
    if (!characters) return "is empty";
    return characters > NAME_MAX_CHARACTERS ? "has more than 64 characters" : NULL;
}

static char *copy_name(struct csv_field f)
{
    f = import_trim(f);
    char *name = mem_alloc(f.len + 1);
    memcpy(name, f.text, f.len);
    if (strcasecmp(name, "id") == 0) memcpy(name, "id", 2);
    if (strcasecmp(name, "email") == 0) memcpy(name, "email", 5);
    return name;
}

struct err import_header_read(struct import_header *h, const struct csv *row)
{
    *h = (struct import_header){.id = -1, .email = -1};
    h->names = mem_alloc(row->n * sizeof *h->names);
    for (unsigned i = 0; i < row->n; i++) {
        char *name = copy_name(csv_field(row, i));
        const char *problem = name_problem(name);
        if (!problem && import_header_find(h, name) >= 0) problem = "is there twice";
        h->names[h->n++] = name;
        if (problem)
            return err_make(ERR_INPUT, 0, "column %u: the name '%.100s' %s", i + 1, name, problem);
    }
    h->id = import_header_find(h, "id");
    h->email = import_header_find(h, "email");
    return err_none();
}

void import_header_fini(struct import_header *h)
{
    for (unsigned i = 0; i < h->n; i++) free(h->names[i]);
    free(h->names);
    *h = (struct import_header){.id = -1, .email = -1};
}
