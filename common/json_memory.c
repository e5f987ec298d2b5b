/* Tells cJSON, once, where to take its memory from. */
#include "common/json_memory.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/err.h"

static void *take(size_t size)
{
    return mem_alloc(size);
}

static void set_hooks(void)
{
    cJSON_Hooks hooks = {.malloc_fn = take, .free_fn = free};
    cJSON_InitHooks(&hooks);
}

void json_memory_use(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_hooks);
}
