/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's limits in the guest: linux.resources on its cgroup, at its start and by Update.
 */
#ifndef GUEST_LIMITS_H
#define GUEST_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "guest/container.h"

/** container_limit() - Apply its configuration's resources to its new cgroup; Return: 0 or -errno (never one about a program) */
int container_limit(struct container *container, struct err *err);

/**
 * container_give_cgroup() - Let its user shape its new cgroup, if the configuration wants it so (runtime-spec config-linux.md,
 * "Cgroup ownership"): a cgroup namespace, and the hierarchy mounted writable
 */
int container_give_cgroup(struct container *container, struct err *err);

/**
 * container_update() - Apply a resources document to a container that has not ended; @call is answered
 *
 * All of it or nothing. Device rules, if there are any in it, take the place of all those before.
 */
void container_update(struct container *container, const uint8_t *json, size_t len,
		      struct ttrpc_call *call);

#endif
