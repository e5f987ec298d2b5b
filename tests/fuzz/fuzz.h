/* What the fuzz targets share. A target aborts on what must not be; libFuzzer keeps the input. */
#ifndef MAILFLOCK_FUZZ_H
#define MAILFLOCK_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* fuzz_check: aborts and names what, unless it holds. */
void fuzz_check(bool holds, const char *what);

/* fuzz_keeps_tags: aborts if made, which was made of source, has a tag that source has not, or is
 * no template for another reason than sections that lost one of their tags. */
void fuzz_keeps_tags(const struct template_source *source, const struct template_source *made);

#endif
