/* SPDX-License-Identifier: Apache-2.0 */
/* See guest/successor.h. Both processes have one thread and a copy of the agent's memory. */
#define _GNU_SOURCE
#include "guest/successor.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

#include "guest/schedule.h"
#include "guest/sysctl.h"
#include "guest/userns.h"

/* Whose settings are written by linux.sysctl; the rest is the guest's as a whole */
#define SYSCTL_NAMESPACES (CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET)

int successor_clone(const struct child_args *args, struct successor *out, struct err *err)
{
	int pidfd = -1, pair[2];
	struct clone_args clone = {
		/* A child of our parent: the agent reaps it, under the exit signal that we have */
		.flags = (child_namespace_flags(args->config) & ~(uint64_t)CLONE_NEWTIME) |
			 CLONE_PARENT | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
	};
	long pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	pid = syscall(SYS_clone3, &clone, sizeof(clone));
	if (pid < 0) {
		int code = errno;

		(void)close(pair[0]);
		(void)close(pair[1]);
		return err_sys(err, code, "cannot make a user namespace");
	}
	(void)close(pair[pid == 0 ? 0 : 1]);
	*out = (struct successor){
		.pid = (pid_t)pid, .pidfd = pid ? pidfd : -1, .sync = pair[pid == 0 ? 1 : 0]};
	return 0;
}

int successor_set_up(const struct child_args *args, const struct successor *successor,
		     struct err *err)
{
	const struct oci_config *config = args->config;
	uint64_t flags = child_namespace_flags(config) & SYSCTL_NAMESPACES;
	uid_t root_uid;
	gid_t root_gid;
	int r = userns_write_maps(config, successor->pid, err);

	if (r < 0)
		return r;
	r = schedule_apply(args->process, successor->pid, err);
	if (r < 0 || !config->linux_.sysctl.n)
		return r;
	if (flags && setns(successor->pidfd, (int)flags) < 0)
		return err_sys(err, errno, "cannot enter the container's namespaces");
	r = userns_host_ids(config, 0, 0, &root_uid, &root_gid);
	return r < 0 ? err_set(err, -r, "the user namespace has no root")
		     : sysctl_apply(&config->linux_.sysctl, SYSCTL_OTHERS, root_uid, err);
}

void successor_go(const struct successor *successor)
{
	(void)send(successor->sync, "x", 1, MSG_NOSIGNAL);
}

int successor_begin(struct successor *successor, struct err *err)
{
	char byte;
	ssize_t n;

	do {
		n = recv(successor->sync, &byte, 1, 0);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(1); /* the first child has said why */
	close_fd(&successor->sync);
	return userns_become_root(err);
}
