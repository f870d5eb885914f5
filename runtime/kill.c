/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson kill`: a signal to the container's process, or to all of its processes.
 *
 * Engines repeat KILL until the container is gone and read "container not running" as success, so a
 * container that ends while we ask must give exactly that. A monitor that runs but does not answer
 * is killed by KILL itself, and its guest with it.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/commands.h"
#include "runtime/container.h"
#include "runtime/signals.h"
#include "shim/control.h"

struct kill_options {
	bool all;
};

static const struct cli_option options[] = {
	{"all", 'a', CLI_BOOL, offsetof(struct kill_options, all),
	 "send the specified signal to all processes inside the container"},
	{0},
};

static bool is_gone(int r)
{
	return r == -ECONNREFUSED || r == -ESRCH;
}

static int send_signal(const struct container *container, int signo, bool all, struct err *err)
{
	cleanup_close int pidfd = container_pidfd(container);
	int r;

	if (pidfd == -ESRCH)
		return err_set(err, ESRCH, CONTAINER_NOT_RUNNING);
	if (pidfd < 0)
		return err_sys(err, -pidfd, "watching the monitor");
	if (signo == 0)
		return 0;
	r = control_signal(container->dir_fd, signo, all, err);
	if (r < 0 && signo == SIGKILL && !is_gone(r))
		r = (int)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 ? -errno : 0;
	return is_gone(r) ? err_set(err, ESRCH, CONTAINER_NOT_RUNNING) : r;
}

static int run_kill(const struct globals *globals, const void *opaque, const struct cli_args *args,
		    struct err *err)
{
	const struct kill_options *given = opaque;
	struct container container;
	int signo, r;

	r = container_load(globals, args->items[0], &container, err);
	if (r < 0)
		return r;
	signo = signal_parse(args->n > 1 ? args->items[1] : "TERM");
	if (signo < 0)
		r = err_set(err, EINVAL, "unknown signal \"%.64s\"", args->items[1]);
	else
		r = send_signal(&container, signo, given->all, err);
	container_release(&container);
	return r == -ESRCH && given->all ? 0 : r;
}

const struct cli_command command_kill = {
	.name = "kill",
	.summary = "kill sends the specified signal (default: SIGTERM) to the container's init "
		   "process",
	.usage = "<container-id> [signal]",
	.options = options,
	.options_size = sizeof(struct kill_options),
	.min_args = 1,
	.max_args = 2,
	.run = run_kill,
};
