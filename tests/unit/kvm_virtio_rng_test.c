/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device: as many bytes as asked for up to the cap, all requests answered, a broken ring reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/fake_driver.c"

static struct fake_driver d;
static gpa_t page;

static int set_up(void **state)
{
	(void)state;
	fake_driver_init(&d);
	page = fake_alloc(&d, 65536, 4096);
	fake_driver_start(&d, virtio_rng_new(NULL), FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX, 16);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_driver_release(&d);
	return 0;
}

static uint32_t ask(const struct fake_buf *bufs, unsigned int n)
{
	uint32_t head, len;
	int added = fake_add(&d.queues[0], bufs, n);

	assert_true(added >= 0);
	fake_kick(&d, &d.queues[0]);
	fake_wait_used(&d, &d.queues[0], &head, &len);
	assert_int_equal(head, added);
	return len;
}

static unsigned int zeros(uint32_t from, uint32_t len)
{
	const uint8_t *p = fake_ptr(&d, page + from, len);
	unsigned int n = 0;

	while (len--)
		n += !*p++;
	return n;
}

static void test_bytes(void **state)
{
	struct fake_buf one = {page, 64, true};
	struct fake_buf pieces[] = {
		{page + 1000, 3, false}, {page + 4096, 3000, true}, {page + 8192, 3000, true}};

	(void)state;
	assert_int_equal(ask(&one, 1), 64);
	assert_true(zeros(0, 64) < 16);
	assert_int_equal(zeros(64, 936), 936);
	/* 4 KiB at a time, over pieces; nothing is written behind them or into what is not writable */
	assert_int_equal(ask(pieces, 3), 4096);
	assert_true(zeros(4096, 3000) < 100);
	assert_true(zeros(8192, 1096) < 100);
	assert_int_equal(zeros(8192 + 1096, 3000), 3000);
	assert_int_equal(zeros(1000, 3), 3);
	/* A request without room is answered with nothing */
	assert_int_equal(ask(pieces, 1), 0);
}

static void test_many(void **state)
{
	struct fake_buf buf = {page, 16, true};
	uint32_t i, head, len, got = 0;

	(void)state;
	for (i = 0; i < 5000; i++) {
		while (fake_add(&d.queues[0], &buf, 1) < 0) {
			fake_wait_used(&d, &d.queues[0], &head, &len);
			assert_int_equal(len, 16);
			got++;
		}
		fake_kick(&d, &d.queues[0]);
	}
	for (; got < 5000; got++)
		fake_wait_used(&d, &d.queues[0], &head, &len);
	assert_false(fake_get_used(&d.queues[0], &head, &len));
}

static void test_broken_ring(void **state)
{
	struct fake_buf bad = {FAKE_MEMORY, 1, true}, good = {page, 5, true};

	(void)state;
	assert_true(fake_add(&d.queues[0], &bad, 1) >= 0);
	fake_kick(&d, &d.queues[0]);
	assert_int_equal(fake_wait(&d, FAKE_WAIT_MS),
			 VIRTIO_MMIO_INT_CONFIG | VIRTIO_MMIO_INT_VRING);
	assert_true(fake_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	fake_driver_up(&d, FAKE_F_VERSION_1, 16);
	assert_int_equal(ask(&good, 1), 5);
}

/* The driver comes and goes */
static void test_restart(void **state)
{
	struct fake_buf buf = {page, 8, true};
	uint32_t head, len;
	int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		fake_driver_up(&d, FAKE_F_VERSION_1, 16);
		assert_true(fake_add(&d.queues[0], &buf, 1) >= 0);
		fake_kick(&d, &d.queues[0]);
		fake_wait_used(&d, &d.queues[0], &head, &len);
		assert_int_equal(len, 8);
	}
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bytes),
		TEST(test_many),
		TEST(test_broken_ring),
		TEST(test_restart),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
