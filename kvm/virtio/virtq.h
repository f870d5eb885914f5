/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue, the device's side (virtio 1.2 §2.7).
 *
 * The queue lies in guest memory and the driver may write anything at any time. virtq_pop() is the one checked door: indexes are
 * bounded by the queue's size, chains by VIRTQ_CHAIN_MAX entries (cycles included) and by total bytes, every buffer is
 * covered by gmem_range(), each descriptor (of an indirect table, §2.7.5.3, too) is copied once before it is looked at,
 * readable buffers come before writable ones. After -EPROTO the device calls virtio_dev_broken() and stops.
 */
#ifndef KVM_VIRTIO_VIRTQ_H
#define KVM_VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "kvm/gmem.h"

#define VIRTQ_SIZE_MAX 1024
#define VIRTQ_CHAIN_MAX 1024		  /* descriptors of one chain */
#define VIRTQ_CHAIN_BYTES_MAX (16u << 20) /* bytes of one chain */

struct virtq_chain {
	uint16_t head; /* for virtq_push() */
	uint16_t nread,
		nwrite; /* iov[0..nread) is for reading, iov[nread..nread+nwrite) for writing */
	uint32_t read_bytes, write_bytes;
	struct iovec iov[VIRTQ_CHAIN_MAX]; /* into guest memory; lengths never 0 */
};

struct virtq {
	const struct gmem *mem; /* borrowed */
	uint16_t index;		/* of this queue in its device */
	uint16_t size;		/* power of two, ≤ VIRTQ_SIZE_MAX; 0: never set up */
	bool enabled;
	bool event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
	gpa_t desc, avail, used;
	uint16_t next_avail, next_used, signalled_used;
	int kick_fd; /* eventfd, readable when the driver kicked; owned by the transport */
	void *desc_area, *avail_area,
		*used_area; /* set by virtq_setup(), into guest memory; only for virtq.c */
};

/**
 * virtq_setup() - Check size, alignment and place of the three areas once and keep their host addresses
 *
 * The indexes (next_avail, …) are left as they are. On a queue that is not @enabled the functions below do nothing: pop returns 0.
 * Return: 0 or -EPROTO
 */
int virtq_setup(struct virtq *q);

/**
 * virtq_pop() - Take the next descriptor chain the driver offered
 * @q:		Enabled queue; the caller is the queue's only consumer
 * @chain:	Filled on success; its iov point into guest memory, valid until virtq_push()
 *
 * Return: 1 with a chain, 0 if the ring is empty, -EPROTO if the driver broke the ring.
 *
 * virtio 1.2 §2.7.5 (descriptor table), §2.7.6 (available ring)
 */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);

/**
 * virtq_push() - Give a chain back as used, with @written bytes (§2.7.8)
 * Several threads may push to one queue if they hold one lock around push and virtq_needs_interrupt().
 */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);

/**
 * virtq_push_at() - Write the used element @ahead places behind the last published one, for the driver to see later
 * virtq_publish() - Show it the next @n elements, all at once
 *
 * For what is one answer in several chains (merged receive buffers, §5.1.6.4): virtq_push() is virtq_push_at(q, 0, …) and
 * virtq_publish(q, 1). @ahead is less than the queue's size.
 */
void virtq_push_at(struct virtq *q, uint16_t ahead, uint16_t head, uint32_t written);
void virtq_publish(struct virtq *q, uint16_t n);

/**
 * virtq_needs_interrupt() - Does the driver want to be told of the pushes since the last call? (§2.7.7)
 * To be asked at least every 32768 pushes (the indexes are 16 bits wide).
 */
bool virtq_needs_interrupt(struct virtq *q);

/**
 * virtq_want_kicks() - Turn the driver's notifications on or off (§2.7.10)
 * After turning on, the ring must be looked at once more: Return: true when it is not empty.
 */
bool virtq_want_kicks(struct virtq *q, bool on);

/** virtq_copy_in/out() - Copy between a chain's buffers, from byte @offset on, and memory; Return: bytes copied */
size_t virtq_copy_in(const struct virtq_chain *chain, size_t offset, void *buf, size_t len);
size_t virtq_copy_out(const struct virtq_chain *chain, size_t offset, const void *buf, size_t len);

#endif
