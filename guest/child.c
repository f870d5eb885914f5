/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From clone to execve, as two tables of steps:
 *
 *   first process   exports → namespaces → root, mounts, devices, terminal, masks → pivot_root ┐
 *   exec'd process  join namespaces → terminal ───────────────────────────────────────────────┤
 *                                                                                              ├→ stdio → user → look-up → [wait, hooks] → filter → execve
 *
 * With a user namespace the first process is two, one after the other: guest/successor.h. What takes the guest's own capabilities
 * (a better OOM score, higher limits, a scheduler) comes before the namespace is entered.
 *
 * Its memory is a copy of the agent's, so it closes every descriptor that it was not given at once (a copy of a stream held here
 * would keep the stream open) and is not dumpable, so that no process of the container looks into it.
 */
#define _GNU_SOURCE
#include "guest/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/process.h"
#include "oci/hooks.h"

#include "guest/boot.h"
#include "guest/creds.h"
#include "guest/devices.h"
#include "guest/lookup.h"
#include "guest/process.h"
#include "guest/rootfs.h"
#include "guest/schedule.h"
#include "guest/successor.h"
#include "guest/sysctl.h"
#include "guest/timens.h"
#include "guest/userns.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define PASSWD_MAX (1u << 20)

struct child {
	const struct child_args *args;
	struct rootfs rootfs;
	int terminal; /* slave, -1 without */
	char program[PATH_MAX];
	char **env;
};

struct child_step {
	const char *what;
	int (*run)(struct child *child, struct err *err);
	bool is_program; /* its failure is the program's: the monitor tells 126 and 127 by its code */
};

static const uint64_t namespace_flags[OCI_NS_COUNT] = {
	[OCI_NS_PID] = CLONE_NEWPID,   [OCI_NS_IPC] = CLONE_NEWIPC,
	[OCI_NS_UTS] = CLONE_NEWUTS,   [OCI_NS_CGROUP] = CLONE_NEWCGROUP,
	[OCI_NS_USER] = CLONE_NEWUSER, [OCI_NS_TIME] = CLONE_NEWTIME,
};

uint64_t child_namespace_flags(const struct oci_config *config)
{
	uint64_t flags = CLONE_NEWNS;

	for (int i = 0; i < OCI_NS_COUNT; i++) {
		if (config->linux_.namespaces[i].present)
			flags |= namespace_flags[i];
	}
	/* The guest's network is the container's, unless root of a user namespace is to be root of it */
	if (userns_is_wanted(config) && config->linux_.namespaces[OCI_NS_NETWORK].present)
		flags |= CLONE_NEWNET;
	return flags;
}

/* ---- reports ---- */

static void report(const struct child *child, enum process_report_kind kind, enum ttrpc_code code,
		   const char *text, const int *fds, size_t nfds)
{
	struct process_report message = {.kind = kind, .code = code};

	(void)snprintf(message.text, sizeof(message.text), "%s", text);
	/* Few seccomp profiles are without write */
	if (nfds)
		(void)io_send_fds(child->args->report_fd, &message, sizeof(message), fds, nfds);
	else
		(void)!write(child->args->report_fd, &message, sizeof(message));
}

static _Noreturn void fail(const struct child *child, enum ttrpc_code code, const struct err *err)
{
	report(child, PROCESS_REPORT_ERROR, code, err->msg, NULL, 0);
	_exit(1);
}

/* ---- first process ---- */

static int step_clone_exports(struct child *child, struct err *err)
{
	return rootfs_clone_exports(&child->rootfs, err);
}

static int step_time(struct child *child, struct err *err)
{
	return timens_enter(child->args->config, err);
}

/* So that /dev/stdout can be opened again by whoever the process is; never /dev/null, which is everybody's */
static void give_stdio(int fd, uint32_t uid)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_uid != uid &&
	    !(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))) {
		if (fchown(fd, uid, st.st_gid) < 0)
			log_debug("Cannot give a process its stdio: %s, ignoring",
				  err_reason(errno));
	}
}

