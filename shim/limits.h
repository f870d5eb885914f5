/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on the host, of the processes that a guest consists of: see docs/limits.md.
 */
#ifndef SHIM_LIMITS_H
#define SHIM_LIMITS_H

#include "lib/err.h"
#include "oci/limits.h"

struct shim;

/** limits_host() - Write the host's side of @resources to @cgroup_fd; @undo as for limits_apply() */
int limits_host(int cgroup_fd, const struct oci_resources *resources,
		const struct limits_machine *machine, struct limits *undo, struct err *err);

/**
 * limits_open() - Limit this process's cgroup for the guest, its descriptors for the vmm; give it the container's oom_score_adj
 * @cgroup_fd:	The container's cgroup, -1 when there is none
 */
int limits_open(struct shim *shim, int cgroup_fd, struct err *err);

/** limits_last_victim() - The vmm has been started: from now on whoever is out of memory takes others first */
int limits_last_victim(struct shim *shim, struct err *err);

#endif
