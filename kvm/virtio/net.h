/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the network device share: net.c (configuration, control queue, life cycle), net_path.c (packets),
 * vhost.c (packets moved by the host's kernel).
 */
#ifndef KVM_VIRTIO_NET_H
#define KVM_VIRTIO_NET_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "kvm/virtio/thread.h"
#include "kvm/virtio/vhost.h"
#include "kvm/virtio/virtio.h"

/* Bytes before each packet, on the rings (§5.1.6: always this long with VERSION_1) and on the tap */
#define NET_HDR_BYTES sizeof(struct virtio_net_hdr_v1)
#define NET_PACKET_MAX 65562u /* header, Ethernet, 64 KiB of a segmented packet: §5.1.6.3.1 */
#define NET_SPILL_BYTES (NET_PACKET_MAX + 4u) /* and a VLAN tag */

struct net;

/* Receive buffers that were taken off the ring, in their order, and not given back yet */
struct net_buf {
	uint16_t head, niov;
	uint32_t bytes;
};

struct net_rx {
	struct virtq_chain chain; /* scratch for virtq_pop() */
	struct net_buf bufs[VIRTQ_SIZE_MAX];
	struct iovec iov
		[2 *
		 VIRTQ_CHAIN_MAX]; /* the buffers' memory, one after the other; room for one more chain */
	unsigned int nbufs, niov;
	uint64_t bytes;	     /* of all of them */
	uint32_t want;	     /* how many to have before a read */
	unsigned int streak; /* packets that needed much less, one after the other */
	uint32_t parked;     /* length of a packet that waits for more buffers; 0: none */
	uint32_t covered; /* its bytes that are in buffers already; the others are in the spill */
	bool waiting;	  /* for a kick: the driver has been asked for one */
	bool readable;	  /* the tap may have packets */
	uint8_t spill[NET_SPILL_BYTES];
};

struct net_tx {
	struct virtq_chain chain; /* in hand */
	bool held;		  /* it waits for room in the tap */
};

/* Two queues, a queue of the tap, and between them a thread of ours or of the host's kernel */
struct net_pair {
	struct net *net; /* the device it is of */
	struct virtio_thread thread;
	int tap_fd;			   /* owned */
	struct vhost vhost;		   /* used if the device has vhost */
	bool attached;			   /* the tap gives packets to this queue */
	struct virtq *rx_queue, *tx_queue; /* borrowed: the device's */
	struct net_rx rx;
	struct net_tx tx;
	uint64_t rx_packets, rx_dropped, tx_packets,
		tx_dropped; /* by the thread; read once it has ended */
};

struct net {
	struct virtio_dev dev;
	struct virtio_ops ops; /* with this device's queues and features */
	struct virtio_net_config config;
	unsigned int npairs;
	struct net_pair *pairs[VIRTIO_NET_PAIRS_MAX]; /* owned */
	bool is_tap;				      /* else a datagram socket: no offloads */
	bool vhost;				      /* the host's kernel moves the packets */
	bool mergeable;				      /* MRG_RXBUF was negotiated */
	bool broken;		  /* atomic: a ring is broken, nothing is done until a reset */
	struct virtq *control;	  /* borrowed; NULL: not negotiated. Pair 0's thread serves it. */
	struct virtq_chain chain; /* a command */
};

/** net_broken() - The driver broke a ring: the device stops until it is reset; any of its threads */
void net_broken(struct net *net);

/** net_serve_control() - Answer the commands in the control queue; pair 0's thread */
void net_serve_control(struct net *net);

/**
 * net_pair_start() - Serve a pair whose queues are set up; Return: 0 or -errno
 * With vhost only the first pair has a thread, for the control queue and errors.
 */
int net_pair_start(struct net_pair *pair, unsigned int index, struct err *err);
/** net_pair_stop() - Join it; idempotent */
void net_pair_stop(struct net_pair *pair);

/* What a pair's thread does, and its state before that; for net_path.c and tests that play the thread themselves */
extern const struct virtio_thread_ops net_pair_thread_ops;
void net_pair_prepare(struct net_pair *pair);

#endif