/* Pipes belong to the guest's root, who is nobody in a user namespace */
static int give_to_mapped(const struct child *child, struct err *err)
{
	const struct child_args *args = child->args;
	uid_t uid;
	gid_t gid;

	if (userns_host_ids(args->config, args->process->user.uid, args->process->user.gid, &uid,
			    &gid) < 0)
		return err_set(err, EINVAL, "the user %u:%u is not mapped in the user namespace",
			       args->process->user.uid, args->process->user.gid);
	for (int i = 0; i < 3; i++) {
		if (args->stdio[i] >= 0)
			give_stdio(args->stdio[i], uid);
	}
	return 0;
}

/* Goes on in the successor alone */
static int divide(struct child *child, struct err *err)
{
	struct successor successor;
	int r = successor_clone(child->args, &successor, err);

	if (r < 0)
		return r;
	if (successor.pid == 0)
		return successor_begin(&successor, err);
	r = successor_set_up(child->args, &successor, err);
	if (r < 0)
		return r;
	report(child, PROCESS_REPORT_SUCCESSOR, (enum ttrpc_code)successor.pid, "",
	       &successor.pidfd, 1);
	successor_go(&successor);
	_exit(0);
}

static int step_namespaces(struct child *child, struct err *err)
{
	const struct oci_config *config = child->args->config;
	uint64_t flags = child_namespace_flags(config) & ~(uint64_t)(CLONE_NEWPID | CLONE_NEWTIME);
	int r;

	if (!userns_is_wanted(config))
		return unshare((int)flags) < 0 ? err_sys(err, errno, "cannot make namespaces") : 0;
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(err, errno, "cannot make a mount namespace");
	r = devices_prepare(&child->rootfs, err);
	if (r < 0)
		return r;
	r = give_to_mapped(child, err);
	return r < 0 ? r : divide(child, err);
}

static int step_loopback(struct child *child, struct err *err)
{
	return child_namespace_flags(child->args->config) & CLONE_NEWNET ? boot_raise_loopback(err)
									 : 0;
}

static int step_hostname(struct child *child, struct err *err)
{
	const struct oci_config *config = child->args->config;

	if (config->hostname && sethostname(config->hostname, strlen(config->hostname)) < 0)
		return err_sys(err, errno, "cannot set hostname");
	if (config->domainname && setdomainname(config->domainname, strlen(config->domainname)) < 0)
		return err_sys(err, errno, "cannot set domainname");
	return 0;
}

static int step_sysctl(struct child *child, struct err *err)
{
	const struct oci_config *config = child->args->config;

	return sysctl_apply(&config->linux_.sysctl,
			    userns_is_wanted(config) ? SYSCTL_USER : SYSCTL_ALL, 0, err);
}

static int step_attach(struct child *child, struct err *err)
{
	return rootfs_attach(&child->rootfs, err);
}

static int step_mounts(struct child *child, struct err *err)
{
	return rootfs_mount_all(&child->rootfs, err);
}

static int step_devices(struct child *child, struct err *err)
{
	return devices_make(&child->rootfs, err);
}

static int open_terminal(struct child *child, int root, struct err *err)
{
	const struct oci_process *process = child->args->process;
	int fds[2], r;

	r = terminal_open(root, process->console_size.height, process->console_size.width, &fds[0],
			  &fds[1], err);
	if (r < 0)
		return r;
	report(child, PROCESS_REPORT_TERMINAL, TTRPC_OK, "", fds, 2);
	(void)close(fds[0]);
	child->terminal = fds[1];
	return 0;
}

static int step_console(struct child *child, struct err *err)
{
	int r;

	if (!child->args->process->terminal)
		return 0;
	r = open_terminal(child, child->rootfs.root, err);
	return r < 0 ? r : terminal_mount_console(&child->rootfs, child->terminal, err);
}

static int step_hide(struct child *child, struct err *err)
{
	int r = rootfs_finish(&child->rootfs, err);

	return r < 0 ? r : rootfs_hide(&child->rootfs, err);
}

static int step_make_cwd(struct child *child, struct err *err)
{
	int fd = path_make_beneath(child->rootfs.root, child->args->process->cwd, true, 0755, err);

	/* Read-only roots are common, and change_dir() says it better if it is missing */
	close_fd(&fd);
	return 0;
}

static int step_enter(struct child *child, struct err *err)
{
	return rootfs_enter(&child->rootfs, err);
}

static int step_schedule(struct child *child, struct err *err)
{
	/* With a user namespace the first child has done it */
	return child->args->is_init && userns_is_wanted(child->args->config)
		       ? 0
		       : schedule_apply(child->args->process, 0, err);
}

