/* SPDX-License-Identifier: Apache-2.0 */
/* lib/relay.c: every byte, in order, in bounded memory; ends and breaks are passed on in both directions. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/relay.h"

#define LIMIT_MS 30000

static struct loop *loop;
static struct relay relay;
static int done_calls;

static int set_up(void **state)
{
	(void)state;
	loop = loop_new(NULL);
	memset(&relay, 0, sizeof(relay));
	done_calls = 0;
	return loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	relay_stop(&relay);
	loop_free(loop);
	return 0;
}

static void on_done(struct relay *r)
{
	assert_ptr_equal(r, &relay);
	assert_int_equal(r->from, -1);
	assert_int_equal(r->to, -1);
	done_calls++;
}

static void run_until_done(void)
{
	uint64_t end = io_now_ms() + LIMIT_MS;

	while (!done_calls && io_now_ms() < end)
		assert_true(loop_step(loop, 1000) >= 0);
	assert_int_equal(done_calls, 1);
	assert_true(relay.done);
	assert_null(relay.buffer);
}

/* Serves until nothing happens any more; a relay that spins never gets here */
static void settle(void)
{
	for (int i = 0; i < 10000; i++) {
		if (loop_step(loop, 20) == 0)
			return;
	}
	fail_msg("the loop spins");
}

static void pipes(int a[2], int b[2])
{
	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	assert_int_equal(pipe2(b, O_CLOEXEC), 0);
}

