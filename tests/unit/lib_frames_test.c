/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams over a stream (lib/frames.h), and connections that go through us (lib/duplex.h), over socket pairs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/duplex.h"
#include "lib/frames.h"

static struct loop *loop;
static struct frames frames;
static int peer;
static size_t nframes, last_len, nends, nrooms;
static uint8_t last[FRAMES_MAX];
static bool refuse;

static bool on_frame(struct frames *f, const uint8_t *data, size_t len)
{
	nframes++;
	last_len = len;
	memcpy(last, data, len);
	if (refuse)
		frames_stop(f);
	return !refuse;
}

static void on_room(struct frames *f)
{
	(void)f;
	nrooms++;
}

static void on_end(struct frames *f)
{
	nends++;
	frames_stop(f);
}

static int set_up(void **state)
{
	int fds[2];

	(void)state;
	loop = loop_new(NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	peer = fds[1];
	nframes = nends = nrooms = 0;
	refuse = false;
	frames = (struct frames){.on_frame = on_frame, .on_room = on_room, .on_end = on_end};
	assert_int_equal(frames_start(&frames, loop, fds[0], NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	frames_stop(&frames);
	close_fd(&peer);
	loop_free(loop);
	return 0;
}

static void turn(void)
{
	while (loop_step(loop, 0) > 0)
		;
}

static void test_pieces(void **state)
{
	static const uint8_t bytes[] = {0, 3, 'a', 'b', 'c', 0, 0, 0, 2, 'd', 'e'};

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(write(peer, bytes + i, 1), 1);
		turn();
		assert_int_equal(nframes, (i >= 4) + (i >= 6) + (i >= 10));
	}
	assert_int_equal(last_len, 2);
	assert_memory_equal(last, "de", 2);
	assert_int_equal(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
	turn();
	assert_int_equal(nframes, 6);
	close_fd(&peer);
	turn();
	assert_int_equal(nends, 1);
}

static void test_stopped_inside(void **state)
{
	static const uint8_t bytes[] = {0, 1, 'a', 0, 1, 'b'};

	(void)state;
	refuse = true;
	assert_int_equal(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
	turn();
	assert_int_equal(nframes, 1);
	assert_int_equal(nends, 0);
}

static void test_send_and_full(void **state)
{
	static uint8_t large[FRAMES_MAX], in[FRAMES_MAX + FRAMES_HEADER];
	size_t sent = 0, got = 0;
	ssize_t n;
	int r;

	(void)state;
	assert_int_equal(frames_send(&frames, large, FRAMES_MAX + 1), -EMSGSIZE);
	/* Nobody reads: at most the socket's room and the buffer's */
	while ((r = frames_send(&frames, large, sizeof(large))) == 0)
		sent++;
	assert_int_equal(r, -EAGAIN);
	assert_true(sent >= 2 && sent < 64);
	assert_false(frames_is_idle(&frames));
	while (got < sent * (FRAMES_MAX + FRAMES_HEADER)) {
		n = recv(peer, in, sizeof(in), MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		turn();
	}
	assert_int_equal(nrooms, 1);
	assert_true(frames_is_idle(&frames));
	assert_int_equal(frames_send(&frames, "hi", 2), 0);
	assert_int_equal(recv(peer, in, sizeof(in), 0), 4);
	assert_memory_equal(in, "\0\2hi", 4);
}

/* ---- duplex ---- */

static bool duplex_done;

static void on_done(struct duplex *duplex)
{
	(void)duplex;
	duplex_done = true;
}

static void test_duplex(void **state)
{
	struct duplex duplex = {0};
	int a[2], b[2];
	char text[8];

	(void)state;
	duplex_done = false;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
	assert_int_equal(duplex_start(&duplex, loop, a[1], b[1], on_done, NULL), 0);
	assert_int_equal(write(a[0], "ask", 3), 3);
	assert_int_equal(shutdown(a[0], SHUT_WR), 0);
	turn();
	assert_int_equal(read(b[0], text, sizeof(text)), 3);
	/* One end of stream is one, the other way goes on */
	assert_int_equal(read(b[0], text, sizeof(text)), 0);
	assert_false(duplex_done);
	assert_int_equal(write(b[0], "answer", 6), 6);
	close(b[0]);
	turn();
	assert_int_equal(read(a[0], text, sizeof(text)), 6);
	assert_int_equal(read(a[0], text, sizeof(text)), 0);
	assert_true(duplex_done);
	close(a[0]);
}

static void test_duplex_gone(void **state)
{
	struct duplex duplex = {0};
	int a[2], b[2];

	(void)state;
	duplex_done = false;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
	assert_int_equal(duplex_start(&duplex, loop, a[1], b[1], on_done, NULL), 0);
	/* Nobody says anything, and one of them is closed */
	close(a[0]);
	turn();
	assert_true(duplex_done);
	close(b[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stopped_inside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_send_and_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_duplex, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_duplex_gone, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
