/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relay: bytes from one descriptor to another, with backpressure and half-close, inside an event loop.
 *
 *   source fd ──read──▶ [ at most RELAY_BUFFER bytes ] ──write──▶ sink fd
 *
 * Used on both sides of the boundary: the monitor and an exec's stand-in (stdio ⇄ vsock stream) and the agent (vsock stream
 * ⇄ the process's pipes or terminal). A relay holds at most one buffer: when the sink is full the source is not read, so
 * a stopped reader stops the writer at the far end. The end of the source becomes the end of the sink: shutdown(SHUT_WR)
 * on a socket, close otherwise. A sink that nobody reads any more (EPIPE, ECONNRESET) ends the relay and is passed
 * back: the source is shut down for reading (socket) or closed, so that the writer sees EPIPE as with a plain pipe.
 *
 * Descriptors given by an engine are shared with other processes, so O_NONBLOCK is never set on those: relay_private_fd()
 * makes a private open file description where the kernel allows it, and MSG_DONTWAIT or writes of at most PIPE_BUF after
 * POLLOUT serve the rest.
 *
 * relay_start() sets SIGPIPE to be ignored when it is at its default; whoever executes other programs resets it first.
 */
#ifndef LIB_RELAY_H
#define LIB_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/loop.h"

#define RELAY_BUFFER (64u << 10) /* bytes held between source and sink */

struct relay {
	int from, to; /* owned until the relay is done; -1 when closed */
	struct loop_source in, out;
	uint8_t *buffer;   /* owned, RELAY_BUFFER bytes, allocated on first use */
	size_t start, end; /* bytes waiting: buffer[start..end) */
	bool eof, done;
	uint64_t total_bytes; /* bytes delivered to the sink */
	int error;	      /* -errno when the sink broke before the source's end, else 0 */
	void (*on_done)(
		struct relay
			*relay); /* called once, from the loop; may free the owner; may be NULL */
	/* the relay's own */
	struct loop *loop;
	bool started;
	bool from_is_socket, to_is_socket;
	bool to_blocks; /* no socket, no O_NONBLOCK: poll before each write */
};

/**
 * relay_start() - Begin to copy
 * @from, @to:	Owned by the relay from now on, also on failure. They may be the two ends of the same socket used by a
 *		second relay in the other direction: pass dup()s, each relay closes its own.
 * Return: 0 or -errno (both descriptors closed).
 */
int relay_start(struct relay *relay, struct loop *loop, int from, int to,
		void (*on_done)(struct relay *relay), struct err *err);
/** relay_stop() - Stop at once, without on_done; closes both descriptors; harmless on a zeroed or finished relay */
void relay_stop(struct relay *relay);

/**
 * relay_private_fd() - A descriptor of our own for what @fd refers to: pipes and terminals are reopened non-blocking by
 * /proc/self/fd, all else (and what cannot be reopened) is a dup, so that file offsets stay shared
 * @fd:		Stays open and the caller's: close it where the other end must see the relay's end of file
 * Return: a descriptor or -errno
 */
int relay_private_fd(int fd, bool for_writing);

#endif
