/* SPDX-License-Identifier: Apache-2.0 */
/* The transport: the driver's way up, every wrong turn on it, interrupts, and random register writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fake_driver.c"
#include "lib/cleanup.h"

#define TOY_FEATURE VIRTIO_F_BIT(5)
#define TOY_QUEUES 3

/* A device that only counts what is done to it */
struct toy {
	struct virtio_dev dev;
	int activations, resets;
	bool fail, active;
	uint64_t features;
};

static int toys_freed;
static struct fake_driver d;
static struct toy *toy;

static void toy_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	static const uint8_t config[6] = {1, 2, 3, 4, 5, 6};

	(void)dev;
	assert_true(off < sizeof(config) && len <= sizeof(config) - off);
	memcpy(buf, config + off, len);
}

static int toy_activate(struct virtio_dev *dev, struct err *err)
{
	struct toy *t = container_of(dev, struct toy, dev);

	assert_false(t->active);
	t->activations++;
	t->features = dev->features;
	if (t->fail)
		return err_set(err, EIO, "toy is broken");
	t->active = true;
	return 0;
}

static void toy_reset(struct virtio_dev *dev)
{
	struct toy *t = container_of(dev, struct toy, dev);

	t->active = false;
	t->resets++;
}

static void toy_free(struct virtio_dev *dev)
{
	toys_freed++;
	free(container_of(dev, struct toy, dev));
}

static const struct virtio_ops toy_ops = {
	.name = "toy",
	.id = 42,
	.nqueues = TOY_QUEUES,
	.queue_max = 128,
	.features = TOY_FEATURE,
	.config_len = 6,
	.config_read = toy_config_read,
	.activate = toy_activate,
	.reset = toy_reset,
	.free = toy_free,
};

static int set_up(void **state)
{
	(void)state;
	fake_driver_init(&d);
	toy = calloc(1, sizeof(*toy));
	assert_non_null(toy);
	toy->dev.ops = &toy_ops;
	fake_driver_attach(&d, &toy->dev);
	return 0;
}

static int tear_down(void **state)
{
	int before = toys_freed;

	(void)state;
	fake_driver_release(&d);
	assert_int_equal(toys_freed, before + 1);
	return 0;
}

static uint32_t status(void)
{
	return fake_read(&d, VIRTIO_MMIO_STATUS);
}

/* Up to the features, of which the low and high half are acknowledged as given; Return: whether FEATURES_OK stands */
static bool negotiate(uint32_t low, uint32_t high)
{
	fake_write(&d, VIRTIO_MMIO_STATUS, 0);
	fake_write(&d, VIRTIO_MMIO_STATUS, 1);
	fake_write(&d, VIRTIO_MMIO_STATUS, 3);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, low);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, high);
	fake_write(&d, VIRTIO_MMIO_STATUS, 11);
	return status() & VIRTIO_CONFIG_S_FEATURES_OK;
}

static void test_identity(void **state)
{
	(void)state;
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_QUEUE_NUM_MAX), 128);
	fake_write(&d, VIRTIO_MMIO_QUEUE_SEL, TOY_QUEUES);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	fake_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0xffffffff);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	/* No shared memory region */
	fake_write(&d, VIRTIO_MMIO_SHM_SEL, 0);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_SHM_LEN_LOW), 0xffffffff);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_SHM_LEN_HIGH), 0xffffffff);
	fake_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_DEVICE_FEATURES),
			 (1u << 5) | (1u << 28) | (1u << 29));
	fake_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_DEVICE_FEATURES), 1);
	fake_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

