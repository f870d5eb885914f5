/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Into a new user namespace, in two processes. What a container's root may not do has to be done by the guest's, and the
 * pid namespace has to belong to the user namespace, so that /proc can be mounted in it:
 *
 *   child, root of the guest     exports, nodes ─ clone3 ─▶ maps, scheduler, sysctl ─ tells the agent ─ go ─▶ exit
 *                                                 │                                                    │
 *   successor, the agent's child too              └──────────── waits ◀────────────────────────────────┘─▶ root of the
 *                                                                                                            namespace → the rest
 *
 * From "tells the agent" on the successor is the container's process; that the first child ends means nothing then.
 */
#ifndef GUEST_SUCCESSOR_H
#define GUEST_SUCCESSOR_H

#include <sys/types.h>

#include "lib/err.h"

#include "guest/child.h"

struct successor {
	pid_t pid; /* 0 in itself */
	int pidfd; /* the first child's: the successor; -1 in itself */
	int sync;  /* of both: closing it without a word ends the successor */
};

/** successor_clone() - Return: 0 in both processes, or -errno in the first with no other */
int successor_clone(const struct child_args *args, struct successor *out, struct err *err);
/** successor_set_up() - The first child's: all that takes the guest's capabilities */
int successor_set_up(const struct child_args *args, const struct successor *successor,
		     struct err *err);
/** successor_go() - The first child's last word */
void successor_go(const struct successor *successor);
/** successor_begin() - The successor's: wait for it (or end), become root of the namespace */
int successor_begin(struct successor *successor, struct err *err);

#endif
