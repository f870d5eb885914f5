/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host cgroup of a container: made by the monitor, removed by monitor_cgroup_remove() (shim/control.h).
 */
#ifndef SHIM_CGROUP_H
#define SHIM_CGROUP_H

#include <stdbool.h>

#include "lib/err.h"

#define CGROUP_PATH_MAX 4096

/**
 * cgroup_path() - Where below a hierarchy's mount a container's cgroup is, as runc decides
 * @configured:	linux.cgroupsPath, NULL or "" when absent (then @id is the last part)
 * @own:	The caller's cgroup ("/…" from /proc/self/cgroup), at which relative paths start
 * @beside:	At its parent instead: a cgroup of version 2 that passes controllers on cannot hold processes itself
 * @out:	CGROUP_PATH_MAX bytes: a clean path that begins with '/', without "." or ".."
 *
 * Return: 0, or -ENAMETOOLONG.
 */
int cgroup_path(const char *configured, const char *id, const char *own, bool beside, char *out,
		struct err *err);

/** cgroup_adopt() - The same for a process that was moved into its cgroup by systemd, which also removes it */
int cgroup_adopt(int state_fd, int *out, struct err *err);

/**
 * cgroup_enter() - Make the container's cgroups, note in @state_fd what is made, and move this process into them
 * @out:	The directory of the first, the caller's; set on success
 *
 * Return: 0; -ENOTSUP when there is no hierarchy; or -errno. On failure nothing is left but what
 * monitor_cgroup_remove() clears.
 */
int cgroup_enter(const char *configured, const char *id, int state_fd, int *out, struct err *err);

#endif