static void test_access_sizes(void **state)
{
	uint64_t v;
	uint8_t b[8];
	uint32_t len;

	(void)state;
	for (len = 1; len <= 8; len++) {
		v = UINT64_MAX;
		virtio_mmio_read(d.slot, VIRTIO_MMIO_MAGIC_VALUE, &v, len);
		if (len == 4)
			assert_int_equal(v, 0xffffffff74726976);
		else if (len == 1 || len == 2 || len == 8)
			assert_int_equal(v, len == 8 ? 0 : UINT64_MAX << (8 * len));
		else
			assert_int_equal(v, UINT64_MAX);
	}
	assert_int_equal(fake_read(&d, 2), 0);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_WINDOW), 0);
	assert_int_equal(fake_read(&d, UINT64_MAX), 0);
	/* Configuration space: any size, zeros behind its end, read-only */
	virtio_mmio_read(d.slot, VIRTIO_MMIO_CONFIG, b, 8);
	assert_memory_equal(b, ((uint8_t[]){1, 2, 3, 4, 5, 6, 0, 0}), 8);
	virtio_mmio_read(d.slot, VIRTIO_MMIO_CONFIG + 5, b, 2);
	assert_memory_equal(b, ((uint8_t[]){6, 0}), 2);
	virtio_mmio_read(d.slot, VIRTIO_MMIO_CONFIG + 6, b, 1);
	assert_int_equal(b[0], 0);
	virtio_mmio_read(d.slot, VIRTIO_MMIO_WINDOW - 1, b, 8);
	assert_int_equal(b[0], 0);
	fake_write(&d, VIRTIO_MMIO_CONFIG, 0);
	virtio_mmio_read(d.slot, VIRTIO_MMIO_CONFIG, b, 1);
	assert_int_equal(b[0], 1);
	v = 0xffffffffffffffff;
	virtio_mmio_write(d.slot, VIRTIO_MMIO_STATUS, &v, 8);
	virtio_mmio_write(d.slot, VIRTIO_MMIO_STATUS, &v, 1);
	virtio_mmio_write(d.slot, VIRTIO_MMIO_STATUS + 1, &v, 4);
	assert_int_equal(status(), 0);
}

static void test_features(void **state)
{
	(void)state;
	assert_true(negotiate(0, 1));
	assert_true(negotiate((1u << 5) | (1u << 28) | (1u << 29), 1));
	assert_false(negotiate(1u << 5, 0)); /* no VERSION_1 */
	assert_false(negotiate(1u << 6, 1)); /* not offered */
	assert_false(negotiate(0, 3));
	assert_false(negotiate(0xffffffff, 0xffffffff));
	/* Above 63 there is nothing to acknowledge */
	assert_true(negotiate(0, 1));
	fake_write(&d, VIRTIO_MMIO_STATUS, 0);
	fake_write(&d, VIRTIO_MMIO_STATUS, 3);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	fake_write(&d, VIRTIO_MMIO_STATUS, 11);
	assert_int_equal(status(), 3);
	/* Settled by FEATURES_OK: later writes change nothing */
	assert_true(negotiate(0, 1));
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	fake_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, 1u << 5);
	fake_write(&d, VIRTIO_MMIO_STATUS, 15);
	assert_int_equal(toy->features, FAKE_F_VERSION_1);
	assert_int_equal(toy->activations, 1);
}

