/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pausing a container: cgroup v2's freezer, and what it had written but the guest had not.
 *
 *   Freeze ──▶ cgroup.freeze = 1 ──cgroup.events says "frozen 1"──▶ sync(2) in a child ──▶ answered
 *                    └── not within FREEZER_TIMEOUT_MS: let go again, the call fails
 *
 * After a pause the host sees everything that the container has written: engines copy a paused container's files ("commit").
 * A process that waits for a server of files without end cannot be frozen; a killed one dies although it is frozen.
 */
#ifndef GUEST_FREEZER_H
#define GUEST_FREEZER_H

#include <stdbool.h>

#include "lib/loop.h"
#include "lib/ttrpc.h"

#include "guest/work.h"

#define FREEZER_TIMEOUT_MS 30000

struct container;

/* Embedded in struct container, zero-initialised */
struct freezer {
	struct loop_source events; /* cgroup.events; fd owned while a call waits for it */
	bool watching;
	struct loop_timer timer;
	struct work flush;
	struct ttrpc_call *call; /* Freeze under way */
};

/** freezer_freeze() - Stop the container's processes; @call is answered when they are and the guest's cache is written */
void freezer_freeze(struct container *container, struct ttrpc_call *call);
/** freezer_thaw() - Let them go on; a Freeze that is under way fails */
void freezer_thaw(struct container *container, struct ttrpc_call *call);
/** freezer_release() - The container has ended or goes away: a Freeze that is under way fails */
void freezer_release(struct container *container);

#endif