static void sockets(int s[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
}

static void start(int from, int to)
{
	assert_int_equal(relay_start(&relay, loop, from, to, on_done, NULL), 0);
	assert_int_equal(done_calls, 0);
}

static bool at_end(int fd)
{
	char c;

	return read(fd, &c, 1) == 0;
}

static void pipe_to_pipe_with_end(void **state)
{
	char out[8] = "";
	int a[2], b[2];

	(void)state;
	pipes(a, b);
	start(a[0], b[1]);
	assert_int_equal(write(a[1], "hello", 5), 5);
	(void)close(a[1]);
	run_until_done();
	assert_int_equal(relay.total_bytes, 5);
	assert_int_equal(relay.error, 0);
	assert_int_equal(read(b[0], out, sizeof(out)), 5);
	assert_string_equal(out, "hello");
	assert_true(at_end(b[0]));
	(void)close(b[0]);
}

/* Pushes @total bytes of a pattern in at one end and compares at the other, with reads of odd sizes */
static void transfer(int in, int out, size_t total)
{
	static uint8_t chunk[30000];
	size_t written = 0, got = 0;
	uint64_t end = io_now_ms() + LIMIT_MS;

	assert_int_equal(io_set_nonblock(in, true), 0);
	assert_int_equal(io_set_nonblock(out, true), 0);
	while (got < total && io_now_ms() < end) {
		size_t want = total - written < sizeof(chunk) ? total - written : sizeof(chunk);
		ssize_t n;

		for (size_t i = 0; i < want; i++)
			chunk[i] = (uint8_t)((written + i) * 7 >> 3);
		n = want ? write(in, chunk, want) : 0;
		if (n > 0)
			written += (size_t)n;
		assert_true(loop_step(loop, 0) >= 0);
		assert_true(relay.end <= RELAY_BUFFER);
		n = read(out, chunk, 1 + got % 9999);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(chunk[i], (uint8_t)((got + (size_t)i) * 7 >> 3));
		if (n > 0)
			got += (size_t)n;
	}
	assert_int_equal(got, total);
	(void)close(in);
	run_until_done();
	assert_true(at_end(out));
	(void)close(out);
}

static void much_through_pipes(void **state)
{
	int a[2], b[2];

	(void)state;
	pipes(a, b);
	start(a[0], b[1]);
	transfer(a[1], b[0], 5u << 20);
}

static void much_through_nonblocking_pipes(void **state)
{
	int a[2], b[2];

	(void)state;
	pipes(a, b);
	assert_int_equal(io_set_nonblock(a[0], true), 0);
	assert_int_equal(io_set_nonblock(b[1], true), 0);
	start(a[0], b[1]);
	transfer(a[1], b[0], 5u << 20);
}

static void much_through_sockets(void **state)
{
	int a[2], b[2];

	(void)state;
	sockets(a);
	sockets(b);
	start(a[0], b[1]);
	transfer(a[1], b[0], 5u << 20);
}

static void a_stopped_reader_stops_the_writer(void **state)
{
	static char block[65536];
	int a[2], b[2];
	size_t total = 0;
	ssize_t n;

	(void)state;
	pipes(a, b);
	assert_int_equal(io_set_nonblock(a[1], true), 0);
	start(a[0], b[1]);
	for (int i = 0; i < 100; i++) {
		n = write(a[1], block, sizeof(block));
		total += n > 0 ? (size_t)n : 0;
		settle();
	}
	assert_true(total <= 3 * 65536 + 4096); /* two pipes and the buffer */
	assert_int_equal(relay.end, RELAY_BUFFER);
	(void)close(a[1]); /* the writer's end, while the buffer is full: no spinning, no loss */
	settle();
	while (!done_calls) {
		n = read(b[0], block, sizeof(block));
		total -= (size_t)n;
		assert_true(loop_step(loop, 1000) >= 0);
	}
	while ((n = read(b[0], block, sizeof(block))) > 0)
		total -= (size_t)n;
	assert_int_equal(total, 0);
	(void)close(b[0]);
}

static void hang_up_with_data_left_is_drained(void **state)
{
	static char block[60000], out[60000];
	int a[2], b[2];

	(void)state;
	sockets(a);
	assert_int_equal(pipe2(b, O_CLOEXEC), 0);
	memset(block, 'z', sizeof(block));
	assert_int_equal(write(a[1], block, sizeof(block)), sizeof(block));
	(void)close(a[1]);
	start(a[0], b[1]);
	run_until_done();
	assert_int_equal(io_read_full(b[0], out, sizeof(out)), 0);
	assert_memory_equal(out, block, sizeof(out));
	assert_true(at_end(b[0]));
	(void)close(b[0]);
}

static void broken_pipe_ends_an_idle_source(void **state)
{
	int a[2], b[2];

	(void)state;
	pipes(a, b);
	start(a[0], b[1]);
	settle();
	(void)close(b[0]); /* nothing is being written */
	run_until_done();
	assert_int_equal(relay.error, -EPIPE);
	assert_int_equal(write(a[1], "x", 1),
			 -1); /* the writer sees what a plain pipe would tell it */
	assert_int_equal(errno, EPIPE);
	(void)close(a[1]);
}

static void broken_socket_ends_an_idle_source(void **state)
{
	int a[2], b[2];

	(void)state;
	sockets(a);
	sockets(b);
	start(a[0], b[1]);
	settle();
	(void)close(b[0]);
	run_until_done();
	assert_int_equal(send(a[1], "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	(void)close(a[1]);
}

static void broken_sink_under_load(void **state)
{
	static char block[65536];
	int a[2], b[2];

	(void)state;
	pipes(a, b);
	assert_int_equal(io_set_nonblock(a[1], true), 0);
	start(a[0], b[1]);
	for (int i = 0; i < 10; i++) {
		(void)!write(a[1], block, sizeof(block));
		settle();
	}
	(void)close(b[0]);
	run_until_done();
	assert_int_equal(write(a[1], "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	(void)close(a[1]);
}

static void half_closed_peer_still_reads(void **state)
{
	char out[4] = "";
	int a[2], b[2];

	(void)state;
	pipes(a, b);
	(void)close(b[0]);
	(void)close(b[1]);
	sockets(b);
	start(a[0], b[1]);
	assert_int_equal(shutdown(b[0], SHUT_WR), 0); /* it has nothing to say, but it listens */
	settle();
	assert_int_equal(done_calls, 0);
	assert_int_equal(write(a[1], "abc", 3), 3);
	settle();
	assert_int_equal(read(b[0], out, 3), 3);
	assert_string_equal(out, "abc");
	(void)close(b[0]); /* and now it does not; nothing is being written */
	run_until_done();
	assert_int_equal(relay.error, -EPIPE);
	(void)close(a[1]);
}

static void both_directions_on_one_socket(void **state)
{
	struct relay back = {0};
	int user[2], in[2], out[2];
	char text[4] = "";

	(void)state;
	sockets(user);
	pipes(in, out);
	start(in[0], dup(user[1]));
	assert_int_equal(relay_start(&back, loop, user[1], out[1], NULL, NULL), 0);
	assert_int_equal(write(in[1], "in", 2), 2);
	(void)close(in[1]);
	run_until_done();
	assert_int_equal(read(user[0], text, 3), 2);
	assert_true(at_end(user[0])); /* half-closed … */
	assert_int_equal(write(user[0], "ou", 2), 2);
	settle();
	assert_false(back.done); /* … and the other half lives */
	assert_int_equal(read(out[0], text, 3), 2);
	assert_string_equal(text, "ou");
	(void)close(user[0]);
	settle();
	assert_true(back.done);
	assert_true(at_end(out[0]));
	(void)close(out[0]);
}

static void files_and_dev_null(void **state)
{
	char path[] = "/tmp/caisson-relay-XXXXXX";
	static char block[200000], out[200000];
	int file = mkostemp(path, O_CLOEXEC), to[2];
	struct stat st;

	(void)state;
	assert_true(file >= 0);
	memset(block, 'f', sizeof(block));
	assert_int_equal(io_write_full(file, block, sizeof(block)), 0);
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	sockets(to);
	start(file, to[1]);
	for (size_t got = 0; got < sizeof(out);) {
		ssize_t n = recv(to[0], out + got, sizeof(out) - got, MSG_DONTWAIT);

		got += n > 0 ? (size_t)n : 0;
		assert_true(loop_step(loop, 0) >= 0);
	}
	run_until_done();
	assert_memory_equal(out, block, sizeof(out));
	(void)close(to[0]);

	done_calls = 0;
	file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	sockets(to);
	assert_int_equal(io_write_full(to[0], block, 100000), 0);
	(void)close(to[0]);
	start(to[1], file);
	run_until_done();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 100000);
	(void)unlink(path);

	done_calls = 0;
	start(open("/dev/null", O_RDONLY | O_CLOEXEC), open("/dev/null", O_WRONLY | O_CLOEXEC));
	run_until_done();
	assert_int_equal(relay.total_bytes, 0);
}

static void full_disk_breaks_the_relay(void **state)
{
	int a[2], b[2];

	(void)state;
	pipes(a, b);
	(void)close(b[0]);
	(void)close(b[1]);
	assert_int_equal(write(a[1], "x", 1), 1);
	start(a[0], open("/dev/full", O_WRONLY | O_CLOEXEC));
	run_until_done();
	assert_int_equal(relay.error, -ENOSPC);
	(void)close(a[1]);
}

static void terminal_hang_up_is_the_end(void **state)
{
	int master, slave, b[2], a[2];
	char out[16] = "";
	struct termios raw;

	(void)state;
	cfmakeraw(memset(&raw, 0, sizeof(raw)));
	if (openpty(&master, &slave, NULL, &raw, NULL) < 0)
		skip();
	pipes(a, b);
	(void)close(a[0]);
	(void)close(a[1]);
	start(master, b[1]);
	assert_int_equal(write(slave, "bye", 3), 3);
	(void)close(slave);
	run_until_done();
	assert_int_equal(relay.error, 0);
	assert_int_equal(read(b[0], out, sizeof(out)), 3);
	assert_true(at_end(b[0]));
	(void)close(b[0]);
}

static void free_self(struct relay *r)
{
	done_calls++;
	free(r);
}

static void owner_may_be_freed_in_on_done(void **state)
{
	struct relay *own = calloc(1, sizeof(*own));
	int a[2], b[2];

	(void)state;
	pipes(a, b);
	assert_int_equal(relay_start(own, loop, a[0], b[1], free_self, NULL), 0);
	assert_int_equal(write(a[1], "x", 1), 1);
	(void)close(a[1]);
	while (!done_calls)
		assert_true(loop_step(loop, 1000) >= 0);
	own = calloc(1, sizeof(*own)); /* and by a sink that breaks */
	(void)close(b[0]);
	pipes(a, b);
	assert_int_equal(relay_start(own, loop, a[0], b[1], free_self, NULL), 0);
	(void)close(b[0]);
	while (done_calls < 2)
		assert_true(loop_step(loop, 1000) >= 0);
	(void)close(a[1]);
}

static void start_failure_closes_both(void **state)
{
	struct err err = {0};
	int a[2], b[2];

	(void)state;
	pipes(a, b);
	(void)close(a[0]);
	assert_int_equal(relay_start(&relay, loop, a[0], b[1], on_done, &err), -EBADF);
	assert_true(at_end(b[0]));
	relay_stop(&relay);
	assert_int_equal(done_calls, 0);
	(void)close(a[1]);
	(void)close(b[0]);
}

static void stop_is_silent_and_harmless(void **state)
{
	struct relay zero = {0};
	int a[2], b[2];

	(void)state;
	relay_stop(&zero);
	assert_true(fcntl(0, F_GETFD) >= 0 || errno == EBADF);
	pipes(a, b);
	start(a[0], b[1]);
	relay_stop(&relay);
	relay_stop(&relay);
	assert_int_equal(done_calls, 0);
	assert_true(at_end(b[0]));
	(void)close(a[1]);
	(void)close(b[0]);
}

static void private_fd_of_a_pipe(void **state)
{
	int a[2], copy;

	(void)state;
	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	copy = relay_private_fd(a[1], true);
	assert_true(copy >= 0);
	assert_true(fcntl(copy, F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(a[1], F_GETFL) & O_NONBLOCK); /* theirs is as it was */
	assert_true(fcntl(copy, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(copy, "x", 1), 1);
	(void)close(copy);
	copy = relay_private_fd(a[0], false);
	assert_true(fcntl(copy, F_GETFL) & O_NONBLOCK);
	(void)close(copy);
	(void)close(a[0]);
	(void)close(a[1]);
	assert_int_equal(relay_private_fd(a[0], false), -EBADF);
}

static void private_fd_of_others_shares(void **state)
{
	char path[] = "/tmp/caisson-relay-XXXXXX";
	int file = mkostemp(path, O_CLOEXEC), s[2], copy, master, slave;

	(void)state;
	copy = relay_private_fd(file, true);
	assert_int_equal(write(file, "abc", 3), 3);
	assert_int_equal(lseek(copy, 0, SEEK_CUR),
			 3); /* one offset: `{ a; caisson run; b; } > file` */
	(void)close(copy);
	(void)close(file);
	(void)unlink(path);
	sockets(s);
	copy = relay_private_fd(s[0], true);
	assert_true(copy >= 0);
	assert_false(fcntl(s[0], F_GETFL) & O_NONBLOCK);
	(void)close(copy);
	(void)close(s[0]);
	(void)close(s[1]);
	if (openpty(&master, &slave, NULL, NULL, NULL) < 0)
		return;
	copy = relay_private_fd(slave, true);
	assert_true(isatty(copy));
	assert_true(fcntl(copy, F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(slave, F_GETFL) & O_NONBLOCK);
	(void)close(copy);
	copy = relay_private_fd(master, true);
	assert_int_equal(write(copy, "", 0), 0);
	assert_string_equal(ptsname(copy), ptsname(master)); /* not a new terminal */
	(void)close(copy);
	(void)close(master);
	(void)close(slave);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(pipe_to_pipe_with_end),
		TEST(much_through_pipes),
		TEST(much_through_nonblocking_pipes),
		TEST(much_through_sockets),
		TEST(a_stopped_reader_stops_the_writer),
		TEST(hang_up_with_data_left_is_drained),
		TEST(broken_pipe_ends_an_idle_source),
		TEST(broken_socket_ends_an_idle_source),
		TEST(broken_sink_under_load),
		TEST(half_closed_peer_still_reads),
		TEST(both_directions_on_one_socket),
		TEST(files_and_dev_null),
		TEST(full_disk_breaks_the_relay),
		TEST(terminal_hang_up_is_the_end),
		TEST(owner_may_be_freed_in_on_done),
		TEST(start_failure_closes_both),
		TEST(stop_is_silent_and_harmless),
		TEST(private_fd_of_a_pipe),
		TEST(private_fd_of_others_shares),
	};

	return cmocka_run_group_tests_name("lib/relay", tests, NULL, NULL);
}
