/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: see lib/relay.h for what it promises.
 *
 * What is watched follows from the buffer alone (update()):
 *
 *   source: EPOLLIN while there is room and no end was seen; out of the loop after the end
 *   sink:   EPOLLOUT while bytes wait; else only for its breaking (below)
 *
 * Ends. A source has ended when read() returns 0 or any error: ECONNRESET of a socket, EIO of a terminal's master whose
 * other side was closed. A hang-up that epoll reports is not the end: bytes may still lie in the pipe, so it is read until
 * it says so. While the buffer is full nothing is read, and a hang-up would be reported again and again: the source then
 * leaves the loop until there is room.
 *
 * A sink may break while nothing is to be written, and then its writer must learn it (a plain pipe gives SIGPIPE at the next
 * write, and a writer that closes the pipe on POLLERR notices at once). A pipe or terminal reports EPOLLERR or EPOLLHUP. A
 * socket reports EPOLLRDHUP also when its peer has only finished sending, which is no fault of this direction; a
 * send of zero bytes tells the two apart (EPIPE or not: unix, vsock and TCP check before they look at the length). This is
 * watched edge-triggered, since EPOLLRDHUP stays set.
 *
 * A sink that is no socket and not O_NONBLOCK is shared with other processes: it is polled before each write, which is at
 * most PIPE_BUF bytes, for which a writable pipe has room.
 *
 * Trust: the bytes are not looked at. Memory is one buffer; there is no way for either side to make it more.
 */
#include "lib/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define WATCH_SOCKET_BREAK (EPOLLRDHUP | (uint32_t)EPOLLET)

static size_t waiting(const struct relay *relay)
{
	return relay->end - relay->start;
}

static bool has_room(const struct relay *relay)
{
	return relay->end < RELAY_BUFFER;
}

static void release(struct relay *relay)
{
	loop_del(&relay->in);
	loop_del(&relay->out);
	close_fd(&relay->from);
	close_fd(&relay->to);
	free(relay->buffer);
	relay->buffer = NULL;
	relay->start = 0;
	relay->end = 0;
	relay->done = true;
}

/* Passes the end on to the side that has not ended. The relay may be gone when this returns */
static void finish(struct relay *relay)
{
	if (relay->eof && relay->to_is_socket)
		(void)shutdown(relay->to, SHUT_WR);
	if (!relay->eof && relay->from_is_socket)
		(void)shutdown(relay->from, SHUT_RD);
	release(relay);
	if (relay->on_done)
		relay->on_done(relay);
}

