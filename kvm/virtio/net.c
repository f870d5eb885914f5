/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device (virtio 1.2 §5.1) on a tap of the host.
 *
 *   queues 2n, 2n+1   receive, transmit of pair n; each pair has a queue of the tap and a thread of its own: one of ours
 *                     (net_path.c), or one of the host's kernel if we were given vhost-net (vhost.c)
 *   last queue        control; the third one if the driver does not take MQ
 *
 * Offloads are the tap's: what the driver can receive (a checksum left open, a segmented packet) is told to the host's kernel by
 * TUNSETOFFLOAD, which does it in software for a driver that cannot; what the driver may send, the kernel takes always. The
 * header of 12 bytes is the tap's too (TUNSETVNETHDRSZ), so that packets pass as they are.
 *
 * A tap with several queues spreads packets over those that are attached: as many as the driver asked for (§5.1.6.5.5).
 *
 * The device has no say in addresses: it takes and gives every packet. Filter commands (CTRL_RX) are answered and change nothing,
 * since a device may always give more than asked for (§5.1.6.5.1); whose packets come here is decided by the host, by what it
 * ties the tap to. The link is always up.
 *
 * Threads: those of the pairs, the first of which serves the control queue; vCPU threads in activate() and reset().
 */
#include "kvm/virtio/net.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define NET_QUEUE_SIZE 256
#define NET_CONFIG_BYTES offsetof(struct virtio_net_config, speed)

#define NET_F(name) VIRTIO_F_BIT(VIRTIO_NET_F_##name)
#define NET_FEATURES \
	(NET_F(MAC) | NET_F(STATUS) | NET_F(MRG_RXBUF) | NET_F(CTRL_VQ) | NET_F(CTRL_RX))
/* What only a tap can do; those of the second line change what the host sends */
#define NET_OFFLOADS                                                           \
	(NET_F(CSUM) | NET_F(HOST_TSO4) | NET_F(HOST_TSO6) | NET_F(HOST_ECN) | \
	 NET_GUEST_OFFLOADS | NET_F(CTRL_GUEST_OFFLOADS))
#define NET_GUEST_OFFLOADS \
	(NET_F(GUEST_CSUM) | NET_F(GUEST_TSO4) | NET_F(GUEST_TSO6) | NET_F(GUEST_ECN))

static struct net *net_of(struct virtio_dev *dev)
{
	return container_of(dev, struct net, dev);
}

static bool has(const struct net *net, unsigned int bit)
{
	return net->dev.features & VIRTIO_F_BIT(bit);
}

void net_broken(struct net *net)
{
	if (!__atomic_exchange_n(&net->broken, true, __ATOMIC_RELAXED))
		virtio_dev_broken(&net->dev, "invalid descriptor chain");
}

/* ---- the tap ---- */

/* Tell the tap what the driver can receive: @features are GUEST_* bits; Return: 0 or -errno */
static int set_offloads(struct net *net, uint64_t features)
{
	unsigned int offloads = 0;

	if (!net->is_tap)
		return 0;
	/* Whoever segments also computes checksums: the kernel takes the others with the first only */
	if (features & NET_F(GUEST_CSUM)) {
		offloads |= TUN_F_CSUM;
		if (features & NET_F(GUEST_TSO4))
			offloads |= TUN_F_TSO4;
		if (features & NET_F(GUEST_TSO6))
			offloads |= TUN_F_TSO6;
		if ((features & NET_F(GUEST_ECN)) && (offloads & (TUN_F_TSO4 | TUN_F_TSO6)))
			offloads |= TUN_F_TSO_ECN;
	}
	return ioctl(net->pairs[0]->tap_fd, TUNSETOFFLOAD, (unsigned long)offloads) < 0 ? -errno
											: 0;
}

