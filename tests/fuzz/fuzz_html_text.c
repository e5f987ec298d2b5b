/* The plain text of any HTML. */
#include "common/html_text.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct template_source source = {"a.html", (const char *)data, size};
    struct buf out;
    buf_init(&out, TEMPLATE_TEXT_MAX);
    struct err e = html_to_text(&source, &out);
    if (!e.code) fuzz_keeps_tags(&source, &(struct template_source){"a.txt", out.data, out.len});
    buf_fini(&out);
    return 0;
}
