/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes, the terminal's master, and relays between them and the host's streams.
 *
 * Hang-up: when the host closes a terminal's stream altogether, the relay towards the host ends, since nobody reads any more;
 * the master is closed then, upon which the kernel sends SIGHUP. If only the host's input ends, output goes on.
 */
#include "guest/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

bool stdio_is_idle(const struct stdio *stdio)
{
	for (int i = 0; i < 3; i++) {
		if (stdio->channels[i].busy)
			return false;
	}
	return true;
}

static void channel_done(struct stdio_channel *channel)
{
	struct stdio *stdio = channel->owner;

	channel->busy = false;
	close_fd(&channel->fd);
	if (stdio_is_idle(stdio) && stdio->on_idle)
		stdio->on_idle(stdio);
}

/* ---- pipes ---- */

static void on_relay_done(struct relay *relay)
{
	channel_done(container_of(relay, struct stdio_channel, relay));
}

static void on_pipe_stream(struct stream_waiter *waiter, int fd)
{
	struct stdio_channel *channel = container_of(waiter, struct stdio_channel, waiter);
	struct stdio *stdio = channel->owner;
	bool input = channel == &stdio->channels[0];
	int end = take_fd(&channel->fd);
	struct err err = {0};

	if (fd < 0) {
		log_warn("A stream did not come in time: the process sees its end");
		(void)close(end);
		channel_done(channel);
		return;
	}
	if (relay_start(&channel->relay, stdio->loop, input ? fd : end, input ? end : fd,
			on_relay_done, &err) < 0) {
		log_warn("Cannot relay a stream: %s", err.msg);
		channel_done(channel);
	}
}

