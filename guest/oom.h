/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes killed for lack of memory, counted by memory.events of the container's cgroup: those below count too, and those
 * that the guest's own shortage kills. One WaitOom of the monitor is pending at most; the status of a Wait carries
 * the count as well, so that nothing is lost when the guest ends by it.
 */
#ifndef GUEST_OOM_H
#define GUEST_OOM_H

#include <stdint.h>

#include "lib/loop.h"
#include "lib/ttrpc.h"

struct container;

/* Embedded in struct container, zero-initialised */
struct oom {
	struct loop_source events; /* memory.events; fd owned, valid while loop is set */
	uint64_t kills;
	struct ttrpc_call *call; /* WaitOom under way */
	uint64_t call_seen;
};

/** oom_watch() - Begin, once the cgroup exists; without a memory controller there is nothing to watch */
void oom_watch(struct container *container);
/** oom_wait() - Answer @call when more than @seen were killed, perhaps at once */
void oom_wait(struct container *container, uint64_t seen, struct ttrpc_call *call);
/** oom_check() - Look now: something has died */
void oom_check(struct container *container);
/** oom_release() - The container goes away; a WaitOom that is under way fails */
void oom_release(struct container *container);

#endif
