/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson exec`: another process in a running container. Its failures are exit code 255, as
 * runc's.
 */
#include "runtime/exec.h"

#include <errno.h>
#include <stdint.h>

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
	O("cwd", 0, CLI_STRING, cwd, "current working directory in the container"),
	O("env", 'e', CLI_LIST, env, "set environment variables"),
	O("tty", 't', CLI_BOOL, tty, "allocate a pseudo-TTY"),
	O("user", 'u', CLI_STRING, user, "UID (format: <uid>[:<gid>])"),
	O("additional-gids", 'g', CLI_LIST, additional_gids, "additional gids"),
	O("process", 'p', CLI_STRING, process, "path to the process.json"),
	O("detach", 'd', CLI_BOOL, detach, "detach from the container's process"),
	O("pid-file", 0, CLI_STRING, pid_file, "specify the file to write the process id to"),
	O("process-label", 0, CLI_STRING, process_label,
	  "accepted, without effect: there is no SELinux in the guest"),
	O("apparmor", 0, CLI_STRING, apparmor,
	  "accepted, without effect: there is no AppArmor in the guest"),
	O("no-new-privs", 0, CLI_BOOL, no_new_privs,
	  "set the no new privileges value for the process"),
	O("cap", 'c', CLI_LIST, cap, "add a capability to the bounding set for the process"),
	O("preserve-fds", 0, CLI_NUMBER, preserve_fds,
	  "only 0: descriptors cannot be passed into a guest"),
	O("cgroup", 0, CLI_LIST, cgroup, "not supported yet"),
	O("ignore-paused", 0, CLI_BOOL, ignore_paused, "allow exec in a paused container"),
	{0},
};

static int check(const struct container *container, const struct exec_options *given,
		 struct err *err)
{
	if (container->status == OCI_STOPPED)
		return err_set(err, EINVAL, "cannot exec in a stopped container");
	if (given->preserve_fds != 0)
		return err_set(err, EINVAL,
			       "--preserve-fds %ld: descriptors cannot be passed into a guest",
			       given->preserve_fds);
	if (given->cgroup.n > 0)
		return err_set(err, EINVAL, "--cgroup: not supported yet");
	return 0;
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