static void test_status_order(void **state)
{
	(void)state;
	/* DRIVER_OK without the steps before it */
	fake_write(&d, VIRTIO_MMIO_STATUS, 4);
	assert_int_equal(status(), 0);
	fake_write(&d, VIRTIO_MMIO_STATUS, 8);
	assert_int_equal(status(), 0);
	fake_write(&d, VIRTIO_MMIO_STATUS, 0xffffffff);
	assert_int_equal(status(), VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
					   VIRTIO_CONFIG_S_FAILED);
	assert_int_equal(toy->activations, 0);
	assert_true(negotiate(0, 1));
	fake_write(&d, VIRTIO_MMIO_STATUS, 15);
	fake_write(&d, VIRTIO_MMIO_STATUS, 15);
	/* Bits are not taken back one by one */
	fake_write(&d, VIRTIO_MMIO_STATUS, 1);
	fake_write(&d, VIRTIO_MMIO_STATUS, 15);
	assert_int_equal(toy->activations, 1);
	assert_int_equal(status(), 15);
	fake_write(&d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(status(), 0);
	assert_false(toy->active);
	fake_write(&d, VIRTIO_MMIO_STATUS, 0);
	/* Again */
	fake_driver_up(&d, FAKE_F_VERSION_1 | TOY_FEATURE, 64);
	assert_int_equal(toy->activations, 2);
	assert_int_equal(toy->features, FAKE_F_VERSION_1 | TOY_FEATURE);
	assert_int_equal(toy->dev.queues[2].size, 64);
	assert_false(toy->dev.queues[0].event_idx);
}

static void write_queue(uint32_t size, uint32_t desc, uint32_t avail, uint32_t used)
{
	fake_write(&d, VIRTIO_MMIO_QUEUE_READY, 0);
	fake_write(&d, VIRTIO_MMIO_QUEUE_NUM, size);
	fake_write(&d, VIRTIO_MMIO_QUEUE_DESC_LOW, desc);
	fake_write(&d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, avail);
	fake_write(&d, VIRTIO_MMIO_QUEUE_USED_LOW, used);
	fake_write(&d, VIRTIO_MMIO_QUEUE_READY, 1);
}

static bool is_ready(void)
{
	return fake_read(&d, VIRTIO_MMIO_QUEUE_READY);
}

static void test_queue_registers(void **state)
{
	(void)state;
	/* Before FEATURES_OK: no */
	fake_write(&d, VIRTIO_MMIO_STATUS, 3);
	write_queue(16, 0x1000, 0x2000, 0x3000);
	assert_false(is_ready());
	assert_true(negotiate(0, 1));
	write_queue(0, 0x1000, 0x2000, 0x3000);
	assert_false(is_ready());
	write_queue(3, 0x1000, 0x2000, 0x3000);
	assert_false(is_ready());
	write_queue(256, 0x1000, 0x2000, 0x3000);
	assert_false(is_ready());
	write_queue(0x10010, 0x1000, 0x2000, 0x3000);
	assert_false(is_ready());
	write_queue(16, 0x1008, 0x2000, 0x3000);
	assert_false(is_ready());
	write_queue(16, 0x1000, 0xfffffffe, 0x3000);
	assert_false(is_ready());
	write_queue(16, 0x1000, 0x2000, FAKE_MEMORY - 4);
	assert_false(is_ready());
	fake_write(&d, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0xffffffff);
	write_queue(16, 0x1000, 0x2000, 0x3000);
	assert_false(is_ready());
	fake_write(&d, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0);
	write_queue(16, 0x1000, 0x2000, 0x3000);
	assert_true(is_ready());
	/* Ready: it holds still */
	fake_write(&d, VIRTIO_MMIO_QUEUE_NUM, 32);
	fake_write(&d, VIRTIO_MMIO_QUEUE_USED_LOW, 0);
	assert_int_equal(toy->dev.queues[0].size, 16);
	assert_int_equal(toy->dev.queues[0].used, 0x3000);
	fake_write(&d, VIRTIO_MMIO_STATUS, 15);
	fake_write(&d, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_true(is_ready());
	fake_write(&d, VIRTIO_MMIO_QUEUE_SEL, 1);
	write_queue(16, 0x1000, 0x2000, 0x3000);
	assert_false(is_ready());
	fake_write(&d, VIRTIO_MMIO_STATUS, 0);
	assert_false(is_ready());
	assert_int_equal(toy->dev.queues[0].size, 0);
}

static void test_kicks(void **state)
{
	eventfd_t n;
	int fd;

	(void)state;
	fake_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0); /* nobody there yet */
	fake_driver_up(&d, FAKE_F_VERSION_1, 16);
	fd = d.queues[1].kick_fd;
	assert_true(fd >= 0);
	assert_int_equal(fd, toy->dev.queues[1].kick_fd);
	assert_int_equal(eventfd_read(fd, &n), -1);
	/* The exit's way does the same as the tied descriptor */
	fake_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	assert_int_equal(eventfd_read(fd, &n), 0);
	fake_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, TOY_QUEUES);
	fake_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0x10001);
	assert_int_equal(eventfd_read(fd, &n), -1);
	/* A reset unties it and forgets old kicks */
	fake_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	fake_write(&d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(d.queues[1].kick_fd, -1);
	assert_int_equal(eventfd_read(toy->dev.queues[1].kick_fd, &n), -1);
}

