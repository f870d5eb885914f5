/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams over a stream: see lib/frames.h. The bytes are foreign: a length is at most what two bytes can say. */
#include "lib/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lib/cleanup.h"

bool frames_is_idle(const struct frames *frames)
{
	return frames->out_start == frames->out_end;
}

void frames_stop(struct frames *frames)
{
	if (!frames->in)
		return;
	loop_del(&frames->source);
	close_fd(&frames->source.fd);
	free(frames->in);
	frames->in = NULL;
	frames->out = NULL;
}

ssize_t frames_each(struct frames *frames, const uint8_t *data, size_t len,
		    bool (*on_frame)(struct frames *frames, const uint8_t *data, size_t len))
{
	size_t done = 0;

	while (len - done >= FRAMES_HEADER) {
		size_t n = (size_t)data[done] << 8 | data[done + 1];

		if (len - done - FRAMES_HEADER < n)
			break;
		if (!on_frame(frames, data + done + FRAMES_HEADER, n))
			return -ECANCELED;
		done += FRAMES_HEADER + n;
	}
	return (ssize_t)done;
}

/* Return: false when the stream has broken */
static bool write_out(struct frames *frames)
{
	while (!frames_is_idle(frames)) {
		ssize_t n = send(frames->source.fd, frames->out + frames->out_start,
				 frames->out_end - frames->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0)
			return false;
		frames->out_start += (size_t)n;
	}
	if (frames_is_idle(frames))
		frames->out_start = frames->out_end = 0;
	loop_mod(&frames->source, EPOLLIN | (frames_is_idle(frames) ? 0 : EPOLLOUT));
	return true;
}

int frames_send(struct frames *frames, const void *data, size_t len)
{
	uint8_t *to;

	if (len > FRAMES_MAX)
		return -EMSGSIZE;
	if (FRAMES_BUFFER - frames->out_end < FRAMES_HEADER + len && frames->out_start) {
		frames->out_end -= frames->out_start;
		memmove(frames->out, frames->out + frames->out_start, frames->out_end);
		frames->out_start = 0;
	}
	if (FRAMES_BUFFER - frames->out_end < FRAMES_HEADER + len)
		return -EAGAIN;
	to = frames->out + frames->out_end;
	to[0] = (uint8_t)(len >> 8);
	to[1] = (uint8_t)len;
	memcpy(to + FRAMES_HEADER, data, len);
	frames->out_end += FRAMES_HEADER + len;
	/* A broken stream is seen by the loop, which may free what the caller stands on */
	(void)write_out(frames);
	return 0;
}

/* Return: false when @frames is gone */
static bool read_in(struct frames *frames)
{
	ssize_t n = recv(frames->source.fd, frames->in + frames->in_len,
			 FRAMES_BUFFER - frames->in_len, MSG_DONTWAIT);
	ssize_t taken;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		frames->on_end(frames);
		return false;
	}
	frames->in_len += (size_t)n;
	taken = frames_each(frames, frames->in, frames->in_len, frames->on_frame);
	if (taken < 0)
		return false;
	frames->in_len -= (size_t)taken;
	memmove(frames->in, frames->in + taken, frames->in_len);
	return true;
}

static void on_stream(struct loop_source *source, uint32_t events)
{
	struct frames *frames = container_of(source, struct frames, source);

	if (events & EPOLLOUT) {
		if (!write_out(frames)) {
			frames->on_end(frames);
			return;
		}
		if (frames_is_idle(frames) && frames->on_room)
			frames->on_room(frames);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		(void)read_in(frames);
}

int frames_start(struct frames *frames, struct loop *loop, int fd, struct err *err)
{
	int r;

	frames->source = (struct loop_source){.fd = fd, .on_event = on_stream};
	frames->in_len = frames->out_start = frames->out_end = 0;
	frames->in = malloc(2 * (size_t)FRAMES_BUFFER);
	if (!frames->in) {
		close_fd(&frames->source.fd);
		return err_sys(err, ENOMEM, "cannot relay datagrams");
	}
	frames->out = frames->in + FRAMES_BUFFER;
	r = loop_add(loop, &frames->source, EPOLLIN, err);
	if (r < 0)
		frames_stop(frames);
	return r;
}
