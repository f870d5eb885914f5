/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson pause` and `caisson resume`: freeze the container's processes in the guest, and let them go on. After a pause the host
 * sees all that they have written.
 */
#include <errno.h>

#include "runtime/commands.h"
#include "runtime/container.h"
#include "shim/control.h"

static int pause_container(struct container *container, struct err *err)
{
	int r;

	if (container->status != OCI_CREATED && container->status != OCI_RUNNING)
		return err_set(err, ESRCH, CONTAINER_NOT_RUNNING);
	r = control_pause(container->dir_fd, err);
	return r == -ECONNREFUSED ? err_set(err, ESRCH, CONTAINER_NOT_RUNNING) : r;
}

static int resume_container(struct container *container, struct err *err)
{
	int r;

	if (container->status != OCI_PAUSED)
		return err_set(err, EINVAL, "container not paused");
	r = control_resume(container->dir_fd, err);
	return r == -ECONNREFUSED ? err_set(err, EINVAL, "container not paused") : r;
}

static int act(const struct globals *globals, const struct cli_args *args,
	       int (*action)(struct container *container, struct err *err), struct err *err)
{
	struct container container;
	int r = container_load(globals, args->items[0], &container, err);

	if (r < 0)
		return r;
	r = container_lock(&container, err);
	if (r == 0)
		r = container.state ? action(&container, err)
				    : err_set(err, ENOENT, "container does not exist");
	container_release(&container);
	return r;
}

static int run_pause(const struct globals *globals, const void *options,
		     const struct cli_args *args, struct err *err)
{
	(void)options;
	return act(globals, args, pause_container, err);
}

static int run_resume(const struct globals *globals, const void *options,
		      const struct cli_args *args, struct err *err)
{
	(void)options;
	return act(globals, args, resume_container, err);
}

const struct cli_command command_pause = {
	.name = "pause",
	.summary = "pause suspends all processes inside the container",
	.usage = "<container-id>",
	.description = "What they have written is on the host afterwards. \"caisson list\" shows "
		       "which containers are\n"
		       "   paused.",
	.min_args = 1,
	.max_args = 1,
	.run = run_pause,
};

const struct cli_command command_resume = {
	.name = "resume",
	.summary = "resumes all processes that have been previously paused",
	.usage = "<container-id>",
	.min_args = 1,
	.max_args = 1,
	.run = run_resume,
};
