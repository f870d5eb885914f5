/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kill for lack of memory in the guest, shown in the container's cgroup on the host: see oom.c.
 */
#ifndef SHIM_OOM_H
#define SHIM_OOM_H

#include <sys/types.h>

#include "lib/err.h"

/* Below the container's cgroup, for the moment that it takes; never "container", which an engine would take for its own */
#define OOM_GUEST_NAME "caisson.guest"
#define OOM_VICTIM_NAME "caisson.oom"

/**
 * oom_show() - Make oom_kill of memory.events rise by one in the cgroup @cgroup_fd, in which this process and @vmm_pid are
 * @vmm_pid:	<= 0 when it has ended
 *
 * Takes some tens of milliseconds; afterwards everything is where it was. Return: 0; -ENOTSUP when the cgroup has no
 * memory.events (nobody can watch it then); or -errno with @err.
 */
int oom_show(int cgroup_fd, pid_t vmm_pid, struct err *err);

/** oom_clean() - Remove what oom_show() of a monitor that was killed meanwhile has left below @cgroup_fd */
void oom_clean(int cgroup_fd);

#endif
