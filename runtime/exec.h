/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `exec`: the process to execute, and how it is started. */
#ifndef RUNTIME_EXEC_H
#define RUNTIME_EXEC_H

#include "runtime/cli.h"
#include "runtime/container.h"

struct exec_options {
	const char *console_socket, *cwd, *user, *process, *pid_file, *process_label, *apparmor,
		*pidfd_socket;
	struct cli_list env, additional_gids, cap, cgroup;
	bool tty, detach, ignore_paused;
	int no_new_privs; /* 1, -1: as given */
	long preserve_fds;
};

/**
 * exec_process() - The process that the command line describes: config.json's with changes, or a
 * document of its own
 * @args:	Container id, then the command
 * @out:	Set on success; free with oci_process_free()
 */
int exec_process(const struct container *container, const struct exec_options *options,
		 const struct cli_args *args, struct oci_process **out, struct err *err);

/**
 * exec_start() - Run it, stand for it
 * Return: its exit status, 0 at once with --detach, or -errno
 */
int exec_start(const struct container *container, const struct exec_options *options,
	       struct oci_process *process, struct err *err);

#endif
