/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a monitor: the part of "create" that runs in the command.
 *
 *   command                                      child
 *     exports, network namespace: by path
 *     fork into a new pid namespace ─────────▶   shim_main(): pid 1 there, never executes another program
 *     prestart, createRuntime hooks ◀────────    "namespaces are there", with such hooks only
 *                                  ─────────▶    go on; or the end of the pair: undo
 *     (systemd's scope is made, "go") ───────▶   (waits for it, shim/systemd.c)
 *     waits on a socket pair       ◀─────────    "created", or why not, after it has undone everything
 *     returns; the child is orphaned to the next subreaper when the command exits
 *
 * Whatever is found by path is opened here, in the caller's mount namespace and with its view of the bundle; the child gets
 * descriptors. The child sees the other end of the pair close when the command dies early, and gives up.
 *
 * The fork is fork(2) after unshare(CLONE_NEWPID), and setns(2) back for the caller's later children: a bare clone3(2)
 * would leave the C library's (and a sanitizer's) idea of the process behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "shim/control.h"
#include "shim/monitor.h"
#include "shim/systemd.h"

#define SPAWN_UNDO_TIMEOUT_MS 20000 /* for the child to leave after it has reported a failure */

/* @out: the namespace that is joined by path, -1 when there is none */
static int open_netns(const struct oci_config *config, int *out, struct err *err)
{
	const struct oci_namespace *ns = &config->linux_.namespaces[OCI_NS_NETWORK];

	*out = -1;
	if (!ns->present || !ns->path || !ns->path[0])
		return 0;
	/* A fifo in its place would be waited for */
	*out = open(ns->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (*out < 0)
		return err_set(err, EINVAL, "config.json: linux.namespaces: network '%s': %s",
			       ns->path, err_reason(errno));
	return 0;
}

/* fork() into a new pid namespace; the caller's own children stay where they were */
static pid_t fork_pidns(struct err *err)
{
	cleanup_close int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	pid_t pid;
	int code;

	if (own < 0)
		return err_sys(err, errno, "/proc/self/ns/pid");
	if (unshare(CLONE_NEWPID) < 0)
		return err_sys(err, errno, "making a pid namespace");
	(void)fflush(NULL);
	pid = fork();
	code = errno;
	if (pid == 0)
		return 0;
	if (setns(own, CLONE_NEWPID) < 0 && pid > 0) {
		code = errno;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		pid = -1;
	}
	return pid < 0 ? err_sys(err, code, "starting the monitor") : pid;
}

static int fork_monitor(const struct shim_plan *plan, int command_fd, struct monitor *out,
			struct err *err)
{
	sigset_t all, before;
	pid_t pid;

	/* The child opens its signals when it has a place to put them */
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork_pidns(err);
	if (pid == 0) {
		(void)close(command_fd);
		exit(shim_main(plan));
	}
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return pid;
	out->pid = pid;
	out->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (out->pidfd < 0) {
		int code = errno;

		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return err_sys(err, code, "watching the monitor");
	}
	return 0;
}

/* The child has failed: it leaves by itself, or is made to */
static void reap(const struct monitor *monitor)
{
	struct pollfd end = {.fd = monitor->pidfd, .events = POLLIN};
	int n;

	do
		n = poll(&end, 1, SPAWN_UNDO_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		(void)kill(monitor->pid, SIGKILL);
	(void)waitpid(monitor->pid, NULL, 0);
}

static int receive_report(int fd, struct monitor_report *report, struct err *err)
{
	size_t nfds;
	ssize_t n = io_recv_fds(fd, report, sizeof(*report), NULL, 0, &nfds);

	if (n != sizeof(*report))
		return err_set(err, EIO, "the monitor died before the container was created");
	return 0;
}

/* Its namespaces are there: hooks may act on them, and nothing of the container's runs yet */
static int run_hooks(const struct monitor_args *args, pid_t pid, int fd, struct err *err)
{
	int r = args->on_namespaces ? args->on_namespaces(pid, args->arg, err) : 0;

	if (r < 0)
		return r;
	/* If it has gone meanwhile, the next report says so */
	(void)send(fd, "", 1, MSG_NOSIGNAL);
	return 0;
}

static int wait_report(const struct monitor_args *args, pid_t pid, int fd, struct err *err)
{
	struct monitor_report report;
	int r = receive_report(fd, &report, err);

	if (r == 0 && report.kind == MONITOR_REPORT_NAMESPACES) {
		r = run_hooks(args, pid, fd, err);
		if (r == 0)
			r = receive_report(fd, &report, err);
	}
	if (r < 0)
		return r;
	if (report.code == 0)
		return 0;
	report.text[sizeof(report.text) - 1] = 0;
	/* Only the container's program may look like a missing program */
	if (!report.about_program && (report.code == -ENOENT || report.code == -EACCES))
		report.code = -EIO;
	return err_set(err, -report.code, "%s", report.text);
}

static void undo(const struct monitor_args *args)
{
	struct err err = {0};

	if (monitor_cgroup_remove(args->state_fd, &err) < 0)
		log_info("%s", err.msg);
	if (monitor_network_remove(args->state_fd, &err) < 0)
		log_info("%s", err.msg);
	(void)unlinkat(args->state_fd, CONTROL_SOCKET_NAME, 0);
	(void)unlinkat(args->state_fd, SHIM_FAILURE_FILE, 0);
}

/* The monitor's way into its scope, while it waits for a byte */
static int start_scope(const struct monitor_args *args, const struct monitor *monitor, int fd,
		       struct err *err)
{
	struct systemd_unit unit;
	int r;

	if (!args->systemd_cgroup)
		return 0;
	r = systemd_unit_parse(args->config->linux_.cgroups_path, args->id, geteuid() != 0, &unit,
			       err);
	if (r == 0)
		r = systemd_scope_start(&unit, args->id, monitor->pid, args->state_fd, err);
	if (r == 0 && send(fd, "g", 1, MSG_NOSIGNAL) != 1)
		r = err_set(err, EIO, "the monitor died before the container was created");
	return r;
}

/* The monitor has applied the limits; systemd has to know them, or it may take them back */
static int set_scope(const struct monitor_args *args, struct err *err)
{
	const struct limits_machine machine = {args->memory_bytes, args->nvcpus};
	cleanup_close int cgroup_fd = -1;
	struct limits limits = {0};
	int r;

	if (!args->systemd_cgroup)
		return 0;
	cgroup_fd = monitor_cgroup_open(args->state_fd, err);
	if (cgroup_fd < 0)
		return cgroup_fd;
	r = limits_plan(&args->config->linux_.resources, LIMITS_HOST, &machine, &limits, err);
	if (r == 0)
		r = systemd_scope_set(args->state_fd, cgroup_fd, &limits, err);
	limits_release(&limits);
	return r;
}

static int spawn(const struct monitor_args *args, struct exports *exports, struct monitor *out,
		 struct err *err)
{
	cleanup_close int netns = -1, ours = -1, theirs = -1;
	struct monitor monitor;
	struct shim_plan plan;
	int fds[2], r;

	r = open_netns(args->config, &netns, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, errno, "starting the monitor");
	ours = fds[0];
	theirs = fds[1];
	plan = (struct shim_plan){
		.args = args, .exports = exports, .report_fd = theirs, .netns_fd = netns};
	r = fork_monitor(&plan, ours, &monitor, err);
	if (r < 0)
		return r;
	close_fd(&theirs);
	r = start_scope(args, &monitor, ours, err);
	if (r == 0)
		r = wait_report(args, monitor.pid, ours, err);
	if (r == 0) {
		r = set_scope(args, err);
		if (r < 0)
			(void)kill(monitor.pid, SIGKILL);
	}
	if (r < 0) {
		close_fd(&ours); /* it may still wait for our word */
		reap(&monitor);
		close_fd(&monitor.pidfd);
		undo(args);
		return r;
	}
	*out = monitor;
	return 0;
}

int monitor_spawn(const struct monitor_args *args, struct monitor *out, struct err *err)
{
	struct exports exports;
	struct err local;
	int r;

	if (!err)
		err = &local;
	*err = (struct err){0};
	r = exports_open(args->config, args->bundle_fd, &exports, err);
	if (r < 0)
		return r == -ENOENT || r == -EACCES ? -EIO : r;
	for (unsigned int i = 0; i < exports.n && !args->bind_mount_events; i++)
		exports.items[i].flags &= ~VMM_EXPORT_WATCH;
	r = spawn(args, &exports, out, err);
	exports_release(&exports);
	return r;
}

bool monitor_failure(int state_fd, char *out, size_t size)
{
	cleanup_free char *text = NULL;

	if (io_read_file(state_fd, SHIM_FAILURE_FILE, 4096, &text, NULL) <= 0)
		return false;
	text_clean(text);
	snprintf(out, size, "%s", text);
	return true;
}
