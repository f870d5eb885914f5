/* SPDX-License-Identifier: Apache-2.0 */
/* The block device, on a file: reads and writes however buffers are cut, its bounds, flush, zeroes, id, read-only, broken requests. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/fake_driver.c"

#define SECTORS 64u
#define ALL (~0ull)

static struct fake_driver d;
static gpa_t header, data, status;
static int file; /* ours; the device has a duplicate */

static void start(bool read_only)
{
	int fd;

	file = memfd_create("disk", MFD_CLOEXEC);
	assert_true(file >= 0);
	/* what does not fill a sector is not there */
	assert_int_equal(ftruncate(file, SECTORS * 512 + 100), 0);
	fd = fcntl(file, F_DUPFD_CLOEXEC, 3);
	fake_driver_init(&d);
	header = fake_alloc(&d, 16, 16);
	data = fake_alloc(&d, 1 << 20, 4096);
	status = fake_alloc(&d, 1, 1);
	fake_driver_start(&d, virtio_blk_new(fd, read_only, "8:16", NULL), ALL, 128);
}

static int set_up(void **state)
{
	(void)state;
	start(false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_driver_release(&d);
	close(file);
	return 0;
}

/* Return: the status; @len is what the device says it has written */
static uint8_t submit(const struct fake_buf *bufs, unsigned int n, uint32_t *len)
{
	uint32_t head;
	int added = fake_add(&d.queues[0], bufs, n);

	assert_true(added >= 0);
	fake_kick(&d, &d.queues[0]);
	fake_wait_used(&d, &d.queues[0], &head, len);
	assert_int_equal(head, added);
	return *(uint8_t *)fake_ptr(&d, status, 1);
}

static uint8_t request(uint32_t type, uint64_t sector, uint32_t bytes, bool write_to_guest,
		       uint32_t *len)
{
	struct virtio_blk_outhdr h = {.type = type, .sector = sector};
	struct fake_buf bufs[] = {
		{header, 16, false}, {data, bytes, write_to_guest}, {status, 1, true}};

	memcpy(fake_ptr(&d, header, 16), &h, sizeof(h));
	*(uint8_t *)fake_ptr(&d, status, 1) = 0xee;
	if (bytes)
		return submit(bufs, 3, len);
	bufs[1] = bufs[2];
	return submit(bufs, 2, len);
}

static void test_data(void **state)
{
	uint8_t *p = fake_ptr(&d, data, 8192), sector[512];
	uint32_t len;

	(void)state;
	memset(p, 0x5a, 1024);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 3, 1024, false, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 1);
	assert_int_equal(pread(file, sector, 512, 4 * 512), 512);
	assert_int_equal(sector[0], 0x5a);
	assert_int_equal(sector[511], 0x5a);
	assert_int_equal(pread(file, sector, 512, 5 * 512), 512);
	assert_int_equal(sector[0], 0);
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, false, &len), VIRTIO_BLK_S_OK);
	memset(p, 0, 8192);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 2, 2048, true, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 2049);
	assert_int_equal(p[511], 0);
	assert_int_equal(p[512], 0x5a);
	assert_int_equal(p[1535], 0x5a);
	assert_int_equal(p[1536], 0);
	assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, 20, true, &len), VIRTIO_BLK_S_OK);
	assert_memory_equal(p, "8:16\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_int_equal(len, 21);
}

