/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's stdio: descriptors of the host on one side, vsock streams on the other, a relay (lib/relay.h) per
 * direction.
 *
 *   without a terminal   fd 0 ──▶ stream 0        stream 1 ──▶ fd 1        stream 2 ──▶ fd 2
 *   with one             slave ──▶ stream 0 ──▶ slave;  the pty's master goes to the console socket
 *
 * The engine waits for the end of its pipes, so nothing but the relays may keep them open: the monitor's own 0–2 become
 * /dev/null, and each relay has a private descriptor that it closes at its end.
 *
 * The terminal in the guest is the one that echoes and turns Ctrl-C into a signal; this pty only carries bytes and is raw. It is
 * the controlling terminal of the monitor's session, for the sake of SIGWINCH. When the last holder of the master
 * closes it, the slave hangs up, the whole stream is closed and the container gets its SIGHUP.
 */
#include "shim/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/machine.h"

/* ---- the terminal; also for an exec's stand-in ---- */

static int raw_mode(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return -errno;
	cfmakeraw(&t);
	return tcsetattr(fd, TCSANOW, &t) < 0 ? -errno : 0;
}

int console_open(unsigned int rows, unsigned int columns, int *out_master, int *out_slave,
		 struct err *err)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
	cleanup_close int master = -1, slave = -1;
	int r;

	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || unlockpt(master) < 0)
		return err_sys(err, errno, "opening a pseudo-terminal");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(err, errno, "opening a pseudo-terminal");
	r = raw_mode(slave);
	if (r < 0)
		return err_sys(err, -r, "setting up a pseudo-terminal");
	if (rows && columns && ioctl(slave, TIOCSWINSZ, &size) < 0)
		return err_sys(err, errno, "setting up a pseudo-terminal");
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "taking a pseudo-terminal as the controlling one");
	*out_master = take_fd(&master);
	*out_slave = take_fd(&slave);
	return 0;
}

int console_send(int socket_fd, int master, struct err *err)
{
	static const char name[] =
		"/dev/ptmx"; /* what runc sends; receivers want 1 to 4095 bytes */
	int r = io_send_fds(socket_fd, name, sizeof(name) - 1, &master, 1);

	return r < 0 ? err_sys(err, -r, "handing over the terminal") : 0;
}

/* ---- opening ---- */

static int replace_standard(struct err *err)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return err_sys(err, errno, "/dev/null");
	for (int fd = 0; fd < 3; fd++) {
		if (null != fd && dup2(null, fd) < 0)
			return err_sys(err, errno, "/dev/null");
	}
	if (null > 2)
		close_fd(&null);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	if (log_fd() > 2)
		(void)dup2(log_fd(), STDERR_FILENO); /* or nobody would see a report */
#endif
	return 0;
}

static int open_terminal(struct shim *s, struct err *err)
{
	const struct oci_process *process = &s->args->config->process;

	if (s->console_socket_fd < 0)
		return err_set(err, EINVAL,
			       "a terminal is asked for, but there is no console socket");
	s->stdio.terminal = true;
	return console_open(process->console_size.height, process->console_size.width,
			    &s->stdio.master, &s->stdio.fds[0], err);
}

static int open_pipes(struct shim *s, struct err *err)
{
	const int *given = s->args->stdio;

	for (int i = 0; i < 3; i++) {
		s->stdio.fds[i] = relay_private_fd(given[i], i > 0);
		if (s->stdio.fds[i] < 0)
			return err_sys(err, -s->stdio.fds[i], "the container's standard %s",
				       i == 0	? "input"
				       : i == 1 ? "output"
						: "error");
	}
	return 0;
}

int stdio_open(struct shim *s, struct err *err)
{
	int given[3], r;

	r = s->args->config->process.terminal ? open_terminal(s, err) : open_pipes(s, err);
	if (r < 0)
		return r;
	memcpy(given, s->args->stdio, sizeof(given));
	for (int i = 0; i < 3; i++) {
		bool again = (i > 0 && given[i] == given[0]) || (i > 1 && given[i] == given[1]);

		if (given[i] > STDERR_FILENO && !again)
			(void)close(given[i]);
	}
	return replace_standard(err);
}

/* ---- streams ---- */

int stream_open(struct shim *s, uint64_t *token, struct err *err)
{
	struct machine_stream_hello hello = {.magic = MACHINE_STREAM_MAGIC,
					     .token = ++s->next_token};
	cleanup_close int fd = guest_connect(s, MACHINE_VSOCK_PORT_STREAM, err);
	int r;

	if (fd < 0)
		return fd;
	/* A new socket pair has room for it */
	r = io_write_full(fd, &hello, sizeof(hello));
	if (r < 0)
		return err_sys(err, -r, "a stream to the guest");
	*token = hello.token;
	return take_fd(&fd);
}

