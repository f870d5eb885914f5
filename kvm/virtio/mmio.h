/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport, version 2 (virtio 1.2 §4.2): one slot of VIRTIO_MMIO_WINDOW bytes per device.
 *
 *   vCPU thread ──read/write in the window──▶ virtio_mmio_read/write()
 *   vCPU ──read in the window──▶ the slot's registers page, read-only memory of the guest: no exit at all
 *   guest's QueueNotify ──KVM ioeventfd──▶ virtq.kick_fd        (a plain exit that writes QueueNotify works as well)
 *   device (or the host's kernel for it) ──irq_fd──▶ KVM irqfd ──▶ the slot's GSI, edge-triggered
 *
 * The transport never calls KVM: the machine gives it callbacks and ties virtio_mmio_irq_fd() to a GSI.
 */
#ifndef KVM_VIRTIO_MMIO_H
#define KVM_VIRTIO_MMIO_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/gmem.h"
#include "kvm/virtio/virtio.h"
#include "lib/err.h"

#define VIRTIO_MMIO_WINDOW 0x200	/* bytes of one slot */
#define VIRTIO_MMIO_NOTIFY_OFFSET 0x050 /* QueueNotify: a 32-bit write of the queue's index */
#define VIRTIO_MMIO_ACK_OFFSET \
	0x064 /* InterruptACK; the value below does nothing, and need not come here */
#define VIRTIO_MMIO_ACK_QUEUES 1u

struct virtio_mmio;

/* What the machine does for its slots; must outlive them */
struct virtio_mmio_host {
	void *arg;
	/*
	 * Tie (@add) or untie @fd to 4-byte writes of the value @queue to the slot's QueueNotify (KVM_IOEVENTFD with
	 * DATAMATCH). Called when the driver starts or resets the device, on its vCPU thread under the slot's lock, never from
	 * within virtio_mmio_new(); must not call back into the slot. May be NULL or fail (-errno): kicks then come by exits.
	 */
	int (*ioeventfd)(void *arg, struct virtio_mmio *slot, uint16_t queue, int fd, bool add);
	/*
	 * Pulse the slot's line at once. Any thread, one at a time per slot. May be NULL: then virtio_mmio_irq_fd() is written, which
	 * takes KVM longer (an interrupt controller's pin is raised from a work queue).
	 */
	void (*pulse)(void *arg, struct virtio_mmio *slot);
};

/**
 * virtio_mmio_new() - Make a slot
 * @dev:	Owned from now on, also on failure (reset and freed); NULL: a placeholder with device id 0 (§4.2.2.1)
 * @mem, @host:	Borrowed for the slot's life
 * @window:	VIRTIO_MMIO_WINDOW bytes of zeros, borrowed for the slot's life, that always hold what a read gives: memory that
 *		the guest can read and not write. NULL: reads come by virtio_mmio_read() only.
 *
 * Return: the slot, or NULL with @err filled
 */
struct virtio_mmio *virtio_mmio_new(struct virtio_dev *dev, const struct gmem *mem,
				    const struct virtio_mmio_host *host, void *window,
				    struct err *err);

/**
 * virtio_mmio_plug() - Fill a placeholder while the guest runs
 * @dev:	As for virtio_mmio_new()
 * Return: 0, -EBUSY if the slot has a device, -errno; @err filled
 */
int virtio_mmio_plug(struct virtio_mmio *slot, struct virtio_dev *dev, struct err *err);

/**
 * virtio_mmio_unplug() - Reset and free the slot's device: it is a placeholder again
 * A driver that is still bound reads zeros and is not heard. Return: 0, or -ENODEV if there is none
 */
int virtio_mmio_unplug(struct virtio_mmio *slot);

/** virtio_mmio_memory_changed() - Guest memory has grown: tell the slot's device */
void virtio_mmio_memory_changed(struct virtio_mmio *slot);

/** virtio_mmio_free() - Stop and free the device, then the slot; the machine has stopped its vCPUs; NULL allowed */
void virtio_mmio_free(struct virtio_mmio *slot);

/** virtio_mmio_irq_fd() - The eventfd to be given to KVM_IRQFD; owned by the slot */
int virtio_mmio_irq_fd(const struct virtio_mmio *slot);

/**
 * virtio_mmio_read() - Answer a read of @len bytes at @offset of the window
 * virtio_mmio_write() - Take a write
 *
 * For KVM_EXIT_MMIO; any vCPU thread. @len 1, 2, 4 or 8. What the specification does not define reads as zeros and is
 * ignored when written. A write of 0 to Status returns once the device's threads have ended.
 */
void virtio_mmio_read(struct virtio_mmio *slot, uint64_t offset, void *data, uint32_t len);
void virtio_mmio_write(struct virtio_mmio *slot, uint64_t offset, const void *data, uint32_t len);

#endif
