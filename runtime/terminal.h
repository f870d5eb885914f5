/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A person's terminal, console sockets, and waiting in the foreground for a monitor or an exec's
 * stand-in.
 */
#ifndef RUNTIME_TERMINAL_H
#define RUNTIME_TERMINAL_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#include "lib/err.h"

/** host_socket_connect() - Connect to a Unix socket by a path of any length; @what: for the error; Return: a descriptor or -errno */
int host_socket_connect(const char *what, const char *path, struct err *err);
/** console_socket_connect() - Connect to a --console-socket; Return: a descriptor or -errno */
int console_socket_connect(const char *path, struct err *err);
/** console_socket_receive() - The pty's master from the other end of our own socket pair; Return: a descriptor or -errno */
int console_socket_receive(int socket_fd, struct err *err);

/* The terminal this command was started from */
struct host_terminal {
	int fd; /* owned, -1 when closed */
	bool is_raw;
	struct termios before;
};

/** host_terminal_open() - Find it: standard error, output, input, /dev/tty, as runc does */
int host_terminal_open(struct host_terminal *terminal, struct err *err);
/** host_terminal_raw() - Every byte is the container's from now on */
int host_terminal_raw(struct host_terminal *terminal, struct err *err);
/** host_terminal_release() - As it was before; harmless when it never was raw */
void host_terminal_release(struct host_terminal *terminal);

struct foreground;

/**
 * foreground_new() - Get ready to stand before a process: from now on signals are caught for it
 * @pid, @pidfd:	A child of this process; @pidfd is borrowed
 * @master:	Its terminal's master, owned from now on, also on failure; -1 without terminal
 * @terminal:	Raw, borrowed; NULL without terminal
 */
struct foreground *foreground_new(pid_t pid, int pidfd, int master, struct host_terminal *terminal,
				  struct err *err);
/** foreground_wait() - Relay terminal and signals until it ends; Return: its exit code, 128+n for a signal, or -errno */
int foreground_wait(struct foreground *foreground, struct err *err);
void foreground_free(struct foreground *foreground);

#endif
