/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-net: packets between tap and guest memory by a thread of the host's kernel, which gets all that it needs by descriptors.
 *
 *   kick_fd (KVM's ioeventfd writes it) ──▶ vhost ──▶ dev->irq_fd (KVM's irqfd reads it)
 *                                           │ └ reads and writes our mapping of guest memory
 *                                          tap
 *
 * Neither direction wakes a thread of ours. That an interrupt needs nothing but a write is the transport's doing (mmio.c:
 * InterruptStatus). One vhost descriptor has two queues, 0 receive and 1 transmit, and the kernel one worker for both.
 *
 * What the kernel thinks wrong in a ring it reports on err_fd and leaves the queue alone; the device then needs a reset. The
 * kernel's checks are what a guest meets in this mode, instead of virtq.c's.
 */
#include "kvm/virtio/vhost.h"

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define VHOST_QUEUES 2 /* of one descriptor: receive, transmit */

/* The features that vhost must know of; all others are between driver and tap */
#define VHOST_NEEDED                                                                        \
	(VIRTIO_F_BIT(VIRTIO_BIT_VERSION_1) | VIRTIO_F_BIT(VIRTIO_BIT_RING_INDIRECT_DESC) | \
	 VIRTIO_F_BIT(VIRTIO_BIT_RING_EVENT_IDX) | VIRTIO_F_BIT(VIRTIO_NET_F_MRG_RXBUF))

int vhost_init(struct vhost *v, int fd, struct err *err)
{
	cleanup_close int err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t features;

	if (err_fd < 0)
		return err_sys(err, errno, "vhost-net: cannot create an event descriptor");
	if (ioctl(fd, VHOST_SET_OWNER) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_SET_OWNER");
	if (ioctl(fd, VHOST_GET_FEATURES, &features) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_GET_FEATURES");
	if ((features & VHOST_NEEDED) != VHOST_NEEDED)
		return err_set(err, ENOTSUP, "vhost-net of this host lacks features %#llx",
			       (unsigned long long)(VHOST_NEEDED & ~features));
	*v = (struct vhost){.fd = fd, .err_fd = take_fd(&err_fd)};
	return 0;
}

void vhost_release(struct vhost *v)
{
	vhost_stop(v);
	close_fd(&v->fd);
	close_fd(&v->err_fd);
}

static int set_memory(const struct vhost *v, const struct gmem *mem, struct err *err)
{
	struct {
		struct vhost_memory table;
		struct vhost_memory_region regions[GMEM_REGIONS_MAX];
	} memory = {0};
	unsigned int n = __atomic_load_n(&mem->nregions, __ATOMIC_ACQUIRE);

	for (unsigned int i = 0; i < n; i++) {
		uint64_t len = __atomic_load_n(&mem->regions[i].len, __ATOMIC_ACQUIRE);

		if (len)
			memory.regions[memory.table.nregions++] = (struct vhost_memory_region){
				.guest_phys_addr = mem->regions[i].gpa,
				.memory_size = len,
				.userspace_addr = (uintptr_t)mem->regions[i].hva};
	}
	if (ioctl(v->fd, VHOST_SET_MEM_TABLE, &memory) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_SET_MEM_TABLE");
	return 0;
}

static int set_queue(const struct vhost *v, const struct virtio_dev *dev, const struct virtq *q,
		     unsigned int index, struct err *err)
{
	struct vhost_vring_state num = {.index = index, .num = q->size};
	struct vhost_vring_state base = {.index = index, .num = q->next_avail};
	struct vhost_vring_addr addr = {.index = index,
					.desc_user_addr = (uintptr_t)q->desc_area,
					.avail_user_addr = (uintptr_t)q->avail_area,
					.used_user_addr = (uintptr_t)q->used_area};
	struct vhost_vring_file kick = {.index = index, .fd = q->kick_fd};
	struct vhost_vring_file call = {.index = index, .fd = dev->irq_fd};
	struct vhost_vring_file error = {.index = index, .fd = v->err_fd};

	if (ioctl(v->fd, VHOST_SET_VRING_NUM, &num) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_SET_VRING_NUM");
	if (ioctl(v->fd, VHOST_SET_VRING_BASE, &base) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_SET_VRING_BASE");
	if (ioctl(v->fd, VHOST_SET_VRING_ADDR, &addr) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_SET_VRING_ADDR");
	if (ioctl(v->fd, VHOST_SET_VRING_ERR, &error) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_SET_VRING_ERR");
	if (ioctl(v->fd, VHOST_SET_VRING_CALL, &call) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_SET_VRING_CALL");
	if (ioctl(v->fd, VHOST_SET_VRING_KICK, &kick) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_SET_VRING_KICK");
	return 0;
}

/* A queue that the driver left out stays without a backend: the kernel does not look at it */
static int set_backends(const struct vhost *v, const struct virtq *const *queues, int tap_fd,
			struct err *err)
{
	for (unsigned int i = 0; i < VHOST_QUEUES; i++) {
		struct vhost_vring_file backend = {.index = i, .fd = tap_fd};

		if (queues[i]->enabled && ioctl(v->fd, VHOST_NET_SET_BACKEND, &backend) < 0)
			return err_sys(err, errno, "vhost-net: VHOST_NET_SET_BACKEND");
	}
	return 0;
}

int vhost_start(struct vhost *v, const struct virtio_dev *dev, const struct virtq *rx,
		const struct virtq *tx, int tap_fd, struct err *err)
{
	const struct virtq *queues[VHOST_QUEUES] = {rx, tx};
	uint64_t features = dev->features & VHOST_NEEDED;
	eventfd_t old;
	int r;

	(void)eventfd_read(v->err_fd, &old);
	if (ioctl(v->fd, VHOST_SET_FEATURES, &features) < 0)
		return err_sys(err, errno, "vhost-net: VHOST_SET_FEATURES");
	r = set_memory(v, dev->mem, err);
	if (r < 0)
		return r;
	v->started = true;
	for (unsigned int i = 0; i < VHOST_QUEUES && r == 0; i++)
		if (queues[i]->enabled)
			r = set_queue(v, dev, queues[i], i, err);
	if (r == 0)
		r = set_backends(v, queues, tap_fd, err);
	if (r < 0)
		vhost_stop(v);
	return r;
}

void vhost_memory_changed(const struct vhost *v, const struct gmem *mem)
{
	struct err err = {0};

	/* A queue whose memory is not known ends with an error of the host's kernel; what was known stays so */
	if (v->started && set_memory(v, mem, &err) < 0)
		log_error("%s", err.msg);
}

void vhost_stop(struct vhost *v)
{
	if (!v->started)
		return;
	/* Without a backend the worker ends what it has in hand before the call returns; then it can forget our descriptors */
	for (unsigned int i = 0; i < VHOST_QUEUES; i++) {
		struct vhost_vring_file none = {.index = i, .fd = VHOST_FILE_UNBIND};

		(void)ioctl(v->fd, VHOST_NET_SET_BACKEND, &none);
		(void)ioctl(v->fd, VHOST_SET_VRING_KICK, &none);
		(void)ioctl(v->fd, VHOST_SET_VRING_CALL, &none);
	}
	v->started = false;
}