/* Let the tap give packets to the first @n queues only; Return: 0 or -errno */
static int set_pairs(struct net *net, unsigned int n)
{
	for (unsigned int i = 0; net->is_tap && net->npairs > 1 && i < net->npairs; i++) {
		struct net_pair *pair = net->pairs[i];
		struct ifreq ifr = {.ifr_flags = i < n ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

		if (pair->attached == (i < n))
			continue;
		if (ioctl(pair->tap_fd, TUNSETQUEUE, &ifr) < 0)
			return -errno;
		pair->attached = i < n;
	}
	return 0;
}

static int set_header(struct net *net)
{
	int size = NET_HDR_BYTES;

	for (unsigned int i = 0; net->is_tap && i < net->npairs; i++)
		if (ioctl(net->pairs[i]->tap_fd, TUNSETVNETHDRSZ, &size) < 0)
			return -errno;
	return 0;
}

/* What @fd is: 1 a tap's queue, 0 a socket, else -errno */
static int check_tap(int fd, struct err *err)
{
	const int needed = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	struct ifreq ifr = {0};
	struct stat st;
	int r;

	r = io_set_nonblock(fd, true);
	if (r < 0)
		return err_sys(err, -r, "the tap's descriptor");
	if (ioctl(fd, TUNGETIFF, &ifr) == 0) {
		if ((ifr.ifr_flags & needed) != needed)
			return err_set(err, EINVAL,
				       "the tap '%.*s' was not made with IFF_TAP, IFF_NO_PI and "
				       "IFF_VNET_HDR",
				       IFNAMSIZ, ifr.ifr_name);
		return 1;
	}
	if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
		return 0;
	return err_set(err, EINVAL, "a network device was given a descriptor that is no tap");
}

/* ---- control queue (§5.1.6.5) ---- */

static bool control_rx(const struct net *net, uint8_t cmd, uint32_t len)
{
	return has(net, VIRTIO_NET_F_CTRL_RX) &&
	       (cmd == VIRTIO_NET_CTRL_RX_PROMISC || cmd == VIRTIO_NET_CTRL_RX_ALLMULTI) &&
	       len >= 1;
}

static bool control_mq(struct net *net, uint8_t cmd, const uint8_t *data, uint32_t len)
{
	uint16_t n;

	if (!has(net, VIRTIO_NET_F_MQ) || cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || len < sizeof(n))
		return false;
	memcpy(&n, data, sizeof(n));
	n = le16toh(n);
	return n >= 1 && n <= net->npairs && set_pairs(net, n) == 0;
}

static bool control_offloads(struct net *net, uint8_t cmd, const uint8_t *data, uint32_t len)
{
	uint64_t offloads;

	if (!has(net, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || len < sizeof(offloads))
		return false;
	memcpy(&offloads, data, sizeof(offloads));
	offloads = le64toh(offloads);
	/* Only what was negotiated can be turned off and on (§5.1.6.5.6.2) */
	return !(offloads & ~(net->dev.features & NET_GUEST_OFFLOADS)) &&
	       set_offloads(net, offloads) == 0;
}

static uint8_t control_command(struct net *net, const struct virtq_chain *chain)
{
	struct virtio_net_ctrl_hdr hdr;
	uint8_t data[8] = {0};
	bool ok = false;
	size_t len;

	if (virtq_copy_in(chain, 0, &hdr, sizeof(hdr)) < sizeof(hdr))
		return VIRTIO_NET_ERR;
	len = virtq_copy_in(chain, sizeof(hdr), data, sizeof(data));
	switch (hdr.class) {
	case VIRTIO_NET_CTRL_RX:
		ok = control_rx(net, hdr.cmd, (uint32_t)len);
		break;
	case VIRTIO_NET_CTRL_MAC: /* the table of filters, whatever is in it */
		ok = has(net, VIRTIO_NET_F_CTRL_RX) && hdr.cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET;
		break;
	case VIRTIO_NET_CTRL_MQ:
		ok = control_mq(net, hdr.cmd, data, (uint32_t)len);
		break;
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		ok = control_offloads(net, hdr.cmd, data, (uint32_t)len);
		break;
	default:
		break;
	}
	return ok ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
}

void net_serve_control(struct net *net)
{
	struct virtq *q = net->control;
	uint8_t ack;
	int r;

	do {
		(void)virtq_want_kicks(q, false);
		while (!virtio_thread_is_stopping(&net->pairs[0]->thread)) {
			r = virtq_pop(q, &net->chain);
			if (r < 0) {
				net_broken(net);
				return;
			}
			if (!r)
				break;
			ack = control_command(net, &net->chain);
			virtq_push(q, net->chain.head,
				   (uint32_t)virtq_copy_out(&net->chain, 0, &ack, sizeof(ack)));
			virtio_dev_interrupt(&net->dev, q);
		}
	} while (!virtio_thread_is_stopping(&net->pairs[0]->thread) && virtq_want_kicks(q, true));
}

/* ---- life cycle ---- */

static void net_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	memcpy(buf, (const uint8_t *)&net_of(dev)->config + off, len);
}

static void net_reset(struct virtio_dev *dev)
{
	struct net *net = net_of(dev);

	for (unsigned int i = 0; i < net->npairs; i++) {
		struct net_pair *pair = net->pairs[i];
		bool ours = pair->thread.running && !net->vhost;

		net_pair_stop(pair);
		if (!ours)
			continue;
		log_debug("virtio-net: pair %u received %llu packets and dropped %llu, sent %llu "
			  "and dropped %llu",
			  i, (unsigned long long)pair->rx_packets,
			  (unsigned long long)pair->rx_dropped,
			  (unsigned long long)pair->tx_packets,
			  (unsigned long long)pair->tx_dropped);
	}
}

static int set_up_tap(struct net *net)
{
	int r;

	r = set_header(net);
	if (r < 0)
		return r;
	r = set_pairs(net, 1);
	if (r < 0)
		return r;
	return set_offloads(net, net->dev.features & NET_GUEST_OFFLOADS);
}

static int net_activate(struct virtio_dev *dev, struct err *err)
{
	struct net *net = net_of(dev);
	unsigned int npairs = has(net, VIRTIO_NET_F_MQ) ? net->npairs : 1;
	int r;

	net->mergeable = has(net, VIRTIO_NET_F_MRG_RXBUF);
	net->control = has(net, VIRTIO_NET_F_CTRL_VQ) ? &dev->queues[2 * npairs] : NULL;
	__atomic_store_n(&net->broken, false, __ATOMIC_RELAXED);
	r = set_up_tap(net);
	if (r < 0)
		return err_sys(err, -r, "virtio-net: setting up the tap");
	for (unsigned int i = 0; i < npairs; i++) {
		r = net_pair_start(net->pairs[i], i, err);
		if (r < 0) {
			net_reset(dev);
			return r;
		}
	}
	return 0;
}

static void net_memory_changed(struct virtio_dev *dev)
{
	struct net *net = net_of(dev);

	for (unsigned int i = 0; i < net->npairs && net->vhost; i++)
		vhost_memory_changed(&net->pairs[i]->vhost, dev->mem);
}

static void net_free(struct virtio_dev *dev)
{
	struct net *net = net_of(dev);

	for (unsigned int i = 0; i < net->npairs; i++) {
		if (!net->pairs[i])
			continue;
		vhost_release(&net->pairs[i]->vhost);
		close_fd(&net->pairs[i]->tap_fd);
		free(net->pairs[i]);
	}
	free(net);
}

static const struct virtio_ops net_ops = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.queue_max = NET_QUEUE_SIZE,
	.features = NET_FEATURES,
	.config_len = NET_CONFIG_BYTES,
	.config_read = net_config_read,
	.activate = net_activate,
	.reset = net_reset,
	.memory_changed = net_memory_changed,
	.free = net_free,
};

