/* SPDX-License-Identifier: Apache-2.0 */
/* The console: bytes come out, a full or closed pipe never holds the guest up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fake_driver.c"
#include "lib/io.h"

#define OUT 1

static struct fake_driver d;
static gpa_t page;
static int reader;

static int set_up(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	reader = fds[0];
	fake_driver_init(&d);
	page = fake_alloc(&d, 65536, 4096);
	fake_driver_start(&d, virtio_console_new(fds[1], NULL), FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX,
			  16);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_driver_release(&d);
	if (reader >= 0)
		(void)close(reader);
	return 0;
}

static void print(const struct fake_buf *bufs, unsigned int n)
{
	uint32_t head, len;

	assert_true(fake_add(&d.queues[OUT], bufs, n) >= 0);
	fake_kick(&d, &d.queues[OUT]);
	fake_wait_used(&d, &d.queues[OUT], &head, &len);
	assert_int_equal(len, 0);
}

static void test_output(void **state)
{
	struct fake_buf bufs[] = {{page, 6, false}, {page + 100, 6, false}};
	struct fake_buf writable = {page, 6, true};
	char buf[13] = "";

	(void)state;
	memcpy(fake_ptr(&d, page, 6), "hello ", 6);
	memcpy(fake_ptr(&d, page + 100, 6), "world\n", 6);
	print(bufs, 2);
	assert_int_equal(io_read_full(reader, buf, 12), 0);
	assert_string_equal(buf, "hello world\n");
	/* A buffer of the wrong kind holds no output */
	print(&writable, 1);
	print(bufs, 1);
	assert_int_equal(read(reader, buf, sizeof(buf)), 6);
	/* Nobody reads the configuration for anything, but it is there */
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_CONFIG + 4), 0);
}

static void test_full_pipe(void **state)
{
	struct fake_buf buf = {page, 60000, false};
	static char data[4096];
	ssize_t n;
	size_t total = 0;
	int i;

	(void)state;
	for (i = 0; i < 50; i++)
		print(&buf, 1);
	assert_int_equal(io_set_nonblock(reader, true), 0);
	while ((n = read(reader, data, sizeof(data))) > 0)
		total += (size_t)n;
	assert_true(total >= 60000 && total <= 1u << 20);
	/* With room again, output is seen again */
	buf.len = 3;
	print(&buf, 1);
	assert_int_equal(read(reader, data, sizeof(data)), 3);
}

static void test_reader_gone(void **state)
{
	struct fake_buf buf = {page, 10, false};
	int i;

	(void)state;
	(void)close(reader);
	reader = -1;
	for (i = 0; i < 20; i++)
		print(&buf, 1);
	fake_driver_up(&d, FAKE_F_VERSION_1, 16);
	print(&buf, 1);
}

static void test_broken_ring(void **state)
{
	struct fake_buf bad = {page, 0, false};

	(void)state;
	assert_true(fake_add(&d.queues[OUT], &bad, 1) >= 0);
	fake_kick(&d, &d.queues[OUT]);
	assert_int_equal(fake_wait(&d, FAKE_WAIT_MS),
			 VIRTIO_MMIO_INT_CONFIG | VIRTIO_MMIO_INT_VRING);
}

static void test_bad_fd(void **state)
{
	struct err err = {0};

	(void)state;
	assert_null(virtio_console_new(-1, &err));
	assert_string_not_equal(err.msg, "");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_output),	TEST(test_full_pipe), TEST(test_reader_gone),
		TEST(test_broken_ring), TEST(test_bad_fd),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
