/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: the block device, its requests as the input says.
 *
 * Chains are mostly valid, of few sizes, with a field broken now and then; headers and ranges come from the input. The thread is
 * played by the target itself. Afterwards the file has its size, and a read-only one its content.
 */
#define _GNU_SOURCE
#include "tests/unit/fake_driver.c"

#include <sys/mman.h>
#include <unistd.h>

#include "kvm/virtio/blk.h"
#include "lib/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define DATA_GPA 0x400000 /* buffers lie here */
#define FILE_BYTES (64u << 10)

struct world {
	const uint8_t *p, *end;
	struct blk *blk;
	struct fake_queue queue;
	bool broken;
};

static struct fake_driver d;

static uint8_t take(struct world *w)
{
	return w->p < w->end ? *w->p++ : 0;
}

static uint32_t take32(struct world *w)
{
	uint32_t v = take(w);

	v = v << 8 | take(w);
	v = v << 8 | take(w);
	return v << 8 | take(w);
}

static void on_interrupt(struct virtio_dev *dev, bool config_changed)
{
	(void)dev;
	(void)config_changed;
}

static void on_broken(struct virtio_dev *dev, const char *why)
{
	struct world *w = dev->transport;

	(void)why;
	w->broken = true;
}

static void write_desc(struct world *w)
{
	static const uint32_t lens[] = {1, 15, 16, 17, 20, 512, 513, 4096};
	struct fake_queue *q = &w->queue;
	struct vring_desc *desc = &q->desc[take(w) % q->size];
	uint8_t what = take(w);

	*desc = (struct vring_desc){
		.addr = DATA_GPA + take(w) * 16u,
		.len = lens[take(w) % ARRAY_SIZE(lens)],
		.flags = what & 3,
		.next = take(w) % q->size,
	};
	if ((what & 0x3c) == 0x04)
		desc->addr = (uint64_t)take32(w) << 32 | take32(w);
	if ((what & 0x3c) == 0x08)
		desc->len = take32(w);
	if ((what & 0x3c) == 0x10)
		desc->addr = FAKE_MEMORY - take(w);
}

/* A header, or a range to clear */
static void write_header(struct world *w)
{
	uint8_t what = take(w);
	uint64_t sector = what & 1 ? take(w) : (uint64_t)take32(w) << 32 | take32(w);
	struct virtio_blk_outhdr h = {.type = what & 2 ? take(w) % 16 : take32(w),
				      .sector = sector};
	struct virtio_blk_discard_write_zeroes range = {sector, take(w), take(w) & 3};

	memcpy(fake_ptr(&d, DATA_GPA + take(w) * 16u, 16), what & 4 ? (void *)&range : (void *)&h,
	       16);
}

static void start(struct world *w)
{
	uint8_t what = take(w);
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct virtio_dev *dev;

	fake_require(fd >= 0 && ftruncate(fd, FILE_BYTES) == 0);
	dev = virtio_blk_new(fd, what & 2, "1:2", NULL);
	fake_require(dev);
	w->blk = container_of(dev, struct blk, dev);
	if (!d.mem.nregions)
		fake_driver_init(&d);
	d.next = 4096;
	memset(fake_ptr(&d, 0, 65536), 0, 65536);
	memset(fake_ptr(&d, DATA_GPA, 65536), 7, 65536);
	fake_queue_init(&d, &w->queue, (uint16_t)(1u << (what >> 5)), what & 1, &dev->queues[0]);
	dev->mem = &d.mem;
	dev->transport = w;
	dev->interrupt = on_interrupt;
	dev->broken = on_broken;
}

static void check_file(const struct world *w)
{
	static uint8_t bytes[FILE_BYTES];

	fake_require(lseek(w->blk->fd, 0, SEEK_END) == FILE_BYTES);
	if (!w->blk->read_only)
		return;
	fake_require(pread(w->blk->fd, bytes, FILE_BYTES, 0) == FILE_BYTES);
	for (size_t i = 0; i < FILE_BYTES; i++)
		fake_require(!bytes[i]);
}

static void step(struct world *w)
{
	struct fake_queue *q = &w->queue;

	switch (take(w) % 6) {
	case 0:
	case 1:
		write_desc(w);
		break;
	case 2:
		for (int n = take(w) % 4; n >= 0; n--)
			fake_offer(q, take(w) % (q->size + (n == 3)));
		break;
	case 3:
		write_header(w);
		break;
	default:
		(void)blk_thread_ops.on_round(w->blk);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct world w = {.p = data, .end = data + len};

	start(&w);
	while (w.p < w.end && !w.broken)
		step(&w);
	(void)blk_thread_ops.on_round(w.blk);
	check_file(&w);
	w.blk->dev.ops->free(&w.blk->dev);
	return 0;
}
