/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson run`: create and start; in the foreground also wait for the end and delete.
 *
 * The monitor is this process's child then: signals are passed on to it, and its exit status is the
 * container's. With a terminal this process plays the engine's part: it takes the pty's master and
 * relays it to the person's terminal.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/log.h"
#include "runtime/commands.h"
#include "runtime/hooks.h"
#include "runtime/interrupt.h"
#include "runtime/launch.h"

static const struct cli_option options[] = {
	LAUNCH_OPTIONS,
	{"detach", 'd', CLI_BOOL, offsetof(struct launch_options, detach),
	 "detach from the container's process"},
	{"keep", 0, CLI_BOOL, offsetof(struct launch_options, keep),
	 "do not delete the container after it exits"},
	{"no-subreaper", 0, CLI_BOOL, offsetof(struct launch_options, no_subreaper),
	 "accepted, without effect"},
	{0},
};

static int start(struct launch *launch, struct err *err)
{
	const struct oci_hooks *hooks = launch->config->hooks;
	int r = control_start(launch->container.dir_fd, hooks[OCI_HOOK_START_CONTAINER].n, err);

	if (r < 0)
		return r;
	/* Others may act on the container from now on; the monitor has noted that it runs */
	close_fd(&launch->container.lock_fd);
	return hooks_start(hooks, &launch->container, err);
}

static int run_detached(struct launch *launch, struct err *err)
{
	int r = interrupt_signal() ? -EINTR : start(launch, err);

	if (r < 0)
		launch_undo(launch);
	return r;
}

/* The container has ended: say why its guest died if it did, remove it */
static int finish(struct launch *launch, int status)
{
	struct err err = {0};
	char text[ERR_MSG_MAX];
	int r;

	if (monitor_failure(launch->container.dir_fd, text, sizeof(text)))
		(void)dprintf(STDERR_FILENO, "caisson: %s\n", text);
	if (launch->options->keep)
		return status;
	r = container_lock(&launch->container, &err);
	if (r == 0)
		r = launch_remove(launch, &err);
	if (r < 0 && r != -ENOENT) /* somebody else was faster */
		log_warn("Removing the container: %s", err.msg);
	return status;
}

static int run_foreground(struct launch *launch, struct err *err)
{
	struct host_terminal *terminal = &launch->terminal;
	bool with_terminal = launch->config->process.terminal;
	struct foreground *foreground;
	int master = -1, r = 0;

	if (with_terminal) {
		master = console_socket_receive(launch->terminal_fd, err);
		r = master < 0 ? master : host_terminal_raw(terminal, err);
		if (r < 0) {
			close_fd(&master);
			launch_undo(launch);
			return r;
		}
	}
	foreground = foreground_new(launch->monitor.pid, launch->monitor.pidfd, master,
				    with_terminal ? terminal : NULL, err);
	r = !foreground ? -err->code : interrupt_signal() ? -EINTR : start(launch, err);
	if (r < 0) {
		foreground_free(foreground);
		launch_undo(launch);
		return r;
	}
	r = foreground_wait(foreground, err);
	foreground_free(foreground);
	if (r < 0)
		launch_undo(launch);
	return r < 0 ? r : finish(launch, r);
}

static int launch_and_run(const struct globals *globals, const struct launch_options *given,
			  const char *id, struct err *err)
{
	struct launch launch;
	int r = launch_create(globals, given, id, &launch, err);

	if (r < 0)
		return r;
	r = given->detach ? run_detached(&launch, err) : run_foreground(&launch, err);
	launch_release(&launch);
	return r;
}

static int run_run(const struct globals *globals, const void *opaque, const struct cli_args *args,
		   struct err *err)
{
	int r = launch_and_run(globals, opaque, args->items[0], err);

	return interrupt_status(r, "run", err);
}

const struct cli_command command_run = {
	.name = "run",
	.summary = "create and run a container",
	.usage = "<container-id>",
	.description = "The bundle is a folder with a config.json and a root file system. The exit "
		       "code is that of the\n"
		       "   container's process, 128+n if signal n ended it.",
	.options = options,
	.options_size = sizeof(struct launch_options),
	.min_args = 1,
	.max_args = 1,
	.failure_prefix = "caisson run failed",
	.run = run_run,
};