static void test_interrupts(void **state)
{
	eventfd_t n;
	int irq = virtio_mmio_irq_fd(d.slot);
	uint32_t generation = fake_read(&d, VIRTIO_MMIO_CONFIG_GENERATION);

	(void)state;
	fake_driver_up(&d, FAKE_F_VERSION_1, 16);
	assert_int_equal(eventfd_read(irq, &n), -1);
	toy->dev.interrupt(&toy->dev, false);
	assert_int_equal(eventfd_read(irq, &n), 0);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 1);
	toy->dev.interrupt(&toy->dev, true);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	assert_int_not_equal(fake_read(&d, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	assert_int_equal(eventfd_read(irq, &n), 0);
	/* Queues always may have something; the configuration's bit stays until it is acknowledged, and needs no new edge */
	fake_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, 1);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	fake_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, 0xffffffff);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 1);
	assert_int_equal(eventfd_read(irq, &n), -1);
	/* Whoever has the descriptor needs no call */
	assert_int_equal(eventfd_write(toy->dev.irq_fd, 1), 0);
	assert_int_equal(eventfd_read(irq, &n), 0);
	toy->dev.interrupt(&toy->dev, false);
	fake_write(&d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void test_broken(void **state)
{
	eventfd_t n;

	(void)state;
	/* Before DRIVER_OK there is nobody to be told */
	virtio_dev_broken(&toy->dev, "test");
	assert_int_equal(status(), VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	fake_driver_up(&d, FAKE_F_VERSION_1, 16);
	assert_int_equal(status(), 15);
	virtio_dev_broken(&toy->dev, "test");
	virtio_dev_broken(&toy->dev, "test");
	assert_int_equal(status(), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS),
			 VIRTIO_MMIO_INT_CONFIG | VIRTIO_MMIO_INT_VRING);
	assert_int_equal(eventfd_read(virtio_mmio_irq_fd(d.slot), &n), 0);
	assert_int_equal(n, 1);
	/* A device that cannot start is broken too */
	toy->fail = true;
	fake_driver_up(&d, FAKE_F_VERSION_1, 16);
	assert_int_equal(status(), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(d.queues[0].kick_fd, -1);
}

static void test_placeholder(void **state)
{
	struct virtio_mmio_host host = {0};
	struct virtio_mmio *slot = virtio_mmio_new(NULL, &d.mem, &host, NULL, NULL);
	uint32_t v, reg;

	(void)state;
	assert_non_null(slot);
	assert_true(virtio_mmio_irq_fd(slot) >= 0);
	for (reg = 0; reg < VIRTIO_MMIO_WINDOW; reg += 4) {
		v = 0xffffffff;
		virtio_mmio_write(slot, reg, &v, 4);
		virtio_mmio_read(slot, reg, &v, 4);
		assert_int_equal(v, reg == VIRTIO_MMIO_MAGIC_VALUE ? 0x74726976
				    : reg == VIRTIO_MMIO_VERSION   ? 2
				    : reg == VIRTIO_MMIO_VENDOR_ID ? 0x53494143
								   : 0);
	}
	virtio_mmio_free(slot);
	virtio_mmio_free(NULL);
}

/* The window given by the machine holds what a read gives, after each write */
static void test_window(void **state)
{
	static uint32_t window[VIRTIO_MMIO_WINDOW / 4];
	struct virtio_mmio *first = d.slot;
	struct toy *t = calloc(1, sizeof(*t));

	(void)state;
	assert_non_null(t);
	t->dev.ops = &toy_ops;
	d.slot = virtio_mmio_new(&t->dev, &d.mem, &d.host, window, NULL);
	assert_non_null(d.slot);
	assert_int_equal(window[VIRTIO_MMIO_DEVICE_ID / 4], 42);
	assert_int_equal(window[VIRTIO_MMIO_CONFIG / 4], 0x04030201);
	assert_int_equal(window[VIRTIO_MMIO_CONFIG / 4 + 1], 0x0605);
	fake_driver_up(&d, FAKE_F_VERSION_1, 16);
	assert_int_equal(window[VIRTIO_MMIO_STATUS / 4], 15);
	assert_int_equal(window[VIRTIO_MMIO_QUEUE_READY / 4], 1);
	assert_int_equal(window[VIRTIO_MMIO_QUEUE_NUM_MAX / 4], 128);
	fake_write(&d, VIRTIO_MMIO_QUEUE_SEL, TOY_QUEUES);
	assert_int_equal(window[VIRTIO_MMIO_QUEUE_READY / 4], 0);
	assert_int_equal(window[VIRTIO_MMIO_QUEUE_NUM_MAX / 4], 0);
	fake_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(window[VIRTIO_MMIO_DEVICE_FEATURES / 4], 1);
	fake_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_int_equal(window[VIRTIO_MMIO_DEVICE_FEATURES / 4], 0x30000020);
	for (uint32_t reg = 0; reg < VIRTIO_MMIO_WINDOW; reg += 4)
		assert_int_equal(fake_read(&d, reg), window[reg / 4]);
	virtio_dev_broken(&t->dev, "test");
	assert_int_equal(window[VIRTIO_MMIO_STATUS / 4], 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(virtio_mmio_unplug(d.slot), 0);
	assert_int_equal(window[VIRTIO_MMIO_DEVICE_ID / 4], 0);
	assert_int_equal(window[VIRTIO_MMIO_CONFIG / 4], 0);
	assert_int_equal(window[0], 0x74726976);
	virtio_mmio_free(d.slot);
	d.slot = first;
}

static struct virtio_dev *another_toy(void)
{
	struct toy *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->dev.ops = &toy_ops;
	return &t->dev;
}

/* A placeholder that is filled, driven, emptied under a driver that is still there, and filled again */
static void test_plug(void **state)
{
	struct virtio_mmio *first = d.slot;
	int freed = toys_freed;
	struct err err;

	(void)state;
	d.slot = virtio_mmio_new(NULL, &d.mem, &d.host, NULL, NULL);
	assert_non_null(d.slot);
	assert_int_equal(virtio_mmio_unplug(d.slot), -ENODEV);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(virtio_mmio_plug(d.slot, another_toy(), &err), 0);
		assert_int_equal(virtio_mmio_plug(d.slot, another_toy(), &err), -EBUSY);
		assert_int_equal(toys_freed, ++freed);
		assert_int_equal(fake_read(&d, VIRTIO_MMIO_DEVICE_ID), 42);
		fake_driver_up(&d, FAKE_F_VERSION_1, 16);
		assert_true(d.queues[0].kick_fd >= 0);
		assert_int_equal(virtio_mmio_unplug(d.slot), 0);
		assert_int_equal(toys_freed, ++freed);
		assert_int_equal(d.queues[0].kick_fd, -1);
		assert_int_equal(fake_read(&d, VIRTIO_MMIO_DEVICE_ID), 0);
		assert_int_equal(status(), 0);
		fake_write(&d, VIRTIO_MMIO_STATUS, 0);
		fake_write(&d, VIRTIO_MMIO_STATUS, 1);
		fake_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		fake_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, 3);
		assert_int_equal(status(), 0);
	}
	virtio_mmio_free(d.slot);
	d.slot = first;
}

static void test_without_host(void **state)
{
	struct virtio_mmio_host host = {0};
	struct toy *t = calloc(1, sizeof(*t));
	struct virtio_mmio *slot;
	uint32_t v = 0;

	(void)state;
	assert_non_null(t);
	t->dev.ops = &toy_ops;
	slot = virtio_mmio_new(&t->dev, &d.mem, &host, NULL, NULL);
	assert_non_null(slot);
	virtio_mmio_write(slot, VIRTIO_MMIO_STATUS, &v, 4);
	virtio_mmio_free(slot);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Any order of any writes, from two vCPUs; mostly to registers that exist, mostly with values that mean something */
static void *write_randomly(void *arg)
{
	static const uint32_t values[] = {0,   1,      3,      11,     15,	  16,
					  128, 0x1000, 0x2000, 0x3000, 0xffffffff};
	uint32_t seed = (uint32_t)(uintptr_t)arg, i;

	for (i = 0; i < 30000; i++) {
		uint32_t reg = next_random(&seed) % (VIRTIO_MMIO_WINDOW / 4) * 4;
		uint32_t value = next_random(&seed) % 4 ? values[next_random(&seed) % 11]
							: next_random(&seed) << 8;

		if (next_random(&seed) % 4 == 0)
			reg = VIRTIO_MMIO_STATUS;
		if (next_random(&seed) % 3)
			fake_write(&d, reg, value);
		else
			(void)fake_read(&d, reg);
		if (next_random(&seed) % 16 == 0)
			virtio_mmio_write(d.slot, reg, &value, next_random(&seed) % 2 ? 1 : 2);
	}
	return NULL;
}

static void test_random(void **state)
{
	pthread_t threads[2];
	uintptr_t i;

	(void)state;
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_randomly, (void *)(i + 1)),
				 0);
	for (i = 0; i < 2; i++)
		(void)pthread_join(threads[i], NULL);
	/* It still works */
	fake_driver_up(&d, FAKE_F_VERSION_1, 16);
	assert_int_equal(status(), 15);
	assert_true(toy->active);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_identity),	 TEST(test_access_sizes),    TEST(test_features),
		TEST(test_status_order), TEST(test_queue_registers), TEST(test_kicks),
		TEST(test_interrupts),	 TEST(test_broken),	     TEST(test_placeholder),
		TEST(test_plug),	 TEST(test_window),	     TEST(test_without_host),
		TEST(test_random),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
