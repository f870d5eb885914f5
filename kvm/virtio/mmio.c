/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport (virtio 1.2 §4.2), its registers and the device life cycle of §3.1.
 *
 *   status 0 ─ACKNOWLEDGE, DRIVER─▶ features ─FEATURES_OK─▶ queues ─DRIVER_OK─▶ active ──0──▶ status 0
 *                                                              └── broken(): DEVICE_NEEDS_RESET ──┘
 *
 * Registers are written by the guest in any order, with any value, from several vCPUs at once. One lock per slot orders
 * them; each write is checked against the state it is allowed in and ignored otherwise, so that a device only ever sees queues
 * that virtq_setup() has passed, and sees them change only while it is reset.
 *
 * Reads are memory. All registers that can be read lie in a window laid out as the guest sees it, which is kept as it has to be:
 * after each write (a selector changes what others show), and when a device comes or goes. Where the machine can map it
 * into the guest, read-only, no read leaves the guest. The window is never read back as input but for the words that are
 * ours in the first place (Status, InterruptStatus), and the guest cannot write it.
 *
 * Device threads never take the lock, since reset() joins them while holding it: what they touch (Status for
 * DEVICE_NEEDS_RESET, InterruptStatus, ConfigGeneration) is atomic, and Status bits are only ever or-ed in.
 *
 * The device itself comes and goes under the lock too (virtio_mmio_plug()); without one a slot is a placeholder (§4.2.2.1).
 *
 * Interrupts. The irqfd pulses an edge-triggered line, which is one slot's own. So "a queue has used buffers" need not be told from
 * nothing: InterruptStatus shows it from DRIVER_OK on, at the price of a look at the rings when only the configuration changed, and
 * its acknowledgement means nothing (the machine has KVM swallow it). A device, or the host's kernel in its place, just
 * writes to irq_fd. An edge is not lost: one that comes while the driver looks makes it look again. The configuration's bit is
 * set before its pulse and stays until it is acknowledged.
 */
#include "kvm/virtio/mmio.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define MMIO_MAGIC 0x74726976u /* "virt" */
#define MMIO_VERSION 2u
#define MMIO_VENDOR 0x53494143u /* "CAIS" */
#define MMIO_NONE \
	0xffffffffu /* both halves of the length of a shared memory region that does not exist (§4.2.2) */

#define MMIO_FEATURES                                                                       \
	(VIRTIO_F_BIT(VIRTIO_BIT_VERSION_1) | VIRTIO_F_BIT(VIRTIO_BIT_RING_INDIRECT_DESC) | \
	 VIRTIO_F_BIT(VIRTIO_BIT_RING_EVENT_IDX))

struct virtio_mmio {
	const struct virtio_mmio_host *host; /* borrowed */
	const struct gmem *mem;		     /* borrowed */
	int irq_fd;			     /* owned */
	pthread_mutex_t pulse_lock;	     /* innermost: of device threads */
	uint32_t *window; /* registers and configuration as they read; atomic words */
	uint32_t
		own_window[VIRTIO_MMIO_WINDOW / sizeof(uint32_t)]; /* unless the machine gave one */

	pthread_mutex_t
		lock; /* guards all below, and the device's queues until they are activated */
	struct virtio_dev *dev; /* owned; NULL in a placeholder */
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint32_t queue_sel;
	uint64_t driver_features;
	uint32_t wired;		  /* bit n: the host ties queue n's kick_fd */
	struct log_ratelimit log; /* used by whoever sets DEVICE_NEEDS_RESET, one at a time */
};

/* ---- what device threads call: no lock ---- */

/*
 * Both ways at once could merge two edges into one, of which the driver has seen the first (raise, raise, lower, lower): hence
 * one way per device, and one thread at a time. The lock is held for two system calls, and by nobody who waits.
 */
static void pulse(struct virtio_mmio *slot, const struct virtio_dev *dev)
{
	if (!slot->host->pulse || dev->irq_by_fd) {
		(void)eventfd_write(slot->irq_fd, 1);
		return;
	}
	(void)pthread_mutex_lock(&slot->pulse_lock);
	slot->host->pulse(slot->host->arg, slot);
	(void)pthread_mutex_unlock(&slot->pulse_lock);
}

static uint32_t *reg(const struct virtio_mmio *slot, uint32_t offset)
{
	return &slot->window[offset / sizeof(uint32_t)];
}

static void show(struct virtio_mmio *slot, uint32_t offset, uint32_t value)
{
	__atomic_store_n(reg(slot, offset), htole32(value), __ATOMIC_SEQ_CST);
}

