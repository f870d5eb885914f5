/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks on the cgroups of containers: see cgroup_mark.c.
 */
#ifndef SHIM_CGROUP_MARK_H
#define SHIM_CGROUP_MARK_H

#include <stdbool.h>

/** cgroup_mark() - Mark the cgroup @path below @root_fd as that of @state_fd's container if it was @made for it, else as shared */
void cgroup_mark(int root_fd, const char *path, int state_fd, bool made);

/** cgroup_is_only_ours() - Is the cgroup @fd one that the container of @state_fd made and nobody else has entered? */
bool cgroup_is_only_ours(int fd, int state_fd);

#endif
