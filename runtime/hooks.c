/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks that commands run: see runtime/hooks.h. */
#include "runtime/hooks.h"

#include <errno.h>

#include "lib/io.h"
#include "lib/log.h"
#include "runtime/interrupt.h"

int hooks_store(int dir_fd, const struct oci_config *config, const char *bundle, struct err *err)
{
	cleanup_free char *text = NULL;
	size_t n = 0;
	ssize_t len;

	for (int kind = 0; kind < OCI_HOOK_COUNT; kind++)
		n += config->hooks[kind].n;
	if (n == 0)
		return 0;
	len = oci_hook_record_write(config, bundle, &text, err);
	if (len < 0)
		return (int)len;
	return io_write_file(dir_fd, HOOKS_FILE, text, (size_t)len, 0600, err);
}

int hooks_load(int dir_fd, struct oci_hook_record **out, struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t len = io_read_file(dir_fd, HOOKS_FILE, OCI_STATE_MAX, &text, err);

	*out = NULL;
	if (len == -ENOENT)
		return 0;
	return len < 0 ? (int)len : oci_hook_record_parse(text, (size_t)len, out, err);
}

static bool is_interrupted(void *arg)
{
	(void)arg;
	return interrupt_signal() != 0;
}

int hooks_create(const struct oci_hooks *hooks, const struct oci_state *state, int bundle_fd,
		 struct err *err)
{
	const struct oci_hook_run run = {
		.state = state,
		.status = OCI_CREATING,
		.cwd_fd = bundle_fd,
		.abort_fd = -1,
		.is_aborted = is_interrupted,
	};
	int r = oci_hooks_run(hooks, OCI_HOOK_PRESTART, &run, err);

	return r < 0 ? r : oci_hooks_run(hooks, OCI_HOOK_CREATE_RUNTIME, &run, err);
}

/* As of now: a short program may have ended by the time that its hooks run */
static enum oci_status current_status(const struct container *container)
{
	cleanup_close int pidfd = container_pidfd(container);

	return pidfd == -ESRCH ? OCI_STOPPED : OCI_RUNNING;
}

int hooks_start(const struct oci_hooks *hooks, struct container *container, struct err *err)
{
	struct oci_hook_run run = {
		.state = container->state,
		.cwd_fd = -1,
		.abort_fd = -1,
		.is_aborted = is_interrupted,
	};
	struct err why = {0};
	int r;

	if (!hooks[OCI_HOOK_POSTSTART].n)
		return 0;
	run.status = current_status(container);
	r = oci_hooks_run(hooks, OCI_HOOK_POSTSTART, &run, err);
	if (r < 0 && container_stop(container, &why) < 0)
		log_debug("After a poststart hook: %s", why.msg);
	return r;
}

void hooks_delete(const struct oci_hooks *hooks, const struct oci_state *state)
{
	const struct oci_hook_run run = {
		.state = state,
		.status = OCI_STOPPED,
		.cwd_fd = -1,
		.abort_fd = -1,
	};

	for (size_t i = 0; i < hooks[OCI_HOOK_POSTSTOP].n; i++) {
		struct err err = {0};

		if (oci_hook_run_one(hooks, OCI_HOOK_POSTSTOP, i, &run, &err) < 0)
			log_warn("%s", err.msg);
	}
}

void hooks_delete_record(const struct oci_hook_record *record, const char *id)
{
	struct oci_state state = {.id = (char *)id};

	if (!record)
		return;
	state.oci_version = record->oci_version;
	state.bundle = record->bundle;
	state.annotations = record->annotations;
	hooks_delete(record->hooks, &state);
}
