/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes from a guest's programs to the relays' port: a hello, then frames in pieces of any size. And a line of /proc/net/udp.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/frames.h"
#include "shim/monitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t nframes, nbytes, stop_after;
static bool ended;

static bool on_frame(struct frames *frames, const uint8_t *data, size_t len)
{
	if (len > FRAMES_MAX || (len && !data))
		abort();
	nframes++;
	nbytes += FRAMES_HEADER + len;
	if (nframes != stop_after)
		return true;
	frames_stop(frames);
	return false;
}

static void on_end(struct frames *frames)
{
	ended = true;
	frames_stop(frames);
}

/* By the rule, in one go */
static size_t count_frames(const uint8_t *data, size_t size)
{
	size_t n = 0;

	while (size >= FRAMES_HEADER && size - FRAMES_HEADER >= ((size_t)data[0] << 8 | data[1])) {
		size_t len = FRAMES_HEADER + ((size_t)data[0] << 8 | data[1]);

		data += len;
		size -= len;
		n++;
	}
	return n;
}

static void check_frames(const uint8_t *data, size_t size, size_t piece)
{
	struct frames frames = {.on_frame = on_frame, .on_end = on_end};
	struct loop *loop = loop_new(NULL);
	size_t expected = count_frames(data, size);
	int fds[2];

	nframes = nbytes = 0;
	ended = false;
	if (!loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    frames_start(&frames, loop, fds[0], NULL) < 0)
		abort();
	for (size_t done = 0; done < size && frames.in;) {
		size_t len = size - done < piece ? size - done : piece;
		ssize_t n = send(fds[1], data + done, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		done += n > 0 ? (size_t)n : 0;
		(void)loop_step(loop, 0);
	}
	(void)close(fds[1]);
	for (int i = 0; i < 64 && frames.in; i++)
		(void)loop_step(loop, 0);
	if (nbytes > size || (stop_after ? nframes > expected : nframes != expected) || frames.in ||
	    (!ended && nframes != stop_after))
		abort();
	loop_free(loop);
}

static void check_hello(const uint8_t *data, size_t size)
{
	struct machine_relay_hello hello = {0};
	bool valid;

	memcpy(&hello, data, size < sizeof(hello) ? size : sizeof(hello));
	valid = relay_hello_is_valid(&hello, hello.token);
	if (relay_hello_is_valid(&hello, hello.token + 1) || (valid && !hello.token) ||
	    (valid && (hello.kind == MACHINE_RELAY_UNIX) != (hello.socket != 0)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char line[256] = "";

	if (size < 2 || size > 65536)
		return 0;
	memcpy(line, data, size < sizeof(line) - 1 ? size : sizeof(line) - 1);
	(void)net_names_resolver(line);
	check_hello(data, size);
	stop_after = data[1] & 7;
	check_frames(data + 2, size - 2, (size_t)data[0] + 1);
	return 0;
}
