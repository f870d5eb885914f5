/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net: the host's kernel serves the two queues of a pair itself. See vhost.c.
 */
#ifndef KVM_VIRTIO_VHOST_H
#define KVM_VIRTIO_VHOST_H

#include <stdint.h>

#include "kvm/virtio/virtio.h"
#include "lib/err.h"

struct vhost {
	int fd;	    /* owned; -1: not used */
	int err_fd; /* owned eventfd: readable when the kernel gave up on a ring; -1 likewise */
	bool started;
};

/**
 * vhost_init() - Make @fd (/dev/vhost-net, nothing done with it yet) this process's
 * Return: 0 with @fd owned by @v, -ENOTSUP if the host's vhost lacks what we offer, -errno; @err filled
 */
int vhost_init(struct vhost *v, int fd, struct err *err);
void vhost_release(struct vhost *v);

/**
 * vhost_start() - Let the kernel serve @rx and @tx (set up and enabled) of @dev between guest memory and @tap_fd
 * Interrupts come by dev->irq_fd. Return: 0, or -errno with @err filled and nothing running
 */
int vhost_start(struct vhost *v, const struct virtio_dev *dev, const struct virtq *rx,
		const struct virtq *tx, int tap_fd, struct err *err);
/** vhost_memory_changed() - Guest memory has grown: tell the kernel, if it runs; the thread that starts and stops it, or under its lock */
void vhost_memory_changed(const struct vhost *v, const struct gmem *mem);
/** vhost_stop() - The kernel touches neither guest memory nor the queues when this returns; idempotent */
void vhost_stop(struct vhost *v);

#endif