/* ---- exec'd process ---- */

static int step_affinity(struct child *child, struct err *err)
{
	return schedule_affinity(child->args->process, err);
}

static int step_join(struct child *child, struct err *err)
{
	const struct oci_config *config = child->args->config;
	uint64_t flags = child_namespace_flags(config) & ~(uint64_t)CLONE_NEWPID;
	bool mapped = userns_is_wanted(config);
	int r = mapped ? give_to_mapped(child, err) : 0;

	if (r < 0)
		return r;
	if (setns(child->args->container_pidfd, (int)flags) < 0)
		return err_sys(err, errno, "cannot join the container's namespaces");
	return mapped ? userns_become_root(err) : 0;
}

static int step_exec_terminal(struct child *child, struct err *err)
{
	cleanup_close int root = -1;

	if (!child->args->process->terminal)
		return 0;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(err, errno, "cannot open the container's root");
	return open_terminal(child, root, err);
}

/* ---- both ---- */

static int step_limits(struct child *child, struct err *err)
{
	return creds_raise_limits(child->args->process, err);
}

static int step_personality(struct child *child, struct err *err)
{
	return schedule_personality(child->args->config, err);
}

static int step_oom(struct child *child, struct err *err)
{
	const struct oci_process *process = child->args->process;

	return process->has_oom_score_adj ? creds_set_oom_score_adj(process->oom_score_adj, err)
					  : 0;
}

static int step_stdio(struct child *child, struct err *err)
{
	if (setsid() < 0)
		return err_sys(err, errno, "cannot make a session");
	if (child->terminal >= 0 && ioctl(child->terminal, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "cannot make the terminal the controlling one");
	for (int i = 0; i < 3; i++) {
		if (dup2(child->terminal >= 0 ? child->terminal : child->args->stdio[i], i) < 0)
			return err_sys(err, errno, "cannot set up stdio");
		give_stdio(i, child->args->process->user.uid);
	}
	return 0;
}

/* A session keyring of its own, as runc gives; a kernel without keys has none to share */
static int step_keyring(struct child *child, struct err *err)
{
	char name[AGENT_ID_MAX + 8];

	(void)err;
	(void)snprintf(name, sizeof(name), "_ses.%s", child->args->id);
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
	return 0;
}

/* The last of several variables of one name counts, as in runc; an empty HOME is none */
static void fill_env(struct child *child, size_t *n)
{
	const struct oci_strings *env = &child->args->process->env;

	for (size_t i = 0; i < env->n; i++) {
		size_t len = strcspn(env->items[i], "=") + 1;
		bool again = strcmp(env->items[i], "HOME=") == 0;

		for (size_t j = i + 1; j < env->n && !again; j++)
			again = strncmp(env->items[i], env->items[j], len) == 0;
		if (!again)
			child->env[(*n)++] = env->items[i];
	}
}

static int step_env(struct child *child, struct err *err)
{
	static char home[PATH_MAX + 5] = "HOME=";
	const struct oci_strings *env = &child->args->process->env;
	const char *given = lookup_env(env, "HOME");
	cleanup_free char *passwd = NULL;
	cleanup_close int root = -1;
	size_t n = 0;

	child->env = calloc(env->n + 2, sizeof(*child->env));
	if (!child->env)
		return err_sys(err, ENOMEM, "cannot prepare the environment");
	fill_env(child, &n);
	if (given && *given)
		return 0;
	root = path_open_beneath(AT_FDCWD, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY, 0,
				 NULL);
	if (root >= 0) {
		struct stat st;

		passwd = calloc(1, PASSWD_MAX + 1);
		if (!passwd || fstat(root, &st) < 0 || !S_ISREG(st.st_mode) ||
		    pread(root, passwd, PASSWD_MAX, 0) < 0)
			close_fd(&root);
	}
	creds_home(root >= 0 ? passwd : "", child->args->process->user.uid, home + 5);
	child->env[n] = home;
	return 0;
}

static int step_creds(struct child *child, struct err *err)
{
	return creds_apply(child->args->process, child->args->filter, err);
}

static int step_lookup(struct child *child, struct err *err)
{
	return lookup_program(child->args->process, child->program, err);
}

static const struct child_step init_steps[] = {
	{"oom score", step_oom, false},
	{"limits", step_limits, false},
	{"exports", step_clone_exports, false},
	{"time", step_time, false},
	{"namespaces", step_namespaces, false},
	{"loopback", step_loopback, false},
	{"hostname", step_hostname, false},
	{"sysctl", step_sysctl, false},
	{"rootfs", step_attach, false},
	{"mounts", step_mounts, false},
	{"devices", step_devices, false},
	{"console", step_console, false},
	{"cwd", step_make_cwd, false},
	{"masks", step_hide, false},
	{"pivot", step_enter, false},
	{"schedule", step_schedule, false},
	{0},
};
static const struct child_step exec_steps[] = {
	{"oom score", step_oom, false},
	{"limits", step_limits, false},
	{"affinity", step_affinity, false},
	{"schedule", step_schedule, false},
	{"join", step_join, false},
	{"terminal", step_exec_terminal, false},
	{0},
};
static const struct child_step common_steps[] = {
	{"stdio", step_stdio, false},
	{"keyring", step_keyring, false},
	{"environment", step_env, false},
	{"personality", step_personality, false},
	{"user", step_creds, true},
	{"program", step_lookup, true},
	{0},
};

static void run_steps(struct child *child, const struct child_step *steps)
{
	struct err err = {0};

	for (const struct child_step *step = steps; step->run; step++) {
		int r = step->run(child, &err);

		if (r < 0)
			fail(child, step->is_program ? lookup_code(r) : TTRPC_INTERNAL, &err);
	}
}

/* Signals as a fresh process has them; nothing open but what was given */
static void reset(const struct child_args *args)
{
	int keep[6] = {args->report_fd, args->container_pidfd, args->stdio[0],
		       args->stdio[1],	args->stdio[2],	       log_fd()};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(keep); i++) {
		if (keep[i] >= 3)
			keep[n++] = keep[i];
	}
	io_close_all_from(3, keep, n);
	process_reset_signals();
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)umask(0);
}