static void describe(struct net *net, const struct virtio_net_args *args)
{
	net->ops = net_ops;
	net->dev.ops = &net->ops;
	net->ops.nqueues = (uint16_t)(2 * args->npairs + 1);
	if (net->is_tap)
		net->ops.features |= NET_OFFLOADS;
	if (args->mtu)
		net->ops.features |= NET_F(MTU);
	if (args->npairs > 1)
		net->ops.features |= NET_F(MQ);
	memcpy(net->config.mac, args->mac, sizeof(net->config.mac));
	net->config.status = htole16(VIRTIO_NET_S_LINK_UP);
	net->config.max_virtqueue_pairs = htole16((uint16_t)args->npairs);
	net->config.mtu = htole16(args->mtu);
}

static int make_pairs(struct net *net, unsigned int npairs, struct err *err)
{
	for (unsigned int i = 0; i < npairs; i++) {
		struct net_pair *pair = calloc(1, sizeof(*pair));

		if (!pair)
			return err_sys(err, ENOMEM, "Cannot make the network device");
		net->pairs[net->npairs++] = pair;
		pair->net = net;
		pair->tap_fd = pair->vhost.fd = pair->vhost.err_fd = -1;
		pair->attached = true;
		pair->rx_queue = &net->dev.queues[2 * i];
		pair->tx_queue = &net->dev.queues[2 * i + 1];
	}
	return 0;
}

/* All of @fds, or none: the caller keeps what is not taken */
static int init_vhost(struct net *net, int *fds, struct err *err)
{
	int r = 0;

	if (!net->is_tap)
		return err_set(err, EINVAL, "vhost-net needs a tap");
	for (unsigned int i = 0; i < net->npairs && r == 0; i++)
		r = vhost_init(&net->pairs[i]->vhost, fds[i], err);
	for (unsigned int i = 0; i < net->npairs; i++) {
		if (r < 0)
			net->pairs[i]->vhost.fd = -1;
		else
			fds[i] = -1;
	}
	net->vhost = net->dev.irq_by_fd = r == 0;
	return r;
}

static int init(struct net *net, const struct virtio_net_args *args, struct err *err)
{
	int r, kind = -1;

	for (unsigned int i = 0; i < args->npairs; i++) {
		r = check_tap(args->tap_fds[i], err);
		if (r < 0)
			return r;
		if (i > 0 && r != kind)
			return err_set(err, EINVAL, "a network device's queues are of two kinds");
		kind = r;
	}
	net->is_tap = kind == 1;
	r = make_pairs(net, args->npairs, err);
	if (r == 0 && args->vhost_fds)
		r = init_vhost(net, args->vhost_fds, err);
	return r;
}

struct virtio_dev *virtio_net_new(const struct virtio_net_args *args, struct err *err)
{
	struct net *net = calloc(1, sizeof(*net));

	if (!net) {
		(void)err_sys(err, ENOMEM, "Cannot make the network device");
		return NULL;
	}
	if (init(net, args, err) < 0) {
		net_free(&net->dev);
		return NULL;
	}
	describe(net, args);
	for (unsigned int i = 0; i < args->npairs; i++)
		net->pairs[i]->tap_fd = take_fd(&args->tap_fds[i]);
	return &net->dev;
}
