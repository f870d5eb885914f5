/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on the host, of the processes that a guest consists of: see docs/limits.md.
 */
#ifndef SHIM_LIMITS_H
#define SHIM_LIMITS_H

#include "lib/err.h"
#include "oci/limits.h"

struct cgroup_note;
struct shim;

/**
 * limits_host() - Write the host's side of @resources to the container's cgroups, as the note in @state_fd has them
 * @cgroup_fd:	Its cgroup of version 2, if it is that
 * @undo:	As for limits_apply()
 */
int limits_host(int state_fd, int cgroup_fd, const struct oci_resources *resources,
		const struct limits_machine *machine, struct limits *undo, struct err *err);

/**
 * limits_place_v1() - Turn the files of limits_plan_v1() into paths below the cgroups of @note; what no hierarchy is there for is taken out
 * @dropped:	Set to the file of such a one for a warning, the caller's, else untouched
 *
 * Return: 0, -ENOTSUP for what only the host could have done, -ENOMEM.
 */
int limits_place_v1(struct limits *limits, const struct cgroup_note *note, char **dropped,
		    struct err *err);

/**
 * limits_open() - Limit this process's cgroup for the guest, its descriptors for the vmm; give it the container's oom_score_adj
 * @cgroup_fd:	The container's cgroup, -1 when there is none
 */
int limits_open(struct shim *shim, int cgroup_fd, struct err *err);

/** limits_last_victim() - The vmm has been started: from now on whoever is out of memory takes others first */
int limits_last_victim(struct shim *shim, struct err *err);

#endif