static void wait_for_go(const struct child *child)
{
	char byte;
	ssize_t n;

	do {
		n = recv(child->args->report_fd, &byte, 1, 0);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(1);
}

/* By whoever the process is, where it starts, with its environment unless they bring their own; as runc does */
static void run_hooks(const struct child *child)
{
	const struct child_args *args = child->args;
	const struct oci_state state = {
		.oci_version = args->config->oci_version,
		.id = (char *)args->id,
		.pid = getpid(),
		.bundle = (char *)args->bundle,
		.annotations = args->config->annotations,
	};
	const struct oci_hook_run run = {
		.state = &state,
		.status = OCI_CREATED,
		.cwd_fd = -1,
		.env = child->env,
		.abort_fd = -1,
	};
	struct err err = {0};

	if (oci_hooks_run(args->config->hooks, OCI_HOOK_START_CONTAINER, &run, &err) < 0)
		fail(child, TTRPC_ABORTED, &err);
}

/*
 * As late as can be: everything from here on is subject to the container's profile, which is capset, if anything, and execve (and
 * write, to report that execve has failed). runc filters without no_new_privs before it changes user, and then needs far more.
 */
static void enter_filter(const struct child *child)
{
	struct err err = {0};

	if (!child->args->filter)
		return;
	if (filter_load(child->args->filter, &err) < 0)
		fail(child, TTRPC_INTERNAL, &err);
	if (creds_finish(child->args->process, &err) < 0) {
		err_prefix(&err, "under linux.seccomp");
		fail(child, TTRPC_INTERNAL, &err);
	}
}

_Noreturn void child_main(const struct child_args *args)
{
	static struct child child; /* has a path in it; one process, one child */
	struct err err = {0};
	sigset_t none;

	child = (struct child){.args = args, .rootfs = {.args = args, .root = -1}, .terminal = -1};
	reset(args);
	run_steps(&child, args->is_init ? init_steps : exec_steps);
	run_steps(&child, common_steps);
	report(&child, PROCESS_REPORT_READY, TTRPC_OK, "", NULL, 0);
	if (args->is_init)
		wait_for_go(&child);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	if (args->is_init)
		run_hooks(&child);
	enter_filter(&child);
	(void)execve(child.program, args->process->args.items, child.env);
	(void)lookup_exec_error(child.program, errno, &err);
	fail(&child, lookup_code(err.code), &err);
}
