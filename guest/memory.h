/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the guest is given while it runs (GrowMemory): the vmm has filled the machine's memory slot, or asked for more by it.
 */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H

#include <stdint.h>

#include "lib/ttrpc.h"
#include "guest/work.h"

struct agent;

/* Zero-initialise */
struct memory {
	struct work work;
	struct ttrpc_call *call; /* owned until it is answered */
	uint64_t before,
		wanted; /* the kernel's memory in bytes: when the first came, and as it shall be */
};

/** memory_grow() - Wait until the kernel has taken over @bytes beside those from boot, and answer @call (owned) */
void memory_grow(struct agent *agent, uint64_t bytes, struct ttrpc_call *call);

#endif
