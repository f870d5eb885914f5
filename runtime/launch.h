/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a container: what `create` and `run` have in common.
 */
#ifndef RUNTIME_LAUNCH_H
#define RUNTIME_LAUNCH_H

#include <stdbool.h>

#include "lib/seccomp.h"
#include "oci/limits.h"
#include "runtime/cli.h"
#include "runtime/container.h"
#include "runtime/settings.h"
#include "runtime/terminal.h"
#include "shim/control.h"

struct launch_options {
	const char *bundle, *console_socket, *pid_file, *pidfd_socket;
	bool detach, keep, no_subreaper, no_pivot, no_new_keyring; /* create: detach is set */
	long preserve_fds;
};

/* The options that create and run share, for their tables */
#define LAUNCH_OPTIONS                                                                             \
	{"bundle", 'b', CLI_STRING, offsetof(struct launch_options, bundle),                       \
	 "path to the root of the bundle directory, defaults to the current directory"},           \
		{"console-socket", 0, CLI_STRING, offsetof(struct launch_options, console_socket), \
		 "path to an AF_UNIX socket which will receive a file descriptor referencing the " \
		 "master end of the "                                                              \
		 "console's pseudoterminal"},                                                      \
		{"pidfd-socket", 0, CLI_STRING, offsetof(struct launch_options, pidfd_socket),     \
		 "path to an AF_UNIX socket which will receive a file descriptor referencing the " \
		 "init process"},                                                                  \
		{"pid-file", 0, CLI_STRING, offsetof(struct launch_options, pid_file),             \
		 "specify the file to write the process id to"},                                   \
		{"no-pivot", 0, CLI_BOOL, offsetof(struct launch_options, no_pivot),               \
		 "accepted, without effect: the root is the guest's"},                             \
		{"no-new-keyring", 0, CLI_BOOL, offsetof(struct launch_options, no_new_keyring),   \
		 "accepted, without effect: keyrings are the guest's"},                            \
	{                                                                                          \
		"preserve-fds", 0, CLI_NUMBER, offsetof(struct launch_options, preserve_fds),      \
			"only 0: descriptors cannot be passed into a guest"                        \
	}

struct launch {
	const struct globals *globals;
	const struct launch_options *options;
	const char *id;
	char *bundle, *rootfs; /* owned, absolute */
	char *config_text;     /* owned */
	size_t config_len;
	struct oci_config *config;	  /* owned */
	struct settings settings;	  /* the operator's, with this container's annotations */
	struct sysfilter_program seccomp; /* owned; empty without */
	struct container container;
	int bundle_fd, exe_fd, kvm_fd, kernel_fd, initramfs_fd; /* owned */
	int console_fd;						/* owned: given to the monitor */
	int terminal_fd; /* owned: the other end of it, when this process is the terminal's user */
	struct host_terminal terminal; /* then the person's */
	struct limits_machine machine; /* the guest's size */
	int pidfd_socket;	       /* owned: gets the monitor's; -1: nobody asks */
	struct monitor monitor;	       /* pid 0 before it runs */
	bool attempted; /* a monitor was started, so that hooks may have run: poststop hooks are due */
};

/**
 * launch_create() - Make a container; afterwards its status is "created"
 * @out:	Filled on success; release with launch_release(). On failure everything is undone.
 *
 * Signals are caught from here on.
 * Return: 0; -EINTR if a signal asked to stop (interrupt_signal()); -errno
 */
int launch_create(const struct globals *globals, const struct launch_options *options,
		  const char *id, struct launch *out, struct err *err);
/** launch_remove() - Remove a container that has ended, then run its poststop hooks; Return: as container_remove() */
int launch_remove(struct launch *launch, struct err *err);
/** launch_undo() - End it again and remove everything, for `run` */
void launch_undo(struct launch *launch);
void launch_release(struct launch *launch);

/** guest_file_open() - Open "vmlinux" or "initramfs": beside the program, else as installed */
int guest_file_open(const char *what, const char *given, const char *name, struct err *err);

#endif
