/* Loading and sharing a run's content. */
#include "consumer/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/content_mail.h"

static struct err compile(struct run *run)
{
    TRY(content_compile(&run->content, &run->mail));
    content_drop_files(&run->content);
    run->domain = message_id_domain(run->mail);
    return err_none();
}

struct err run_load(struct db *db, uint64_t id, struct run **out)
{
    struct db_result *r;
    *out = NULL;
    TRY(db_queryf(db, &r,
                  "SELECT content, TIMESTAMPDIFF(SECOND, '1970-01-01', scheduled_at)"
                  " FROM run WHERE id=%" PRIu64,
                  id));
    if (!db_next(r)) {
        db_result_free(r);
        return err_make(ERR_INPUT, 0, "there is no run %" PRIu64, id);
    }
    struct run *run = mem_alloc(sizeof *run);
    run->id = id;
    run->refs = 1;
    run->scheduled_s = db_i64(r, 1);
    struct db_cell json = db_cell(r, 0);
    run->bytes = json.len; /* its files, and each text as a template */
    struct err e = content_decode(json.text, json.len, &run->content);
    db_result_free(r);
    run->bytes += run->content.arena.used;
    if (!e.code) e = compile(run);
    if (e.code) {
        run_unref(run);
        return err_wrap(e, "run %" PRIu64, id);
    }
    *out = run;
    return err_none();
}

struct run *run_ref(struct run *run)
{
    __atomic_add_fetch(&run->refs, 1, __ATOMIC_RELAXED);
    return run;
}

void run_unref(struct run *run)
{
    if (!run || __atomic_sub_fetch(&run->refs, 1, __ATOMIC_ACQ_REL) > 0) return;
    message_free(run->mail);
    content_fini(&run->content);
    free(run);
}

struct err run_cache_get(struct run_cache *cache, struct db *db, uint64_t id, struct run **out)
{
    int i = 0;
    while (i < RUN_CACHE_SIZE && cache->runs[i] && cache->runs[i]->id != id) i++;
    struct run *run = i < RUN_CACHE_SIZE ? cache->runs[i] : NULL;
    if (!run) {
        TRY(run_load(db, id, &run));
        if (i == RUN_CACHE_SIZE) run_unref(cache->runs[--i]);
    }
    memmove(cache->runs + 1, cache->runs, (size_t)i * sizeof cache->runs[0]);
    cache->runs[0] = run;
    *out = run_ref(run);
    return err_none();
}

void run_cache_trim(struct run_cache *cache)
{
    size_t bytes = 0;
    int kept = 0;
    for (int i = 0; i < RUN_CACHE_SIZE && cache->runs[i]; i++) {
        struct run *run = cache->runs[i];
        bool idle = __atomic_load_n(&run->refs, __ATOMIC_ACQUIRE) == 1;
        cache->runs[i] = NULL;
        if (i && idle && bytes + run->bytes > RUN_CACHE_BYTES) {
            run_unref(run);
            continue;
        }
        bytes += run->bytes;
        cache->runs[kept++] = run;
    }
}

void run_cache_fini(struct run_cache *cache)
{
    for (int i = 0; i < RUN_CACHE_SIZE; i++) run_unref(cache->runs[i]);
}
