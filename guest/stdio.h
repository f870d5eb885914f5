/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stdio: the agent's side of one process's standard input, output and error.
 *
 * Without a terminal each channel is a pipe to or from the process and a stream to the host, with a relay between. With one
 * there is a single stream and the terminal's master:
 *
 *   host ⇄ stream 0 ──relay──▶ pipe ─▶ fd 0        host ⇄ stream ──relay──▶ master ⇄ slave (fd 0, 1, 2)
 *          stream 1 ◀─relay─── pipe ◀─ fd 1                     ◀─relay───
 *          stream 2 ◀─relay─── pipe ◀─ fd 2
 *
 * Programs get pipes, not the vsock socket, because that is what they expect: /dev/stdout can be opened again, SIGPIPE
 * comes when the reader is gone. A channel lives until its own end, not the process's: a grandchild may still hold it.
 */
#ifndef GUEST_STDIO_H
#define GUEST_STDIO_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/loop.h"
#include "lib/relay.h"

#include "guest/streams.h"

struct stdio_channel {
	struct stream_waiter waiter;
	struct relay relay; /* terminal: [0] host → master, [1] master → host */
	struct stdio *owner;
	int fd;	   /* the agent's end of the pipe until the relay has it, else -1 */
	bool busy; /* waits for its stream or relays */
};

struct stdio {
	struct loop *loop;	 /* borrowed */
	struct streams *streams; /* borrowed */
	struct stdio_channel channels[3];
	bool terminal;
	int master,
		slave; /* owned, -1 without a terminal; the slave keeps the terminal alive until the process ends */
	int stream;		      /* terminal: the stream, until the terminal has been opened */
	unsigned short rows, columns; /* of a resize that came before the terminal, else 0 */
	void (*on_idle)(struct stdio *stdio); /* no channel is busy any more; may free the owner */
};

/** stdio_init() - An empty one that owns nothing */
void stdio_init(struct stdio *stdio, struct loop *loop, struct streams *streams,
		void (*on_idle)(struct stdio *stdio));

/**
 * stdio_open() - Make what the process will get and begin to wait for the streams
 * @tokens:	stdin, stdout, stderr; 0: /dev/null. With a terminal only [1] is used.
 * @child:	Filled with the process's descriptors (the caller's to close); -1 each with a terminal
 * Return: 0, or -errno with nothing left open.
 */
int stdio_open(struct stdio *stdio, bool terminal, const uint64_t tokens[3], int child[3],
	       struct err *err);

/** stdio_set_terminal() - The child has made the terminal: take both ends and begin to relay */
void stdio_set_terminal(struct stdio *stdio, int master, int slave);

/** stdio_resize() - At once, or when the terminal has been opened; Return: 0, -ENOTTY without a terminal, or -errno */
int stdio_resize(struct stdio *stdio, unsigned int rows, unsigned int columns);

/** stdio_process_ended() - The process is gone: no more input; output still drains */
void stdio_process_ended(struct stdio *stdio);

/**
 * stdio_output() - Bytes that the process has put into channel @i so far: delivered, under way in the relay, or in the pipe
 * What a terminal's driver holds may not be counted.
 */
uint64_t stdio_output(const struct stdio *stdio, int i);

/** stdio_is_idle() - No channel is busy */
bool stdio_is_idle(const struct stdio *stdio);

/** stdio_release() - Close everything at once, without on_idle */
void stdio_release(struct stdio *stdio);

#endif
