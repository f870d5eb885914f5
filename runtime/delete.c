/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson delete`: end what still runs (with --force, or when it was created and never started),
 * then remove everything.
 *
 * It must be able to clear whatever a crash left at any step: no state.json, half of one, a monitor
 * that was just forked when its command was killed. That one notices and gives up; if it had come
 * so far as to serve, it is asked to stop. The lock of the state directory tells when it has gone.
 */
#include <errno.h>

#include "lib/log.h"
#include "runtime/commands.h"
#include "runtime/container.h"
#include "runtime/hooks.h"

struct delete_options {
	bool force;
};

static const struct cli_option options[] = {
	{"force", 'f', CLI_BOOL, offsetof(struct delete_options, force),
	 "Forcibly deletes the container if it is still running (uses SIGKILL)"},
	{0},
};

static int not_stopped(const struct container *container, struct err *err)
{
	return err_set(err, EBUSY, "cannot delete container %s that is not stopped: %s",
		       container->id, oci_status_name(container->status));
}

/*
 * With the lock held nobody starts it any more; without, it may have been started since we looked. With @force also one that runs:
 * it had no state yet when we looked, or its monitor has let go of the directory and is still on its way out.
 */
static int end_created(struct container *container, bool force, struct err *err)
{
	int r;

	if (!container->state ||
	    (container->status != OCI_CREATED && !(force && container->status == OCI_RUNNING)))
		return 0;
	r = container_stop(container, err);
	return r < 0 ? r : container_refresh(container, err);
}

/* With the lock held; poststop hooks come when everything is gone */
static int remove_container(struct container *container, struct err *err)
{
	CLEANUP(oci_hook_record) struct oci_hook_record *record = NULL;
	struct err why = {0};
	int r = hooks_load(container->dir_fd, &record, &why);

	if (r < 0)
		log_warn("The container's hooks are lost: %s", why.msg);
	r = container_remove(container, err);
	if (r == 0)
		hooks_delete_record(record, container->id);
	return r;
}

static int delete_container(struct container *container, bool force, struct err *err)
{
	int r = 0;

	if (!force && (container->status == OCI_RUNNING || container->status == OCI_PAUSED ||
		       container->status == OCI_CREATING))
		return not_stopped(container, err);
	/* Stopped before the lock is taken: its holder may be waiting for the guest */
	if (force)
		r = container_stop(container, err);
	if (r == 0 && !container->state)
		r = container_wait_abandoned(container, err);
	if (r == 0)
		r = container_lock(container, err);
	if (r == 0)
		r = end_created(container, force, err);
	if (r < 0)
		return r;
	if (container->state && container->status != OCI_STOPPED)
		return not_stopped(container, err);
	return remove_container(container, err);
}

static int run_delete(const struct globals *globals, const void *opaque,
		      const struct cli_args *args, struct err *err)
{
	const struct delete_options *given = opaque;
	struct container container;
	bool had_state;
	int r = container_open(globals, args->items[0], &container, err);

	if (r < 0)
		return r == -ENOENT && given->force ? 0 : r;
	had_state = container.state != NULL;
	r = delete_container(&container, given->force, err);
	container_release(&container);
	if (r == -ENOENT && given->force)
		return 0;
	/* As with runc: what a crash left is removed, but it was no container */
	if (r == 0 && !had_state && !given->force)
		return err_set(err, ENOENT, "container does not exist");
	return r;
}

const struct cli_command command_delete = {
	.name = "delete",
	.summary = "delete any resources held by the container often used with detached container",
	.usage = "<container-id>",
	.options = options,
	.options_size = sizeof(struct delete_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_delete,
};
