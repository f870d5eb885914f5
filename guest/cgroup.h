/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's own cgroups: one per container, below the root of cgroup v2, so that a container can be killed as a whole and
 * be limited (guest/limits.h); a container may make further cgroups below its own.
 */
#ifndef GUEST_CGROUP_H
#define GUEST_CGROUP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

/**
 * cgroup_give() - Give a cgroup's directory and the files in it that may be delegated to @uid
 *
 * Which files those are the kernel says: cgroups(7), /sys/kernel/cgroup/delegate. Return: 0 or -errno
 */
int cgroup_give(int cgroup_fd, uid_t uid, struct err *err);

/** cgroup_enable_controllers() - Pass every controller on to the children of the cgroup @dirfd; Return: 0 or -errno */
int cgroup_enable_controllers(int dirfd, struct err *err);
/** cgroup_make() - Make cgroup @name below @dirfd; Return: its directory's descriptor, or -errno */
int cgroup_make(int dirfd, const char *name, struct err *err);
typedef void cgroup_on_pid(pid_t pid, void *arg);
/** cgroup_each_pid() - Call @on_pid for every process in the cgroup and below; Return: 0 or -errno of the cgroup itself */
int cgroup_each_pid(int cgroup_fd, cgroup_on_pid *on_pid, void *arg);
/** cgroup_signal() - Send @signo to every process in the cgroup and below; Return: how many got it, or -errno */
int cgroup_signal(int cgroup_fd, int signo);
/** cgroup_remove() - Remove cgroup @name below @dirfd with all below; Return: 0, -EBUSY while processes are left, -errno */
int cgroup_remove(int dirfd, const char *name);
/** cgroup_of_pid() - Open the cgroup (below @rootfd, the hierarchy's root) that @pid is in; Return: descriptor or -errno */
int cgroup_of_pid(int rootfd, pid_t pid);
/** cgroup_open_below() - Open the cgroup @path below @cgroup_fd ("a/b", a leading '/' means the same); it does not leave that. */
int cgroup_open_below(int cgroup_fd, const char *path, struct err *err);
/** cgroup_freeze() - Ask for every process in it and below to be stopped, or no longer; Return: 0 or -errno */
int cgroup_freeze(int cgroup_fd, bool on);
/** cgroup_value() - The number in the line "@key number" of a file such as memory.events; Return: 0, -ENOENT, -EINVAL */
int cgroup_value(const char *text, const char *key, uint64_t *out);

#endif
