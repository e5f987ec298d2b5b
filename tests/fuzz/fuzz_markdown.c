/* Markdown as a campaign has it: written out with a partial, converted, and the HTML's text. */
#include "common/html_text.h"
#include "common/markdown.h"
#include "common/template_expand.h"
#include "fuzz.h"

enum { TEXTS = 3 };

static const struct template_source PARTIAL = {"p.md", "{ {{x}}\n\n- {{! c }}y\n", 22};

static struct err make(int step, const struct template_source *source, struct buf *out)
{
    const struct template_partials partials = {&PARTIAL, 1};
    if (step == 0) return template_expand(source, &partials, out);
    return step == 1 ? markdown_to_html(source, out) : html_to_text(source, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct template_source source = {"a.md", (const char *)data, size};
    struct buf made[TEXTS];
    for (int i = 0; i < TEXTS; i++) buf_init(&made[i], TEMPLATE_TEXT_MAX);
    struct err e = err_none();
    for (int i = 0; i < TEXTS && !e.code; i++) {
        e = make(i, &source, &made[i]);
        struct template_source next = {"a.md", made[i].data, made[i].len};
        if (!e.code && i) fuzz_keeps_tags(&source, &next); /* the first adds those of the partial */
        source = next;
    }
    for (int i = 0; i < TEXTS; i++) buf_fini(&made[i]);
    return 0;
}