/* The configuration space is written by bytes of the device's, whole words at a time */
static void show_config(struct virtio_mmio *slot)
{
	const struct virtio_ops *ops = slot->dev->ops;
	uint32_t space[(VIRTIO_MMIO_WINDOW - VIRTIO_MMIO_CONFIG) / sizeof(uint32_t)] = {0};

	if (ops->config_len)
		ops->config_read(slot->dev, 0, space, ops->config_len);
	for (uint32_t i = 0; i < ARRAY_SIZE(space); i++)
		__atomic_store_n(reg(slot, VIRTIO_MMIO_CONFIG) + i, space[i], __ATOMIC_RELAXED);
}

static void interrupt_config(struct virtio_mmio *slot, const struct virtio_dev *dev)
{
	(void)__atomic_or_fetch(reg(slot, VIRTIO_MMIO_INTERRUPT_STATUS),
				htole32(VIRTIO_MMIO_INT_CONFIG), __ATOMIC_SEQ_CST);
	pulse(slot, dev);
}

static void on_interrupt(struct virtio_dev *dev, bool config_changed)
{
	struct virtio_mmio *slot = dev->transport;

	if (!config_changed) {
		pulse(slot, dev);
		return;
	}
	show_config(slot);
	/* (hosts are little-endian, as their guests) */
	(void)__atomic_add_fetch(reg(slot, VIRTIO_MMIO_CONFIG_GENERATION), 1, __ATOMIC_SEQ_CST);
	interrupt_config(slot, dev);
}

static void on_show(struct virtio_dev *dev)
{
	show_config(dev->transport);
}

