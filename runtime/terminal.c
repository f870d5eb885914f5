/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals of the command line: see runtime/terminal.h.
 *
 * The guest's own line discipline does echo and line editing, so the person's terminal is raw
 * altogether, as is the pty between:
 *
 *   person's terminal (raw) ⇄ this process ⇄ pty master | slave (raw) ⇄ monitor or stand-in ⇄ guest's terminal
 */
#include "runtime/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define RECEIVE_TIMEOUT_MS 30000 /* it was sent before the container was reported as created */
#define NAME_BYTES 4096		 /* of the pty's name beside the descriptor */

/* By the folder's descriptor, since the path may be longer than sun_path */
int host_socket_connect(const char *what, const char *path, struct err *err)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), dir_fd = -1;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *slash = strrchr(path, '/');
	cleanup_free char *dir = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
	int n;

	if (fd < 0 || !dir)
		return err_sys(err, errno, "%s", what);
	dir_fd = open(dir[0] ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return err_sys(err, errno, "%s '%s'", what, path);
	n = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd,
		     slash ? slash + 1 : path);
	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return err_sys(err, ENAMETOOLONG, "%s '%s'", what, path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, errno, "%s '%s'", what, path);
	return take_fd(&fd);
}

int console_socket_connect(const char *path, struct err *err)
{
	return host_socket_connect("console socket", path, err);
}

int console_socket_receive(int socket_fd, struct err *err)
{
	struct pollfd p = {.fd = socket_fd, .events = POLLIN};
	cleanup_close int fd = -1;
	char name[NAME_BYTES];
	size_t nfds = 0;
	ssize_t n;
	int r;

	do {
		r = poll(&p, 1, RECEIVE_TIMEOUT_MS);
	} while (r < 0 && errno == EINTR);
	if (r <= 0)
		return err_set(err, ETIMEDOUT, "the container's terminal did not arrive");
	n = io_recv_fds(socket_fd, name, sizeof(name), &fd, 1, &nfds);
	if (n < 0)
		return err_sys(err, (int)-n, "receiving the container's terminal");
	if (n == 0 || nfds != 1)
		return err_set(err, EPROTO, "the container's terminal did not arrive");
	return take_fd(&fd);
}

int host_terminal_open(struct host_terminal *terminal, struct err *err)
{
	static const int candidates[] = {STDERR_FILENO, STDOUT_FILENO, STDIN_FILENO};

	*terminal = (struct host_terminal){.fd = -1};
	for (size_t i = 0; i < ARRAY_SIZE(candidates) && terminal->fd < 0; i++) {
		if (isatty(candidates[i]))
			terminal->fd = fcntl(candidates[i], F_DUPFD_CLOEXEC, 3);
	}
	if (terminal->fd < 0)
		terminal->fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (terminal->fd >= 0 && tcgetattr(terminal->fd, &terminal->before) == 0)
		return 0;
	close_fd(&terminal->fd);
	return err_set(err, ENOTTY,
		       "the container wants a terminal, but this command was not started from one");
}

int host_terminal_raw(struct host_terminal *terminal, struct err *err)
{
	struct termios raw = terminal->before;

	cfmakeraw(&raw);
	if (tcsetattr(terminal->fd, TCSANOW, &raw) < 0)
		return err_sys(err, errno, "making the terminal raw");
	terminal->is_raw = true;
	return 0;
}

void host_terminal_release(struct host_terminal *terminal)
{
	if (terminal->is_raw)
		(void)tcsetattr(terminal->fd, TCSADRAIN, &terminal->before);
	terminal->is_raw = false;
	close_fd(&terminal->fd);
}
