/* Memory for cJSON. For want of it cJSON says that a document is no JSON, and a good message would
 * be given up as a bad one; with our own allocations the program ends instead. */
#ifndef MAILFLOCK_JSON_MEMORY_H
#define MAILFLOCK_JSON_MEMORY_H

/* json_memory_use: to be called before anything is parsed, by any thread, any number of times. */
void json_memory_use(void);

#endif
