/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams over a stream: each is its length in two bytes, the higher first, and that many bytes (as in DNS over TCP).
 *
 * A frame that does not fit into what is still to be written is refused, for a datagram may be lost. At most
 * FRAMES_BUFFER bytes are held in each direction.
 */
#ifndef LIB_FRAMES_H
#define LIB_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/loop.h"

#define FRAMES_HEADER 2
#define FRAMES_MAX 65535u /* bytes of one datagram */
#define FRAMES_BUFFER (2 * (FRAMES_HEADER + FRAMES_MAX))

/* Zero-initialise */
struct frames {
	struct loop_source source; /* .fd owned: a stream socket */
	uint8_t *in, *out;	   /* owned, FRAMES_BUFFER bytes, allocated by frames_start() */
	size_t in_len, out_start, out_end;
	/* A frame came, @data is borrowed. Return: false when @frames has been stopped meanwhile, and may be gone */
	bool (*on_frame)(struct frames *frames, const uint8_t *data, size_t len);
	void (*on_room)(
		struct frames *frames); /* all has been written; does not stop it; may be NULL */
	void (*on_end)(
		struct frames *frames); /* the stream has ended or broken; may free the owner */
};

/** frames_start() - Begin with @frames->on_* set; @fd is owned from now on, also on failure. Return: 0 or -errno */
int frames_start(struct frames *frames, struct loop *loop, int fd, struct err *err);
/** frames_send() - Send a datagram; Return: 0, -EAGAIN when there is no room, -EMSGSIZE, -ENOMEM. The end is told by on_end */
int frames_send(struct frames *frames, const void *data, size_t len);
/** frames_is_idle() - Nothing waits to be written */
bool frames_is_idle(const struct frames *frames);
/** frames_stop() - Close, without on_end; harmless on a zeroed or stopped one */
void frames_stop(struct frames *frames);

/**
 * frames_each() - Take whole frames from @data
 * @on_frame:	As in struct frames
 * Return: the bytes taken, what is left is the beginning of a frame; or -ECANCELED when @on_frame said false
 */
ssize_t frames_each(struct frames *frames, const uint8_t *data, size_t len,
		    bool (*on_frame)(struct frames *frames, const uint8_t *data, size_t len));

#endif