static bool would_block(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* One read; Return: bytes, 0 at the end (errors are ends), -EAGAIN */
static ssize_t read_some(struct relay *relay)
{
	uint8_t *room = relay->buffer + relay->end;
	size_t len = RELAY_BUFFER - relay->end;
	ssize_t n;

	n = relay->from_is_socket ? recv(relay->from, room, len, MSG_DONTWAIT)
				  : read(relay->from, room, len);
	if (n < 0)
		return would_block(errno) ? -EAGAIN : 0;
	return n;
}

/* One write; Return: bytes (> 0), -EAGAIN, or another -errno when nobody reads any more */
static ssize_t write_some(struct relay *relay)
{
	const uint8_t *data = relay->buffer + relay->start;
	size_t len = waiting(relay);
	ssize_t n;

	if (relay->to_blocks) {
		struct pollfd p = {.fd = relay->to, .events = POLLOUT};

		if (poll(&p, 1, 0) <= 0)
			return -EAGAIN;
		if (len > PIPE_BUF)
			len = PIPE_BUF;
	}
	if (relay->to_is_socket)
		n = send(relay->to, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		n = write(relay->to, data, len);
	if (n < 0)
		return would_block(errno) ? -EAGAIN : -errno;
	return n > 0 ? n : -EIO;
}

/* Writes what the sink takes; Return: 0, or -errno when it is broken */
static int drain(struct relay *relay)
{
	while (waiting(relay) > 0) {
		ssize_t n = write_some(relay);

		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return (int)n;
		relay->start += (size_t)n;
		relay->total_bytes += (uint64_t)n;
	}
	relay->start = 0;
	relay->end = 0;
	return 0;
}

/* Watches for what the buffer's state asks for; Return: 0 or -errno */
static int update(struct relay *relay)
{
	uint32_t idle = relay->to_is_socket ? WATCH_SOCKET_BREAK : 0;

	loop_mod(&relay->out, waiting(relay) > 0 ? EPOLLOUT : idle);
	if (relay->eof) {
		loop_del(&relay->in);
		return 0;
	}
	if (!relay->in.loop && has_room(relay))
		return loop_add(relay->loop, &relay->in, EPOLLIN, NULL);
	loop_mod(&relay->in, has_room(relay) ? EPOLLIN : 0);
	return 0;
}

/* The sink broke: what matters is to tell the source. The relay may be gone when this returns */
static void fail(struct relay *relay, int error)
{
	relay->error = error;
	relay->eof = false;
	finish(relay);
}

/* After every event; the relay may be gone when this returns */
static void settle(struct relay *relay)
{
	int r = drain(relay);

	if (r < 0) {
		fail(relay, r);
		return;
	}
	if (relay->eof && waiting(relay) == 0) {
		finish(relay);
		return;
	}
	r = update(relay);
	if (r < 0)
		fail(relay, r);
}

static void on_source(struct loop_source *source, uint32_t events)
{
	struct relay *relay = container_of(source, struct relay, in);
	ssize_t n;

	(void)events;
	if (!has_room(relay)) { /* a hang-up, seen before there is room for the last bytes */
		loop_del(&relay->in);
		return;
	}
	if (!relay->buffer) {
		relay->buffer = malloc(RELAY_BUFFER);
		if (!relay->buffer) {
			fail(relay, -ENOMEM);
			return;
		}
	}
	n = read_some(relay);
	if (n == -EAGAIN)
		return;
	if (n == 0)
		relay->eof = true;
	else
		relay->end += (size_t)n;
	settle(relay);
}

/* Has the sink's reader gone? Only asked when epoll reported a change */
static bool sink_is_broken(const struct relay *relay, uint32_t events)
{
	if (!relay->to_is_socket)
		return (events & (EPOLLERR | EPOLLHUP)) != 0;
	return send(relay->to, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && !would_block(errno);
}

static void on_sink(struct loop_source *source, uint32_t events)
{
	struct relay *relay = container_of(source, struct relay, out);
	uint64_t before = relay->total_bytes;
	int r;

	r = drain(relay);
	if (r == 0 && relay->total_bytes == before &&
	    (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) && sink_is_broken(relay, events))
		r = -EPIPE;
	if (r < 0) {
		fail(relay, r);
		return;
	}
	settle(relay);
}

/* A write to a broken pipe must be an error, not a signal; a handler that somebody installed is left alone */
static void ignore_sigpipe(void)
{
	struct sigaction old;

	if (sigaction(SIGPIPE, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) &&
	    old.sa_handler == SIG_DFL)
		(void)signal(SIGPIPE, SIG_IGN);
}

static bool is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

int relay_start(struct relay *relay, struct loop *loop, int from, int to,
		void (*on_done)(struct relay *relay), struct err *err)
{
	int flags = fcntl(to, F_GETFL), r;

	*relay = (struct relay){
		.from = from, .to = to, .on_done = on_done, .loop = loop, .started = true};
	relay->in = (struct loop_source){.fd = from, .on_event = on_source};
	relay->out = (struct loop_source){.fd = to, .on_event = on_sink};
	relay->from_is_socket = is_socket(from);
	relay->to_is_socket = is_socket(to);
	relay->to_blocks = !relay->to_is_socket && flags >= 0 && !(flags & O_NONBLOCK);
	ignore_sigpipe();
	r = loop_add(loop, &relay->out, relay->to_is_socket ? WATCH_SOCKET_BREAK : 0, err);
	if (r == 0)
		r = loop_add(loop, &relay->in, EPOLLIN, err);
	if (r < 0) {
		release(relay);
		err_prefix(err, "cannot copy a stream");
		return r;
	}
	return 0;
}

void relay_stop(struct relay *relay)
{
	if (relay->started && !relay->done)
		release(relay);
}

/* A master's reopening would make a new terminal */
static bool is_terminal_master(int fd)
{
	unsigned int number;

	return ioctl(fd, TIOCGPTN, &number) == 0;
}

int relay_private_fd(int fd, bool for_writing)
{
	int flags = fcntl(fd, F_GETFL), copy;
	char path[40];
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISFIFO(st.st_mode) ||
	    (S_ISCHR(st.st_mode) && isatty(fd) && !is_terminal_master(fd))) {
		/* One that was opened for both stays so: a fifo's reader may come and go as its owner planned */
		int access = (flags & O_ACCMODE) == O_RDWR ? O_RDWR
			     : for_writing		   ? O_WRONLY
							   : O_RDONLY;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		copy = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (copy >= 0)
			return copy;
	}
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return copy < 0 ? -errno : copy;
}
