/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroup hierarchies of this host: see hierarchies.c.
 */
#ifndef SHIM_HIERARCHIES_H
#define SHIM_HIERARCHIES_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

#define HIERARCHIES_MAX 16

struct hierarchy {
	char *mount;	   /* owned: where it is mounted */
	char *controllers; /* owned: "cpu,cpuacct", "name=systemd"; "" for cgroup2 */
	char *own;	   /* owned: this process's cgroup below the mount, "/…" */
};

struct hierarchies {
	struct hierarchy items[HIERARCHIES_MAX];
	size_t n;
};

/**
 * hierarchies_find() - Those that containers are put into
 * @out:	Released with hierarchies_release()
 *
 * With cgroup2 on /sys/fs/cgroup it is the only one; else all of version 1 that are mounted below, and cgroup2 beside them.
 * Return: 0, -ENOTSUP when there is none, -errno.
 */
int hierarchies_find(struct hierarchies *out, struct err *err);

/** hierarchies_parse() - All that the texts of /proc/self/mountinfo and /proc/self/cgroup name, which are changed */
int hierarchies_parse(char *mountinfo, char *cgroups, struct hierarchies *out, struct err *err);

void hierarchies_release(struct hierarchies *hierarchies);

/** controllers_have() - Is @name one of the list @controllers? */
bool controllers_have(const char *controllers, const char *name);

#endif
