/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's cgroup as a scope of systemd's (--systemd-cgroup): by way of the program caisson-systemd, from the commands; the
 * monitor executes nothing.
 */
#ifndef SHIM_SYSTEMD_H
#define SHIM_SYSTEMD_H

#include <sys/types.h>

#include "lib/err.h"
#include "oci/limits.h"

#define SYSTEMD_NAME_MAX 256 /* bytes of a unit's name with the NUL, as systemd's */

struct systemd_unit {
	char slice[SYSTEMD_NAME_MAX], name[SYSTEMD_NAME_MAX];
};

/**
 * systemd_unit_parse() - Slice and scope from linux.cgroupsPath, "SLICE:PREFIX:NAME"
 * @configured:	NULL or "": a scope named after @id
 * @user:	The user's systemd is meant: another default slice
 * Return: 0 or -EINVAL
 */
int systemd_unit_parse(const char *configured, const char *id, bool user, struct systemd_unit *out,
		       struct err *err);

/** systemd_scope_start() - Note the unit in @state_fd, then have a scope made with @pid in it; Return: 0 or -errno */
int systemd_scope_start(const struct systemd_unit *unit, const char *id, pid_t pid, int state_fd,
			struct err *err);

/**
 * systemd_scope_set() - Tell systemd the limits that are in force, so that it keeps them
 * @limits:	Which control files: their values are read from @cgroup_fd
 * Return: 0, also when the state directory has no note of a unit; or -errno
 */
int systemd_scope_set(int state_fd, int cgroup_fd, const struct limits *limits, struct err *err);

/** systemd_scope_stop() - End the noted scope, if there is one, and forget it; Return: 0 or -errno */
int systemd_scope_stop(int state_fd, struct err *err);

#endif
