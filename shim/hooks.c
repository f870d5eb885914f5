/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks while a container is being made (oci/hooks.h), seen from the monitor. Its namespaces and its cgroup are there, no guest is.
 *
 *   prestart, createRuntime   belong into the runtime's namespaces, so the command runs them (spawn.c); here that is waited for,
 *                             as long as it takes, with an eye on the command and on signals.
 *   createContainer           run here: in the container's network namespace, the monitor's pid namespace (where it is 1), and its
 *                             mount namespace, in which the host's files are still seen and the container's are attached at the path
 *                             of its rootfs. What they change in the rootfs the guest finds.
 *
 * They come before the guest, though the specification would have its mounts made by then: those are the guest's own, no program of
 * the host could see them, and the agent looks the container's program up when it makes them.
 */
#include "shim/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "oci/hooks.h"

static int given_up(struct err *err)
{
	return err_set(err, ECANCELED, "the container was given up while it was being made");
}

int hooks_wait_runtime(struct shim *s, struct err *err)
{
	const struct monitor_report report = {.kind = MONITOR_REPORT_NAMESPACES};
	const struct oci_hooks *hooks = s->args->config->hooks;
	int r;

	if (!hooks[OCI_HOOK_PRESTART].n && !hooks[OCI_HOOK_CREATE_RUNTIME].n)
		return 0;
	loop_mod(&s->report_source, EPOLLIN);
	r = io_send_fds(s->report_fd, &report, sizeof(report), NULL, 0);
	if (r < 0)
		return given_up(err);
	while (!s->hooks_done) {
		if (s->abandoned)
			return given_up(err);
		r = loop_step(s->loop, -1);
		if (r < 0 && r != -EINTR)
			return err_sys(err, -r, "waiting for hooks");
	}
	loop_mod(&s->report_source, 0);
	return 0;
}

bool hooks_on_answer(struct shim *s, uint32_t events)
{
	char byte;

	if (!(events & EPOLLIN) || recv(s->report_fd, &byte, 1, MSG_DONTWAIT) != 1)
		return false;
	s->hooks_done = true;
	return true;
}

static bool is_abandoned(void *arg)
{
	struct shim *s = arg;

	(void)loop_step(s->loop, 0);
	return s->abandoned;
}

int hooks_create_container(struct shim *s, struct err *err)
{
	const struct oci_hooks *hooks = s->args->config->hooks;
	const struct oci_state state = {
		.oci_version = s->args->config->oci_version,
		.id = (char *)s->args->id,
		.pid = getpid(),
		.bundle = (char *)s->args->bundle,
		.annotations = s->args->config->annotations,
	};
	cleanup_close int rootfs = -1;
	struct oci_hook_run run = {
		.state = &state,
		.status = OCI_CREATING,
		.abort_fd = loop_fd(s->loop),
		.is_aborted = is_abandoned,
		.arg = s,
	};
	mode_t mask;
	int r;

	if (!hooks[OCI_HOOK_CREATE_CONTAINER].n)
		return 0;
	r = isolate_show(s, err);
	if (r < 0)
		return r;
	rootfs = open(s->args->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rootfs < 0)
		return err_sys(err, errno, "the rootfs for createContainer hooks");
	run.cwd_fd = rootfs;
	mask = umask(022);
	r = oci_hooks_run(hooks, OCI_HOOK_CREATE_CONTAINER, &run, err);
	(void)umask(mask);
	return r;
}