/* Header, data and status in any pieces (§2.7.4) */
static void test_pieces(void **state)
{
	struct virtio_blk_outhdr h = {.type = VIRTIO_BLK_T_OUT, .sector = 1};
	uint8_t *p = fake_ptr(&d, data, 8192), sector[512];
	struct fake_buf out[] = {{data, 7, false},
				 {data + 7, 9 + 100, false},
				 {data + 1000, 412, false},
				 {status, 1, true}};
	struct fake_buf in[] = {
		{data, 16, false}, {data + 2000, 1, true}, {data + 3000, 512, true}};
	uint32_t len;

	(void)state;
	memset(p, 'a', 8192);
	memcpy(p, &h, sizeof(h));
	assert_int_equal(submit(out, 4, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(file, sector, 512, 512), 512);
	for (int i = 0; i < 512; i++)
		assert_int_equal(sector[i], 'a');
	h.type = VIRTIO_BLK_T_IN;
	memcpy(p, &h, sizeof(h));
	memset(p + 2000, 0, 3000);
	(void)submit(in, 3, &len);
	assert_int_equal(len, 513);
	assert_int_equal(p[2000], 'a');
	assert_int_equal(p[3510], 'a');
	assert_int_equal(p[3511], VIRTIO_BLK_S_OK);
}

static void test_bounds(void **state)
{
	static const uint64_t sectors[] = {SECTORS,	     SECTORS - 1, UINT64_MAX,
					   UINT64_MAX / 512, 1ull << 55,  0x7fffffffffffffff};
	uint32_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		assert_int_equal(request(VIRTIO_BLK_T_IN, sectors[i], 1024, true, &len),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(VIRTIO_BLK_T_OUT, sectors[i], 1024, false, &len),
				 VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(lseek(file, 0, SEEK_END), SECTORS * 512 + 100);
	assert_int_equal(request(VIRTIO_BLK_T_IN, SECTORS - 1, 512, true, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 100, true, &len), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 513, false, &len), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(0x4711, 0, 512, true, &len), VIRTIO_BLK_S_UNSUPP);
	/* The device has shrunk */
	assert_int_equal(ftruncate(file, 512), 0);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 4, 512, true, &len), VIRTIO_BLK_S_IOERR);
}

static uint8_t clear_range(uint32_t type, uint64_t sector, uint32_t nsectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = {sector, nsectors, flags};
	uint32_t len;

	memcpy(fake_ptr(&d, data, sizeof(range)), &range, sizeof(range));
	return request(type, 0, sizeof(range), false, &len);
}

static void test_clear(void **state)
{
	uint8_t ones[4096], back[4096];
	uint32_t len;

	(void)state;
	memset(ones, 1, sizeof(ones));
	assert_int_equal(pwrite(file, ones, sizeof(ones), 0), sizeof(ones));
	assert_int_equal(clear_range(VIRTIO_BLK_T_WRITE_ZEROES, 1, 2, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(clear_range(VIRTIO_BLK_T_DISCARD, 5, 1, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(file, back, sizeof(back), 0), sizeof(back));
	for (int i = 0; i < 8; i++)
		assert_int_equal(back[i * 512 + 300], i != 1 && i != 2 && i != 5);
	assert_int_equal(lseek(file, 0, SEEK_END), SECTORS * 512 + 100);
	assert_int_equal(clear_range(VIRTIO_BLK_T_DISCARD, SECTORS - 1, 2, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(clear_range(VIRTIO_BLK_T_DISCARD, UINT64_MAX, 2, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(clear_range(VIRTIO_BLK_T_DISCARD, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(clear_range(VIRTIO_BLK_T_DISCARD, 0, 1, 1), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(clear_range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, 32, false, &len), VIRTIO_BLK_S_UNSUPP);
}

static void test_read_only(void **state)
{
	uint32_t len;

	(void)state;
	fake_driver_release(&d);
	close(file);
	start(true);
	fake_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_true(fake_read(&d, VIRTIO_MMIO_DEVICE_FEATURES) & 1u << VIRTIO_BLK_F_RO);
	memset(fake_ptr(&d, data, 512), 9, 512);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, 512, false, &len), VIRTIO_BLK_S_IOERR);
	assert_int_equal(clear_range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 512, true, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)fake_ptr(&d, data, 1), 0);
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0, false, &len), VIRTIO_BLK_S_OK);
}

#define VIRTIO_STATUS_NEEDS_RESET 0x40

/* No header, or no room for the status: the driver is broken, and nothing is done until it resets */
static void test_broken(void **state)
{
	const struct fake_buf bad[] = {{header, 15, false}, {status, 1, true}};
	const struct fake_buf worse[] = {{header, 16, false}};
	const struct fake_buf *cases[] = {bad, worse};
	uint32_t len;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(fake_add(&d.queues[0], cases[i], 2 - i) >= 0);
		fake_kick(&d, &d.queues[0]);
		assert_true(fake_wait(&d, FAKE_WAIT_MS) != 0);
		assert_true(fake_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
		fake_driver_up(&d, ALL, 128);
		assert_int_equal(request(VIRTIO_BLK_T_IN, 0, 512, true, &len), VIRTIO_BLK_S_OK);
	}
}

static void test_not_a_disk(void **state)
{
	struct err err = {0};
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_null(virtio_blk_new(fds[0], true, "", &err));
	assert_int_equal(err.code, EINVAL);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_data, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clear, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_read_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_broken, set_up, tear_down),
		cmocka_unit_test(test_not_a_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
