/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson exec`: another process in a running container. Its failures are exit code 255, as
 * runc's.
 */
#include "runtime/exec.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "runtime/commands.h"

#define O(name_, letter_, kind_, member_, help_)                                \
	{                                                                       \
		.name = name_, .letter = letter_, .kind = kind_,                \
		.offset = offsetof(struct exec_options, member_), .help = help_ \
	}

static const struct cli_option options[] = {
	O("console-socket", 0, CLI_STRING, console_socket,
	  "path to an AF_UNIX socket which will receive a file descriptor referencing the master "
	  "end of the console's "
	  "pseudoterminal"),
	O("pidfd-socket", 0, CLI_STRING, pidfd_socket,
	  "path to an AF_UNIX socket which will receive a file descriptor referencing the exec "
	  "process"),
	O("cwd", 0, CLI_STRING, cwd, "current working directory in the container"),
	O("env", 'e', CLI_LIST, env, "set environment variables"),
	O("tty", 't', CLI_BOOL, tty, "allocate a pseudo-TTY"),
	O("user", 'u', CLI_STRING, user, "UID (format: <uid>[:<gid>])"),
	O("additional-gids", 'g', CLI_LIST, additional_gids, "additional gids"),
	O("process", 'p', CLI_STRING, process, "path to the process.json"),
	O("detach", 'd', CLI_BOOL, detach, "detach from the container's process"),
	O("pid-file", 0, CLI_STRING, pid_file, "specify the file to write the process id to"),
	O("process-label", 0, CLI_STRING, process_label,
	  "refused, unless empty: there is no SELinux in the guest"),
	O("apparmor", 0, CLI_STRING, apparmor,
	  "refused, unless 'unconfined': there is no AppArmor in the guest"),
	O("no-new-privs", 0, CLI_SWITCH, no_new_privs,
	  "set the no new privileges value for the process"),
	O("cap", 'c', CLI_LIST, cap, "add a capability to the bounding set for the process"),
	O("preserve-fds", 0, CLI_NUMBER, preserve_fds,
	  "only 0: descriptors cannot be passed into a guest"),
	O("cgroup", 0, CLI_LIST, cgroup,
	  "run the process in an existing cgroup below the container's, in the guest"),
	O("ignore-paused", 0, CLI_BOOL, ignore_paused, "allow exec in a paused container"),
	{0},
};

/* cgroup v2 has one hierarchy: one path, and no controllers to name */
static int check_cgroup(const struct cli_list *paths, struct err *err)
{
	for (size_t i = 0; i < paths->n; i++) {
		const char *colon = strchr(paths->items[i], ':');

		if (colon == paths->items[i])
			return err_set(
				err, EINVAL,
				"invalid --cgroup argument: %.200s (empty <controller> prefix)",
				paths->items[i]);
		if (colon)
			return err_set(err, EINVAL, "unknown controller %.*s in SubCgroupPaths",
				       (int)(colon - paths->items[i]), paths->items[i]);
		if (paths->n > 1)
			return err_set(err, EINVAL,
				       "invalid --cgroup argument: %.200s (missing <controller>: "
				       "prefix)",
				       paths->items[i]);
	}
	return 0;
}

static int check(const struct container *container, const struct exec_options *given,
		 struct err *err)
{
	if (container->status == OCI_STOPPED)
		return err_set(err, EINVAL, "cannot exec in a stopped container");
	if (container->status == OCI_PAUSED && !given->ignore_paused)
		return err_set(err, EBUSY,
			       "cannot exec in a paused container (use --ignore-paused to "
			       "override)");
	if (given->preserve_fds != 0)
		return err_set(err, EINVAL,
			       "--preserve-fds %ld: descriptors cannot be passed into a guest",
			       given->preserve_fds);
	if (given->apparmor && given->apparmor[0] && strcmp(given->apparmor, "unconfined") != 0)
		return err_set(err, ENOTSUP,
			       "--apparmor '%.100s': there is no AppArmor in the guest",
			       given->apparmor);
	if (given->process_label && given->process_label[0])
		return err_set(err, ENOTSUP,
			       "--process-label '%.100s': there is no SELinux in the guest",
			       given->process_label);
	return check_cgroup(&given->cgroup, err);
}

static int check_terminal(const struct oci_process *process, const struct exec_options *given,
			  struct err *err)
{
	bool has_socket = given->console_socket && given->console_socket[0];

	if (given->detach && process->terminal && !has_socket)
		return err_set(err, EINVAL,
			       "cannot allocate tty if caisson will detach without setting console "
			       "socket");
	if ((!given->detach || !process->terminal) && has_socket)
		return err_set(
			err, EINVAL,
			"cannot use console socket if caisson will not detach or allocate tty");
	return 0;
}

static int exec_in(const struct container *container, const struct exec_options *given,
		   const struct cli_args *args, struct err *err)
{
	CLEANUP(oci_process) struct oci_process *process = NULL;
	int r = check(container, given, err);

	if (r < 0)
		return r;
	r = exec_process(container, given, args, &process, err);
	if (r < 0)
		return r;
	r = check_terminal(process, given, err);
	if (r < 0)
		return r;
	return exec_start(container, given, process, err);
}

static int run_exec(const struct globals *globals, const void *opaque, const struct cli_args *args,
		    struct err *err)
{
	struct container container;
	int r = container_load(globals, args->items[0], &container, err);

	if (r < 0)
		return r;
	r = exec_in(&container, opaque, args, err);
	container_release(&container);
	return r;
}

const struct cli_command command_exec = {
	.name = "exec",
	.summary = "execute new process inside the container",
	.usage = "<container-id> <command> [command options]  || -p process.json <container-id>",
	.options = options,
	.options_size = sizeof(struct exec_options),
	.min_args = 1,
	.max_args = SIZE_MAX,
	.stop_at_argument = true,
	.failure_status = 255,
	.failure_prefix = "exec failed",
	.run = run_exec,
};