static void on_broken(struct virtio_dev *dev, const char *why)
{
	struct virtio_mmio *slot = dev->transport;
	uint32_t old;

	old = __atomic_fetch_or(reg(slot, VIRTIO_MMIO_STATUS), VIRTIO_CONFIG_S_NEEDS_RESET,
				__ATOMIC_SEQ_CST);
	if (old & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	log_guest_warn(&slot->log, "%s: %s, the device needs a reset", dev->ops->name, why);
	if (old & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt_config(slot, dev);
}

/* ---- life cycle ---- */

static uint32_t get_status(const struct virtio_mmio *slot)
{
	return __atomic_load_n(reg(slot, VIRTIO_MMIO_STATUS), __ATOMIC_SEQ_CST);
}

static uint64_t offered_features(const struct virtio_mmio *slot)
{
	return slot->dev->ops->features | MMIO_FEATURES;
}

static bool features_are_acceptable(const struct virtio_mmio *slot)
{
	return !(slot->driver_features & ~offered_features(slot)) &&
	       (slot->driver_features & VIRTIO_F_BIT(VIRTIO_BIT_VERSION_1));
}

static void wire_kicks(struct virtio_mmio *slot)
{
	const struct virtio_dev *dev = slot->dev;
	uint16_t i;

	if (!slot->host->ioeventfd)
		return;
	for (i = 0; i < dev->ops->nqueues; i++) {
		if (!dev->queues[i].enabled)
			continue;
		if (!slot->host->ioeventfd(slot->host->arg, slot, i, dev->queues[i].kick_fd, true))
			slot->wired |= 1u << i;
	}
}

static void unwire_kicks(struct virtio_mmio *slot)
{
	const struct virtio_dev *dev = slot->dev;
	uint16_t i;

	for (i = 0; i < dev->ops->nqueues; i++) {
		if (slot->wired & (1u << i))
			(void)slot->host->ioeventfd(slot->host->arg, slot, i,
						    dev->queues[i].kick_fd, false);
	}
	slot->wired = 0;
}

static void activate_device(struct virtio_mmio *slot)
{
	struct virtio_dev *dev = slot->dev;
	struct err err = {0};
	uint16_t i;
	int r;

	dev->features = slot->driver_features;
	for (i = 0; i < dev->ops->nqueues; i++)
		dev->queues[i].event_idx = dev->features & VIRTIO_F_BIT(VIRTIO_BIT_RING_EVENT_IDX);
	r = dev->ops->activate(dev, &err);
	if (r < 0) {
		virtio_dev_broken(dev, err.code ? err.msg : "cannot be activated");
		return;
	}
	wire_kicks(slot);
}

static void clear_queue(struct virtq *q, const struct gmem *mem, uint16_t index)
{
	int kick_fd = q->kick_fd;
	eventfd_t count;

	*q = (struct virtq){.mem = mem, .index = index, .kick_fd = kick_fd};
	(void)eventfd_read(kick_fd, &count);
}

static void clear_registers(struct virtio_mmio *slot)
{
	slot->driver_features = 0;
	slot->device_features_sel = slot->driver_features_sel = slot->queue_sel = 0;
	show(slot, VIRTIO_MMIO_INTERRUPT_STATUS, 0);
	show(slot, VIRTIO_MMIO_STATUS, 0);
}

static void reset_device(struct virtio_mmio *slot)
{
	struct virtio_dev *dev = slot->dev;
	uint16_t i;

	unwire_kicks(slot);
	dev->ops->reset(dev);
	/* No thread of the device runs any more */
	for (i = 0; i < dev->ops->nqueues; i++)
		clear_queue(&dev->queues[i], dev->mem, i);
	dev->features = 0;
	clear_registers(slot);
}

/*
 * The driver sets bits one after the other and may clear them only all at once (§2.1.1). A bit that may not be set yet stays
 * clear, which for FEATURES_OK is how a device says no (§3.1.1 step 6).
 */
static void write_status(struct virtio_mmio *slot, uint32_t value)
{
	uint32_t old = get_status(slot), wanted = value & ~old, now;

	if (!value) {
		reset_device(slot);
		return;
	}
	now = old | (wanted & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			       VIRTIO_CONFIG_S_FAILED));
	if ((wanted & VIRTIO_CONFIG_S_FEATURES_OK) && (now & VIRTIO_CONFIG_S_DRIVER) &&
	    features_are_acceptable(slot))
		now |= VIRTIO_CONFIG_S_FEATURES_OK;
	if ((wanted & VIRTIO_CONFIG_S_DRIVER_OK) && (now & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    !(now & VIRTIO_CONFIG_S_FAILED))
		now |= VIRTIO_CONFIG_S_DRIVER_OK;
	(void)__atomic_or_fetch(reg(slot, VIRTIO_MMIO_STATUS), now, __ATOMIC_SEQ_CST);
	if (now & ~old & VIRTIO_CONFIG_S_DRIVER_OK) {
		(void)__atomic_or_fetch(reg(slot, VIRTIO_MMIO_INTERRUPT_STATUS),
					htole32(VIRTIO_MMIO_INT_VRING), __ATOMIC_SEQ_CST);
		activate_device(slot);
	}
}

/* ---- registers ---- */

static struct virtq *selected_queue(struct virtio_mmio *slot)
{
	return slot->queue_sel < slot->dev->ops->nqueues ? &slot->dev->queues[slot->queue_sel]
							 : NULL;
}

static uint32_t half(uint64_t value, uint32_t sel)
{
	return sel == 0 ? (uint32_t)value : sel == 1 ? (uint32_t)(value >> 32) : 0;
}

static void set_half(uint64_t *value, bool high, uint32_t part)
{
	if (high)
		*value = (*value & 0xffffffffull) | (uint64_t)part << 32;
	else
		*value = (*value & ~0xffffffffull) | part;
}

/* What depends on selectors and queues; with the lock held and a device */
static void show_registers(struct virtio_mmio *slot)
{
	const struct virtq *q = selected_queue(slot);

	show(slot, VIRTIO_MMIO_DEVICE_FEATURES,
	     half(offered_features(slot), slot->device_features_sel));
	show(slot, VIRTIO_MMIO_QUEUE_NUM_MAX, q ? slot->dev->ops->queue_max : 0);
	show(slot, VIRTIO_MMIO_QUEUE_READY, q && q->enabled);
}

/* A device has come, or gone: everything; its id last, so that whoever sees it sees the rest */
static void show_device(struct virtio_mmio *slot)
{
	/* The DAX window of virtio-fs will be region 0; until then no region exists */
	uint32_t shm = slot->dev ? MMIO_NONE : 0;

	if (slot->dev) {
		show_config(slot);
		show_registers(slot);
	} else {
		show(slot, VIRTIO_MMIO_DEVICE_ID, 0);
		for (uint32_t i = VIRTIO_MMIO_DEVICE_FEATURES; i < VIRTIO_MMIO_WINDOW; i += 4)
			show(slot, i, 0);
	}
	show(slot, VIRTIO_MMIO_MAGIC_VALUE, MMIO_MAGIC);
	show(slot, VIRTIO_MMIO_VERSION, MMIO_VERSION);
	show(slot, VIRTIO_MMIO_VENDOR_ID, MMIO_VENDOR);
	show(slot, VIRTIO_MMIO_SHM_LEN_LOW, shm);
	show(slot, VIRTIO_MMIO_SHM_LEN_HIGH, shm);
	show(slot, VIRTIO_MMIO_SHM_BASE_LOW, shm);
	show(slot, VIRTIO_MMIO_SHM_BASE_HIGH, shm);
	if (slot->dev)
		show(slot, VIRTIO_MMIO_DEVICE_ID, slot->dev->ops->id);
}

static void write_driver_features(struct virtio_mmio *slot, uint32_t value)
{
	/* Settled once FEATURES_OK stands (§3.1.1) */
	if ((get_status(slot) & VIRTIO_CONFIG_S_FEATURES_OK) || slot->driver_features_sel > 1) {
		/* Bits above 63 do not exist here: remember that the driver wanted one by a bit that is never offered */
		if (value && !(get_status(slot) & VIRTIO_CONFIG_S_FEATURES_OK))
			slot->driver_features |= VIRTIO_F_BIT(63);
		return;
	}
	set_half(&slot->driver_features, slot->driver_features_sel == 1, value);
}

static void write_queue_ready(struct virtq *q, uint32_t value)
{
	if (!value)
		q->enabled = false;
	else if (!q->enabled && virtq_setup(q) == 0)
		q->enabled = true;
}

/* Registers of the selected queue; they hold still from DRIVER_OK to the next reset, all but Ready from Ready on */
static void write_queue_register(struct virtio_mmio *slot, uint64_t offset, uint32_t value)
{
	struct virtq *q = selected_queue(slot);
	uint32_t status = get_status(slot);

	if (!q || !(status & VIRTIO_CONFIG_S_FEATURES_OK) || (status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		write_queue_ready(q, value);
		return;
	}
	if (q->enabled)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		q->size = value <= slot->dev->ops->queue_max ? (uint16_t)value : 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&q->desc, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&q->avail, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&q->used, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	default:
		break;
	}
}

/* A kick that came as an exit: the queue is not wired, or the device not active */
static void write_notify(struct virtio_mmio *slot, uint32_t queue)
{
	if (!(get_status(slot) & VIRTIO_CONFIG_S_DRIVER_OK) || queue >= slot->dev->ops->nqueues ||
	    !slot->dev->queues[queue].enabled)
		return;
	(void)eventfd_write(slot->dev->queues[queue].kick_fd, 1);
}

static void write_register(struct virtio_mmio *slot, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		slot->device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		slot->driver_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		write_driver_features(slot, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		slot->queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		write_notify(slot, value);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(slot, value);
		break;
	default:
		write_queue_register(slot, offset, value);
		break;
	}
}

void virtio_mmio_read(struct virtio_mmio *slot, uint64_t offset, void *data, uint32_t len)
{
	uint32_t word = 0;

	if (len != 1 && len != 2 && len != 4 && len != 8)
		return;
	memset(data, 0, len);
	/* §4.2.2.2: registers are read and written as aligned 32 bits */
	if (offset < VIRTIO_MMIO_CONFIG && (len != sizeof(uint32_t) || offset % len))
		return;
	/* Each word is read once, so that none is seen half written */
	for (uint64_t at = offset; at < offset + len && at < VIRTIO_MMIO_WINDOW; at++) {
		if (at == offset || at % 4 == 0)
			word = le32toh(__atomic_load_n(&slot->window[at / 4], __ATOMIC_SEQ_CST));
		((uint8_t *)data)[at - offset] = (uint8_t)(word >> (at % 4 * 8));
	}
}

static void acknowledge(struct virtio_mmio *slot, uint32_t bits)
{
	(void)__atomic_and_fetch(reg(slot, VIRTIO_MMIO_INTERRUPT_STATUS),
				 ~htole32(bits & VIRTIO_MMIO_INT_CONFIG), __ATOMIC_SEQ_CST);
}

void virtio_mmio_write(struct virtio_mmio *slot, uint64_t offset, const void *data, uint32_t len)
{
	uint32_t value;

	/* Configuration space is read-only in all our devices */
	if (len != sizeof(value) || offset >= VIRTIO_MMIO_CONFIG)
		return;
	memcpy(&value, data, sizeof(value));
	value = le32toh(value);
	if (offset == VIRTIO_MMIO_INTERRUPT_ACK) {
		acknowledge(slot, value);
		return;
	}
	(void)pthread_mutex_lock(&slot->lock);
	if (slot->dev) {
		write_register(slot, offset, value);
		show_registers(slot);
	}
	(void)pthread_mutex_unlock(&slot->lock);
}

int virtio_mmio_irq_fd(const struct virtio_mmio *slot)
{
	return slot->irq_fd;
}

/* ---- making and freeing ---- */

/* One that no slot has, or has any more */
static void drop_device(struct virtio_dev *dev)
{
	dev->ops->reset(dev);
	dev->ops->free(dev);
}

static void free_device(struct virtio_dev *dev)
{
	uint16_t i;

	dev->ops->reset(dev);
	for (i = 0; i < VIRTIO_QUEUES_MAX; i++)
		close_fd(&dev->queues[i].kick_fd);
	dev->ops->free(dev);
}

/* Makes @dev the slot's; on failure it is freed. With the lock held, or nobody else knowing the slot */
static int attach_device(struct virtio_mmio *slot, struct virtio_dev *dev, struct err *err)
{
	int r = 0;
	uint16_t i;

	assert(dev->ops->nqueues <= VIRTIO_QUEUES_MAX && dev->ops->queue_max <= VIRTQ_SIZE_MAX);
	for (i = 0; i < VIRTIO_QUEUES_MAX; i++)
		dev->queues[i].kick_fd = -1;
	dev->mem = slot->mem;
	dev->transport = slot;
	dev->irq_fd = slot->irq_fd;
	dev->interrupt = on_interrupt;
	dev->show_config = on_show;
	dev->broken = on_broken;
	for (i = 0; i < dev->ops->nqueues && r == 0; i++) {
		dev->queues[i].kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (dev->queues[i].kick_fd < 0)
			r = err_sys(err, errno, "%s: cannot create an event descriptor",
				    dev->ops->name);
		else
			clear_queue(&dev->queues[i], slot->mem, i);
	}
	if (r < 0) {
		free_device(dev);
		return r;
	}
	slot->dev = dev;
	show_device(slot);
	return 0;
}

static void detach_device(struct virtio_mmio *slot)
{
	show(slot, VIRTIO_MMIO_DEVICE_ID, 0);
	unwire_kicks(slot);
	free_device(slot->dev);
	slot->dev = NULL;
	clear_registers(slot);
	show_device(slot);
}

int virtio_mmio_plug(struct virtio_mmio *slot, struct virtio_dev *dev, struct err *err)
{
	int r = -EBUSY;

	(void)pthread_mutex_lock(&slot->lock);
	if (!slot->dev) {
		r = attach_device(slot, dev, err);
	} else {
		drop_device(dev);
		(void)err_set(err, EBUSY, "the slot has a device");
	}
	(void)pthread_mutex_unlock(&slot->lock);
	return r;
}

int virtio_mmio_unplug(struct virtio_mmio *slot)
{
	int r = -ENODEV;

	(void)pthread_mutex_lock(&slot->lock);
	if (slot->dev) {
		detach_device(slot);
		r = 0;
	}
	(void)pthread_mutex_unlock(&slot->lock);
	return r;
}

void virtio_mmio_memory_changed(struct virtio_mmio *slot)
{
	(void)pthread_mutex_lock(&slot->lock);
	if (slot->dev && slot->dev->ops->memory_changed)
		slot->dev->ops->memory_changed(slot->dev);
	(void)pthread_mutex_unlock(&slot->lock);
}

struct virtio_mmio *virtio_mmio_new(struct virtio_dev *dev, const struct gmem *mem,
				    const struct virtio_mmio_host *host, void *window,
				    struct err *err)
{
	struct virtio_mmio *slot = calloc(1, sizeof(*slot));

	if (slot) {
		slot->host = host;
		slot->mem = mem;
		slot->window = window ? window : slot->own_window;
		(void)pthread_mutex_init(&slot->lock, NULL);
		(void)pthread_mutex_init(&slot->pulse_lock, NULL);
		slot->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	if (!slot || slot->irq_fd < 0) {
		(void)err_sys(err, slot ? errno : ENOMEM, "Cannot make a virtio slot");
		if (dev)
			drop_device(dev);
		virtio_mmio_free(slot);
		return NULL;
	}
	show_device(slot);
	if (dev && attach_device(slot, dev, err) < 0) {
		virtio_mmio_free(slot);
		return NULL;
	}
	return slot;
}

void virtio_mmio_free(struct virtio_mmio *slot)
{
	if (!slot)
		return;
	if (slot->dev)
		detach_device(slot);
	close_fd(&slot->irq_fd);
	(void)pthread_mutex_destroy(&slot->lock);
	(void)pthread_mutex_destroy(&slot->pulse_lock);
	free(slot);
}
