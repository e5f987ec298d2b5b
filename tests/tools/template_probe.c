/* Renders templates as the Mustache specification says, HTML and lenient, for tests that know what
 * must come out. Each line of stdin is a chunk message (docs/chunk-format.md) of one recipient,
 * whose variables are template (a text), partials (a map of texts) and data (anything). Answers
 * each with a line of JSON: a text, or a list with the reason why there is none. */
#include <stdio.h>
#include <stdlib.h>

#include "common/chunk.h"
#include "common/template.h"

enum { PARTIALS_MAX = 16, OUT_MAX = 1 << 20 };

static struct template_source source_of(const char *name, const struct value *text)
{
    return (struct template_source){name, text->text, text->len};
}

static struct err render(const struct value *vars, struct buf *out)
{
    struct template_source items[PARTIALS_MAX];
    struct template_partials partials = {items, 0};
    const struct value *template = value_get(vars, "template", 8);
    const struct value *files = value_get(vars, "partials", 8);
    struct template_source source = source_of("t", template);
    struct template *t;
    struct template_trouble trouble;
    char reason[200];
    for (uint32_t i = 0; i < files->len && i < PARTIALS_MAX; i++)
        items[partials.count++] = source_of(files->fields[i].name, &files->fields[i].value);
    TRY(template_compile(&source, &partials, TEMPLATE_LENIENT, &t));
    bool whole = template_render(t, value_get(vars, "data", 4), TEMPLATE_HTML, out, &trouble);
    if (!whole) template_explain(&trouble, reason, sizeof reason);
    template_free(t);
    return whole ? buf_check(out, "the text") : err_make(ERR_INPUT, 0, "%s", reason);
}

static struct err answer(const char *line, size_t len)
{
    struct chunk_message m;
    struct buf text, json;
    TRY(chunk_decode(line, len, &m));
    buf_init(&text, OUT_MAX);
    buf_init(&json, 6 * OUT_MAX);
    struct err e = render(&m.recipients[0].vars, &text);
    const char *result = e.code ? e.text : buf_text(&text);
    chunk_write_text(&json, result, strlen(result));
    printf(e.code ? "[%s]\n" : "%s\n", buf_text(&json));
    buf_fini(&json);
    buf_fini(&text);
    chunk_fini(&m);
    return err_none();
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    struct err e = err_none();
    while (!e.code && (len = getline(&line, &room, stdin)) > 0) e = answer(line, (size_t)len);
    free(line);
    if (e.code) fprintf(stderr, "template_probe: %s\n", e.text);
    return e.code ? EXIT_FAILURE : EXIT_SUCCESS;
}