static int open_channel(struct stdio *stdio, int i, uint64_t token, int *child, struct err *err)
{
	struct stdio_channel *channel = &stdio->channels[i];
	int ends[2], mine = i == 0 ? 1 : 0;

	if (!token) {
		*child = open("/dev/null", O_RDWR | O_CLOEXEC);
		return *child < 0 ? err_sys(err, errno, "cannot open /dev/null") : 0;
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	(void)io_set_nonblock(ends[mine], true);
	channel->fd = ends[mine];
	*child = ends[!mine];
	channel->waiter = (struct stream_waiter){.token = token, .on_stream = on_pipe_stream};
	channel->busy = true;
	return 0;
}

/* ---- terminal ---- */

static void hang_up(struct stdio *stdio)
{
	close_fd(&stdio->stream);
	close_fd(&stdio->slave);
	close_fd(&stdio->master);
	for (int i = 0; i < 2; i++) {
		relay_stop(&stdio->channels[i].relay);
		stdio->channels[i].busy = false;
	}
	if (stdio->on_idle)
		stdio->on_idle(stdio);
}

static void on_terminal_input_done(struct relay *relay)
{
	channel_done(container_of(relay, struct stdio_channel, relay));
}

/* Either the last slave has been closed (all output is delivered), or nobody reads at the host: both end the terminal */
static void on_terminal_output_done(struct relay *relay)
{
	hang_up(container_of(relay, struct stdio_channel, relay)->owner);
}

static void start_terminal(struct stdio *stdio)
{
	int in, out, from, to;

	if (stdio->stream < 0 || stdio->master < 0)
		return;
	in = take_fd(&stdio->stream);
	out = fcntl(in, F_DUPFD_CLOEXEC, 3);
	to = fcntl(stdio->master, F_DUPFD_CLOEXEC, 3);
	from = fcntl(stdio->master, F_DUPFD_CLOEXEC, 3);
	(void)io_set_nonblock(stdio->master, true);
	stdio->channels[0].busy = true;
	if (relay_start(&stdio->channels[0].relay, stdio->loop, in, to, on_terminal_input_done,
			NULL) < 0)
		stdio->channels[0].busy = false;
	if (relay_start(&stdio->channels[1].relay, stdio->loop, from, out, on_terminal_output_done,
			NULL) < 0)
		hang_up(stdio);
}

static void on_terminal_stream(struct stream_waiter *waiter, int fd)
{
	struct stdio_channel *channel = container_of(waiter, struct stdio_channel, waiter);
	struct stdio *stdio = channel->owner;

	if (fd < 0) {
		log_warn("A terminal's stream did not come in time: hanging up");
		hang_up(stdio);
		return;
	}
	stdio->stream = fd;
	start_terminal(stdio);
}

void stdio_set_terminal(struct stdio *stdio, int master, int slave)
{
	if (stdio->master >= 0 || !stdio->terminal || !stdio->channels[1].busy) {
		/* A second one, one that was not asked for, or the host has already hung up */
		(void)close(master);
		(void)close(slave);
		return;
	}
	stdio->master = master;
	stdio->slave = slave;
	if (stdio->rows || stdio->columns)
		(void)stdio_resize(stdio, stdio->rows, stdio->columns);
	start_terminal(stdio);
}

int stdio_resize(struct stdio *stdio, unsigned int rows, unsigned int columns)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};

	if (!stdio->terminal)
		return -ENOTTY;
	if (stdio->master < 0) {
		stdio->rows = size.ws_row;
		stdio->columns = size.ws_col;
		return 0;
	}
	return ioctl(stdio->master, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

uint64_t stdio_output(const struct stdio *stdio, int i)
{
	const struct stdio_channel *channel = &stdio->channels[i];
	const struct relay *relay = &channel->relay;
	int source = channel->fd >= 0 ? channel->fd : relay->from, pending = 0;

	if (!channel->busy)
		return relay->total_bytes;
	if (source < 0 || ioctl(source, FIONREAD, &pending) < 0)
		pending = 0;
	return relay->total_bytes + (relay->end - relay->start) + (uint64_t)pending;
}

/* ---- life ---- */

void stdio_init(struct stdio *stdio, struct loop *loop, struct streams *streams,
		void (*on_idle)(struct stdio *stdio))
{
	*stdio = (struct stdio){.loop = loop,
				.streams = streams,
				.on_idle = on_idle,
				.master = -1,
				.slave = -1,
				.stream = -1};
	for (int i = 0; i < 3; i++) {
		stdio->channels[i].owner = stdio;
		stdio->channels[i].fd = -1;
	}
}

int stdio_open(struct stdio *stdio, bool terminal, const uint64_t tokens[3], int child[3],
	       struct err *err)
{
	child[0] = child[1] = child[2] = -1;
	stdio->terminal = terminal;
	if (terminal) {
		struct stdio_channel *channel = &stdio->channels[1];

		if (!tokens[1])
			return err_set(err, EINVAL,
				       "a process with a terminal needs a stream for it");
		channel->waiter = (struct stream_waiter){.token = tokens[1],
							 .on_stream = on_terminal_stream};
		channel->busy = true;
		streams_claim(stdio->streams, &channel->waiter);
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		int r = open_channel(stdio, i, tokens[i], &child[i], err);

		if (r < 0) {
			for (int j = 0; j < i; j++)
				close_fd(&child[j]);
			stdio_release(stdio);
			return r;
		}
	}
	for (int i = 0; i < 3; i++) {
		if (stdio->channels[i].busy)
			streams_claim(stdio->streams, &stdio->channels[i].waiter);
	}
	return 0;
}

void stdio_process_ended(struct stdio *stdio)
{
	/* Others may still have the terminal open; when they have not, the master now reads the end */
	close_fd(&stdio->slave);
}

void stdio_release(struct stdio *stdio)
{
	close_fd(&stdio->stream);
	close_fd(&stdio->slave);
	close_fd(&stdio->master);
	for (int i = 0; i < 3; i++) {
		struct stdio_channel *channel = &stdio->channels[i];

		streams_forget(stdio->streams, &channel->waiter);
		relay_stop(&channel->relay);
		close_fd(&channel->fd);
		channel->busy = false;
	}
}
