/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's own cgroups: one per container, below the root of cgroup v2, so that a container can be killed as a whole and
 * be limited (guest/limits.h); a container may make further cgroups below its own.
 */
#ifndef GUEST_CGROUP_H
#define GUEST_CGROUP_H

#include <signal.h>
#include <sys/types.h>

#include "lib/err.h"

/** cgroup_enable_controllers() - Pass every controller on to the children of the cgroup @dirfd; Return: 0 or -errno */
int cgroup_enable_controllers(int dirfd, struct err *err);
/** cgroup_make() - Make cgroup @name below @dirfd; Return: its directory's descriptor, or -errno */
int cgroup_make(int dirfd, const char *name, struct err *err);
/** cgroup_signal() - Send @signo to every process in the cgroup and below; Return: how many got it, or -errno */
int cgroup_signal(int cgroup_fd, int signo);
/** cgroup_remove() - Remove cgroup @name below @dirfd with all below; Return: 0, -EBUSY while processes are left, -errno */
int cgroup_remove(int dirfd, const char *name);
/** cgroup_of_pid() - Open the cgroup (below @rootfd, the hierarchy's root) that @pid is in; Return: descriptor or -errno */
int cgroup_of_pid(int rootfd, pid_t pid);

#endif
