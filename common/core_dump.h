/* Core dumps would hold every password that the program knows, in the settings and in the memory of
 * its libraries, so there are none unless somebody asks for them. */
#ifndef MAILFLOCK_CORE_DUMP_H
#define MAILFLOCK_CORE_DUMP_H

/* core_dump_forbid: from now on the kernel writes no core of this process, whatever limit and
 * kernel.core_pattern say, and only root can attach a debugger or read its memory and environment.
 * To be called before any secret is read. */
void core_dump_forbid(void);

/* core_dump_allow: undoes it, for the setting core_dumps. */
void core_dump_allow(void);

#endif
