/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device's state, for blk.c and its fuzz target; others use virtio_blk_new() (virtio.h).
 */
#ifndef KVM_VIRTIO_BLK_H
#define KVM_VIRTIO_BLK_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvm/virtio/thread.h"
#include "kvm/virtio/virtio.h"

struct blk {
	struct virtio_dev dev;
	struct virtio_ops ops; /* a copy: the features depend on what it serves */
	struct virtio_thread thread;
	int fd; /* owned */
	bool read_only;
	uint64_t nsectors;
	uint32_t block_bytes;
	char id[VIRTIO_BLK_ID_BYTES];
	bool stuck;		  /* the driver broke its ring: nothing is done until a reset */
	struct virtq_chain chain; /* the request in hand */
};

/* on_round() serves what is in the queue */
extern const struct virtio_thread_ops blk_thread_ops;

#endif
