/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson start`: let the process of a created container run. That it runs is noted by the monitor, as soon as it is so:
 * state.json stays as `create` wrote it (runtime/container.c).
 */
#include <errno.h>
#include <stdint.h>

#include "runtime/commands.h"
#include "runtime/container.h"
#include "runtime/hooks.h"
#include "shim/control.h"

static int start_created(struct container *container, struct err *err)
{
	CLEANUP(oci_hook_record) struct oci_hook_record *record = NULL;
	int r = hooks_load(container->dir_fd, &record, err);

	if (r < 0)
		return r;
	r = control_start(container->dir_fd, record && record->hooks[OCI_HOOK_START_CONTAINER].n,
			  err);
	if (r == -ECONNREFUSED)
		return err_set(err, EINVAL, "cannot start a container that has stopped");
	if (r < 0 || !record)
		return r;
	/* They may want to do something with the container themselves; the monitor has noted that it runs */
	close_fd(&container->lock_fd);
	return hooks_start(record->hooks, container, err);
}

static int start_container(struct container *container, struct err *err)
{
	int r = container_lock(container, err);

	if (r < 0)
		return r;
	if (!container->state)
		return err_set(err, ENOENT, "container does not exist");
	switch (container->status) {
	case OCI_CREATED:
		return start_created(container, err);
	case OCI_STOPPED:
		return err_set(err, EINVAL, "cannot start a container that has stopped");
	case OCI_RUNNING:
		return err_set(err, EINVAL, "cannot start an already running container");
	default:
		return err_set(err, EINVAL, "cannot start a container in the %s state",
			       oci_status_name(container->status));
	}
}

static int run_start(const struct globals *globals, const void *options,
		     const struct cli_args *args, struct err *err)
{
	struct container container;
	int r = container_load(globals, args->items[0], &container, err);

	(void)options;
	if (r < 0)
		return r;
	r = start_container(&container, err);
	container_release(&container);
	return r;
}

const struct cli_command command_start = {
	.name = "start",
	.summary = "executes the user defined process in a created container",
	.usage = "<container-id>",
	.min_args = 1,
	.max_args = 1,
	.run = run_start,
};
