/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtio device is to a transport, and a transport to a device (virtio 1.2 §2, §3.1.1).
 *
 *   vCPU thread ──MMIO exit──▶ transport (mmio.c) ──ops──▶ device
 *   guest kick  ──ioeventfd──▶ virtq.kick_fd      ──poll──▶ the device's own thread
 *   device      ──virtio_dev_interrupt()──▶ irqfd ──▶ guest
 *
 * The transport owns status, feature negotiation, queue registers and their bounds. A device sees struct virtio_dev, virtq_*
 * and its own backend; it never calls KVM, exits, or names another device. activate() and reset() run on a vCPU thread under the
 * transport's lock; the work happens in the device's own thread.
 */
#ifndef KVM_VIRTIO_VIRTIO_H
#define KVM_VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/virtio/virtq.h"
#include "lib/err.h"

#define VIRTIO_QUEUES_MAX 9 /* a network device of four pairs, and its control queue */

/* Feature bits (§6) that devices and transport share; VERSION_1, RING_INDIRECT_DESC and RING_EVENT_IDX are offered for all */
#define VIRTIO_F_BIT(n) (1ull << (n))
#define VIRTIO_BIT_RING_INDIRECT_DESC 28
#define VIRTIO_BIT_RING_EVENT_IDX 29
#define VIRTIO_BIT_VERSION_1 32

struct virtio_dev;

struct virtio_ops {
	const char *name;	     /* "virtio-fs": logs and thread names */
	uint32_t id;		     /* VIRTIO_ID_* of <linux/virtio_ids.h> */
	uint16_t nqueues, queue_max; /* ≤ VIRTIO_QUEUES_MAX, ≤ VIRTQ_SIZE_MAX */
	uint64_t
		features; /* device-specific bits offered; the transport adds its own and rejects others */
	uint32_t config_len;
	/* Copies config space bytes [off, off + len) to @buf; the transport has checked them against config_len */
	void (*config_read)(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t len);
	/* DRIVER_OK: queues are set up and enabled as the driver chose; may start a thread. Failure marks the device broken. */
	int (*activate)(struct virtio_dev *dev, struct err *err);
	/* Idempotent; joins the device's threads; afterwards nothing touches guest memory or queues */
	void (*reset)(struct virtio_dev *dev);
	/* NULL, or: guest memory has grown. For who has given it to somebody by address; activated or not */
	void (*memory_changed)(struct virtio_dev *dev);
	/* After reset(); frees the device itself */
	void (*free)(struct virtio_dev *dev);
};

struct virtio_dev {
	const struct virtio_ops *ops;
	const struct gmem *mem; /* borrowed; set by the transport before activate() */
	struct virtq queues[VIRTIO_QUEUES_MAX]; /* kick_fd and registers set by the transport */
	uint64_t features;			/* acknowledged by the driver */
	void *transport;			/* the transport's own */
	int irq_fd; /* eventfd of the transport's: a write is a queue interrupt, for whoever cannot call interrupt() */
	bool irq_by_fd; /* set by a device that gave irq_fd away: its own interrupts take that way too */
	/* set by the transport: raise the queue interrupt / the configuration interrupt; any thread */
	void (*interrupt)(struct virtio_dev *dev, bool config_changed);
	/* set by the transport: the configuration has changed, which the driver need not be told; one thread at a time */
	void (*show_config)(struct virtio_dev *dev);
	/* set by the transport: DEVICE_NEEDS_RESET and a configuration interrupt (§2.1.2); any thread */
	void (*broken)(struct virtio_dev *dev, const char *why);
};

/** virtio_dev_interrupt() - Tell the driver that @q has used buffers, if it wants to know */
static inline void virtio_dev_interrupt(struct virtio_dev *dev, struct virtq *q)
{
	if (virtq_needs_interrupt(q))
		dev->interrupt(dev, false);
}

/** virtio_dev_broken() - The driver broke the protocol: mark the device, tell the driver, log (rate-limited) */
static inline void virtio_dev_broken(struct virtio_dev *dev, const char *why)
{
	dev->broken(dev, why);
}

/* ---- the devices; each owns the descriptors it is given, also on failure ---- */

/** virtio_rng_new() - Entropy from getrandom(2) (§5.4) */
struct virtio_dev *virtio_rng_new(struct err *err);

/** virtio_console_new() - One port, output only, to @fd (a non-blocking pipe; what does not fit is dropped) (§5.3) */
struct virtio_dev *virtio_console_new(int fd, struct err *err);

/**
 * virtio_blk_new() - A block device (§5.2) that serves @fd, a block device or a regular file
 * @id:		What the driver reads as its serial number; 20 bytes of it count
 */
struct virtio_dev *virtio_blk_new(int fd, bool read_only, const char *id, struct err *err);

#define VSOCK_CONNECTIONS_MAX 256
/**
 * virtio_vsock_new() - Stream sockets between guest and monitor (§5.10), see vsock.c
 * @on_accept:	A program in the guest connected to host port @port: @fd is one end of a socket pair (blocking, O_CLOEXEC), the
 *		callee's to own whatever it returns; Return: 0 to accept, else the guest sees a reset. Runs on the device's
 *		thread and must not wait.
 */
struct virtio_dev *virtio_vsock_new(uint32_t guest_cid,
				    int (*on_accept)(void *arg, uint32_t port, int fd), void *arg,
				    struct err *err);
/**
 * virtio_vsock_connect() - Connect @fd to guest port @port
 * @fd:		A stream socket, owned by the device from now on; closed when the guest refuses or the connection ends. May be
 *		called before the driver is up: the request waits (at most VSOCK_CONNECTIONS_MAX at a time).
 * Return: 0, or -ENOBUFS with @fd closed when too many wait; any thread.
 */
int virtio_vsock_connect(struct virtio_dev *dev, uint32_t port, int fd);

#define VIRTIO_MEM_BLOCK (2ull << 20) /* what the driver asks for at a time */
/**
 * virtio_mem_new() - Memory that is added while the guest runs (§5.15), see mem.c
 * @gpa, @hva:	The region, of @max bytes; borrowed
 * @requested:	How much of it the driver shall take
 */
struct virtio_dev *virtio_mem_new(gpa_t gpa, uint8_t *hva, uint64_t max, uint64_t requested,
				  struct err *err);
/** virtio_mem_request() - More: the memory can be used already. The thread that has plugged the device */
void virtio_mem_request(struct virtio_dev *dev, uint64_t requested);

#define VIRTIO_NET_PAIRS_MAX 4
struct virtio_net_args {
	uint8_t mac[6];
	uint16_t mtu;	     /* 0: not told to the guest */
	unsigned int npairs; /* 1 to VIRTIO_NET_PAIRS_MAX */
	int *tap_fds,
		*vhost_fds; /* npairs of each; taken (set to -1) on success; vhost_fds may be NULL */
};
/**
 * virtio_net_new() - A network device (§5.1), see net.c
 *
 * Each tap descriptor is a queue of one tap (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR) or, for tests, a datagram socket: packets
 * with a header of 12 bytes, no offloads. Return: NULL with @err filled and the descriptors still the caller's.
 */
struct virtio_dev *virtio_net_new(const struct virtio_net_args *args, struct err *err);

struct fuse_server;
/** virtio_fs_new() - A file system by FUSE messages (§5.11) with @tag; @server is borrowed */
struct virtio_dev *virtio_fs_new(const char *tag, struct fuse_server *server, struct err *err);

#endif