static bool is_null_device(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

int stdio_connect(struct shim *s, struct err *err)
{
	if (s->stdio.terminal) {
		s->stdio.streams[0] = stream_open(s, &s->stdio.tokens[STREAM_TERMINAL], err);
		return s->stdio.streams[0] < 0 ? s->stdio.streams[0] : 0;
	}
	for (int i = 0; i < 3; i++) {
		if (is_null_device(s->stdio.fds[i])) {
			close_fd(&s->stdio.fds[i]); /* token 0: the guest's own /dev/null */
			continue;
		}
		s->stdio.streams[i] = stream_open(s, &s->stdio.tokens[i], err);
		if (s->stdio.streams[i] < 0)
			return s->stdio.streams[i];
	}
	return 0;
}

/* ---- relays ---- */

static void on_output_done(struct relay *relay)
{
	struct shim_relay *r = container_of(relay, struct shim_relay, relay);

	r->active = false;
	end_check(r->shim);
}

static bool has_hung_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

static void on_input_done(struct relay *relay)
{
	struct shim_relay *r = container_of(relay, struct shim_relay, relay);
	struct shim_relay *out = &r->shim->stdio.relays[1];

	r->active = false;
	/* Nobody holds the master any more: close the other direction too, the guest's terminal hangs up */
	if (r->shim->stdio.terminal && out->active && has_hung_up(out->relay.to)) {
		relay_stop(&out->relay);
		on_output_done(&out->relay);
	}
}

static int relay_one(struct shim *s, int index, int from, int to, struct err *err)
{
	struct shim_relay *r = &s->stdio.relays[index];
	int result;

	r->shim = s;
	result = relay_start(&r->relay, s->loop, from, to, index ? on_output_done : on_input_done,
			     err);
	r->active = result == 0;
	return result;
}

static int start_terminal(struct shim *s, struct err *err)
{
	int from, to, r;

	r = console_send(s->console_socket_fd, s->stdio.master, err);
	if (r < 0)
		return r;
	close_fd(&s->console_socket_fd);
	r = io_set_nonblock(s->stdio.fds[0], true);
	if (r < 0)
		return err_sys(err, -r, "the terminal");
	from = fcntl(s->stdio.fds[0], F_DUPFD_CLOEXEC, 3);
	to = fcntl(s->stdio.streams[0], F_DUPFD_CLOEXEC, 3);
	if (from < 0 || to < 0) {
		close_fd(&from);
		close_fd(&to);
		return err_sys(err, EMFILE, "the terminal");
	}
	r = relay_one(s, 1, take_fd(&s->stdio.streams[0]), take_fd(&s->stdio.fds[0]), err);
	if (r < 0) {
		close_fd(&from);
		close_fd(&to);
		return r;
	}
	/* From here on the master is the receiver's alone: its end is seen by the relays */
	close_fd(&s->stdio.master);
	return relay_one(s, 0, from, to, err);
}

int stdio_start(struct shim *s, struct err *err)
{
	if (s->stdio.terminal)
		return start_terminal(s, err);
	for (int i = 2; i >= 0; i--) {
		int fd = take_fd(&s->stdio.fds[i]), stream = take_fd(&s->stdio.streams[i]), r;

		if (fd < 0)
			continue;
		r = i ? relay_one(s, i, stream, fd, err) : relay_one(s, i, fd, stream, err);
		if (r < 0)
			return r;
	}
	return 0;
}

void stdio_on_winch(struct shim *s)
{
	const struct shim_relay *out = &s->stdio.relays[1];
	struct winsize size;

	if (out->active && ioctl(out->relay.to, TIOCGWINSZ, &size) == 0)
		(void)agent_resize(s, "", size.ws_row, size.ws_col);
}

/* ---- the end ---- */

bool stdio_is_drained(const struct shim *s)
{
	return !s->stdio.relays[1].active && !s->stdio.relays[2].active;
}

bool stdio_is_stalled(const struct shim *s)
{
	for (int i = 1; i < 3; i++) {
		const struct shim_relay *r = &s->stdio.relays[i];

		if (r->active && r->relay.start != r->relay.end)
			return true;
	}
	return false;
}

uint64_t stdio_progress(const struct shim *s)
{
	return s->stdio.relays[1].relay.total_bytes + s->stdio.relays[2].relay.total_bytes;
}

void stdio_release(struct shim *s)
{
	loop_timer_release(&s->stdio.drain_timer);
	for (int i = 0; i < 3; i++) {
		if (s->stdio.relays[i].active)
			relay_stop(&s->stdio.relays[i].relay);
		s->stdio.relays[i].active = false;
		close_fd(&s->stdio.fds[i]);
		close_fd(&s->stdio.streams[i]);
	}
	close_fd(&s->stdio.master);
}
