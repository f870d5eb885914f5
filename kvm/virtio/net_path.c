/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets between a tap and a pair of queues, by a thread per pair.
 *
 *   transmit   pop a chain, writev() its buffers, header included, push it; the host's kernel reads guest memory itself
 *   receive    pop buffers for a packet, readv() into them, push those that it filled, keep the others for the next
 *
 * No packet is copied by us, with one exception. A packet's length is not known before it was read, so that a read needs as
 * much memory as the longest may have (64 KiB with segmentation offload, dozens of merged buffers). Offering that much to each
 * read costs the kernel more than a small packet does. So a read offers `want` bytes, which follows what has come lately, and
 * behind them a buffer of ours, the spill: a packet that is longer than expected, or than what the ring holds, is copied from
 * there into further buffers, and if there are none yet it is parked until the driver adds some. Nothing is truncated.
 *
 * Waiting. The tap is watched edge-triggered, once: `readable` and `held` remember what the last call said, so that the path has
 * no epoll_ctl(), and each burst costs one epoll_wait() and one read that finds nothing. Without buffers the tap is not read
 * (its own queue fills and drops, as a network card's would), and the driver is asked for a kick; at all other times
 * kicks for receive buffers are off. A burst ends in one interrupt.
 *
 * Trust. Chains come checked from virtq_pop(). The header of a packet to send is not looked at: the host's kernel copies and
 * checks it, as it does for any program with a tap. A packet that the tap refuses is dropped and counted. What can be
 * driven by the guest without end is cut by a budget, after which the thread looks whether it should stop.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "kvm/iov.h"
#include "kvm/virtio/net.h"

#define NET_BUDGET 64	   /* packets each way before the other way has its turn */
#define NET_ROUNDS 16	   /* of both ways before the events are looked at */
#define NET_RX_SMALL 2048u /* what a packet that was not segmented or merged needs */
#define NET_RX_STREAK 32   /* small packets after which no more than that is offered */
#define NET_READV_MAX (VIRTQ_CHAIN_MAX - 1) /* IOV_MAX without the spill */

enum net_tag { NET_TAG_TAP, NET_TAG_KICK, NET_TAG_VHOST_ERROR };

/* Another queue may have been found broken, by this thread or another */
static bool is_broken(const struct net *net)
{
	return __atomic_load_n(&net->broken, __ATOMIC_RELAXED);
}

/* ---- receive ---- */

/* Take one chain off the ring; Return: as virtq_pop() */
static int rx_pop(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;
	struct virtq_chain *chain = &rx->chain;
	int r;

	if (rx->nbufs >= pair->rx_queue->size || rx->niov > VIRTQ_CHAIN_MAX)
		return 0;
	r = virtq_pop(pair->rx_queue, chain);
	if (r <= 0)
		return r;
	rx->bufs[rx->nbufs++] = (struct net_buf){
		.head = chain->head, .niov = chain->nwrite, .bytes = chain->write_bytes};
	memcpy(rx->iov + rx->niov, chain->iov + chain->nread,
	       chain->nwrite * sizeof(chain->iov[0]));
	rx->niov += chain->nwrite;
	rx->bytes += chain->write_bytes;
	return 1;
}

/* Have at least @need bytes (or one buffer), if possible @want; Return: 1, 0 when the driver was asked for a kick, -EPROTO */
static int rx_fill(struct net_pair *pair, uint64_t need, uint64_t want)
{
	struct net_rx *rx = &pair->rx;
	int r = 1;

	while (!virtio_thread_is_stopping(&pair->thread)) {
		while (rx->bytes < want && r > 0)
			r = rx_pop(pair);
		if (r < 0)
			return r;
		if (rx->nbufs > 0 && rx->bytes >= need) {
			if (rx->waiting)
				(void)virtq_want_kicks(pair->rx_queue, false);
			rx->waiting = false;
			return 1;
		}
		rx->waiting = true;
		if (!virtq_want_kicks(pair->rx_queue, true) || rx->nbufs >= pair->rx_queue->size ||
		    rx->niov > VIRTQ_CHAIN_MAX)
			return 0;
		r = 1;
	}
	return 0;
}

/* Give back the first @n buffers, which hold @len bytes */
static void rx_push(struct net_pair *pair, unsigned int n, uint32_t len)
{
	struct net_rx *rx = &pair->rx;
	unsigned int niov = 0;

	for (unsigned int i = 0; i < n; i++) {
		const struct net_buf *buf = &rx->bufs[i];
		uint32_t part = len < buf->bytes ? len : buf->bytes;

		virtq_push_at(pair->rx_queue, (uint16_t)i, buf->head, part);
		len -= part;
		niov += buf->niov;
		rx->bytes -= buf->bytes;
	}
	virtq_publish(pair->rx_queue, (uint16_t)n);
	rx->nbufs -= n;
	rx->niov -= niov;
	memmove(rx->bufs, rx->bufs + n, rx->nbufs * sizeof(rx->bufs[0]));
	memmove(rx->iov, rx->iov + niov, rx->niov * sizeof(rx->iov[0]));
}

/* A packet of @len bytes is in the first buffers, whole: say in how many, then show them all at once (§5.1.6.4) */
static void rx_deliver(struct net_pair *pair, uint32_t len)
{
	struct net_rx *rx = &pair->rx;
	unsigned int n = 0;
	uint64_t bytes = 0;
	uint16_t count;

	while (bytes < len)
		bytes += rx->bufs[n++].bytes;
	count = htole16((uint16_t)n);
	(void)iov_copy_out(rx->iov, rx->niov, offsetof(struct virtio_net_hdr_v1, num_buffers),
			   &count, sizeof(count));
	rx_push(pair, n, len);
	pair->rx_packets++;
	if (len > NET_RX_SMALL) {
		rx->want = NET_PACKET_MAX;
		rx->streak = 0;
	} else if (rx->streak < NET_RX_STREAK && ++rx->streak == NET_RX_STREAK) {
		rx->want = NET_RX_SMALL;
	}
}

/* Bring a packet that is longer than its buffers into further ones; Return: as rx_fill() */
static int rx_unpark(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;
	bool whole = pair->net->mergeable;
	uint32_t len = rx->parked;
	int r = 1;

	if (whole)
		r = rx_fill(pair, len, len);
	if (r < 0)
		return r;
	if (whole && r == 0 && rx->nbufs < pair->rx_queue->size && rx->niov <= VIRTQ_CHAIN_MAX)
		return 0;
	rx->parked = 0;
	if (whole && r > 0) {
		(void)iov_copy_out(rx->iov, rx->niov, rx->covered, rx->spill, len - rx->covered);
		rx_deliver(pair, len);
		return 1;
	}
	/* More than a chain, or more than a ring full of them, can hold. The chain would not be better for the next one. */
	if (!whole)
		rx_push(pair, 1, 0);
	pair->rx_dropped++;
	return 1;
}

/* Return: bytes of a packet, of which rx->covered are in buffers; -EAGAIN for none */
static ssize_t rx_read(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;
	unsigned int niov = pair->net->mergeable ? rx->niov : rx->bufs[0].niov;
	struct iovec saved;
	ssize_t n;

	if (niov > NET_READV_MAX)
		niov = NET_READV_MAX;
	rx->covered = 0;
	for (unsigned int i = 0; i < niov; i++)
		rx->covered += (uint32_t)rx->iov[i].iov_len;
	/* The spill goes behind what is offered; there is room for it, since a whole chain more would fit */
	saved = rx->iov[niov];
	rx->iov[niov] = (struct iovec){.iov_base = rx->spill, .iov_len = sizeof(rx->spill)};
	n = readv(pair->tap_fd, rx->iov, (int)niov + 1);
	if (n < 0)
		n = -errno;
	rx->iov[niov] = saved;
	return n;
}

/* One packet; Return: 1 to go on, 0 when there is nothing to do before the next event, -EPROTO */
static int rx_one(struct net_pair *pair)
{
	struct net_rx *rx = &pair->rx;
	ssize_t n;
	int r;

	if (rx->parked)
		return rx_unpark(pair);
	if (!rx->readable)
		return 0;
	r = rx_fill(pair, 1, pair->net->mergeable ? rx->want : 1);
	if (r <= 0)
		return r;
	n = rx_read(pair);
	/* An end, or an error: a queue that was detached, a tap that is gone. Whatever brings it back is an event. */
	if (n <= 0) {
		rx->readable = false;
		return 0;
	}
	if ((size_t)n < NET_HDR_BYTES) {
		pair->rx_dropped++;
		return 1;
	}
	if ((uint64_t)n > rx->covered) {
		rx->parked = (uint32_t)n;
		return rx_unpark(pair);
	}
	rx_deliver(pair, (uint32_t)n);
	return 1;
}

/* Return: whether there may be more */
static bool rx_run(struct net_pair *pair)
{
	int r = 1;

	for (int i = 0; i < NET_BUDGET && r > 0 && !is_broken(pair->net); i++)
		r = rx_one(pair);
	if (r < 0)
		net_broken(pair->net);
	virtio_dev_interrupt(&pair->net->dev, pair->rx_queue);
	return r > 0;
}

/* ---- transmit ---- */

/* Send the chain in hand; Return: false when the tap has no room */
static bool tx_send(struct net_pair *pair)
{
	struct virtq_chain *chain = &pair->tx.chain;
	ssize_t n = -1;

	if (chain->read_bytes > NET_HDR_BYTES) {
		n = writev(pair->tap_fd, chain->iov, chain->nread);
		if (n < 0 && errno == EAGAIN)
			return false;
	}
	if (n > 0)
		pair->tx_packets++;
	else
		pair->tx_dropped++;
	virtq_push(pair->tx_queue, chain->head, 0);
	return true;
}

static int tx_one(struct net_pair *pair)
{
	struct net_tx *tx = &pair->tx;
	int r = 1;

	if (!tx->held)
		r = virtq_pop(pair->tx_queue, &tx->chain);
	if (r <= 0)
		return r;
	tx->held = !tx_send(pair);
	return !tx->held;
}

/* Return: whether there may be more */
static bool tx_run(struct net_pair *pair)
{
	struct virtq *q = pair->tx_queue;
	int r = 1;

	(void)virtq_want_kicks(q, false);
	for (int i = 0; i < NET_BUDGET && r > 0 && !is_broken(pair->net); i++)
		r = tx_one(pair);
	if (r < 0)
		net_broken(pair->net);
	virtio_dev_interrupt(&pair->net->dev, q);
	if (r == 0 && !pair->tx.held)
		return virtq_want_kicks(q, true);
	return r > 0;
}

/* ---- the thread ---- */

static void pair_on_event(void *arg, uint64_t tag, uint32_t events)
{
	struct net_pair *pair = arg;

	/* Rings are looked at in each round anyway, and so is a chain that waits for room */
	if (tag == NET_TAG_TAP && (events & EPOLLIN))
		pair->rx.readable = true;
	if (tag == NET_TAG_VHOST_ERROR)
		net_broken(pair->net);
}

static int pair_on_round(void *arg)
{
	struct net_pair *pair = arg;
	struct net *net = pair->net;
	bool more = true;

	for (int i = 0; i < NET_ROUNDS && more; i++) {
		if (is_broken(net) || virtio_thread_is_stopping(&pair->thread))
			return -1;
		if (net->control && pair == net->pairs[0])
			net_serve_control(net);
		if (net->vhost)
			return -1;
		more = rx_run(pair);
		more |= tx_run(pair);
	}
	return more ? 0 : -1;
}

const struct virtio_thread_ops net_pair_thread_ops = {
	.on_event = pair_on_event,
	.on_round = pair_on_round,
};

static int watch_queues(struct net_pair *pair)
{
	int r;

	r = virtio_thread_watch(&pair->thread, pair->tap_fd, EPOLLIN | EPOLLOUT | EPOLLET,
				NET_TAG_TAP);
	if (r < 0)
		return r;
	r = virtio_thread_watch_kicks(&pair->thread, pair->rx_queue, NET_TAG_KICK);
	if (r < 0)
		return r;
	return virtio_thread_watch_kicks(&pair->thread, pair->tx_queue, NET_TAG_KICK);
}

static int watch_vhost_errors(struct net *net)
{
	int r = 0;

	for (unsigned int i = 0; i < net->npairs && r == 0; i++)
		r = virtio_thread_watch(&net->pairs[0]->thread, net->pairs[i]->vhost.err_fd,
					EPOLLIN | EPOLLET, NET_TAG_VHOST_ERROR);
	return r;
}

static int pair_watch(struct net_pair *pair)
{
	struct net *net = pair->net;
	int r;

	r = net->vhost ? watch_vhost_errors(net) : watch_queues(pair);
	if (r < 0 || !net->control || pair != net->pairs[0])
		return r;
	return virtio_thread_watch_kicks(&pair->thread, net->control, NET_TAG_KICK);
}

void net_pair_prepare(struct net_pair *pair)
{
	pair->rx.nbufs = pair->rx.niov = pair->rx.streak = 0;
	pair->rx.bytes = pair->rx.parked = pair->rx.covered = 0;
	pair->rx.want = NET_PACKET_MAX;
	pair->rx.readable = true;
	pair->rx.waiting = pair->tx.held = false;
}

static int start_thread(struct net_pair *pair, unsigned int index, struct err *err)
{
	char name[16];
	int r;

	net_pair_prepare(pair);
	(void)snprintf(name, sizeof(name), "virtio-net-%u", index);
	r = virtio_thread_start(&pair->thread, name, &net_pair_thread_ops, pair, err);
	if (r < 0)
		return r;
	r = pair_watch(pair);
	if (r < 0) {
		virtio_thread_stop(&pair->thread);
		return err_sys(err, -r, "virtio-net: cannot watch its queues");
	}
	return 0;
}

int net_pair_start(struct net_pair *pair, unsigned int index, struct err *err)
{
	int r = 0;

	if (!pair->net->vhost || index == 0)
		r = start_thread(pair, index, err);
	if (r < 0 || !pair->net->vhost)
		return r;
	return vhost_start(&pair->vhost, &pair->net->dev, pair->rx_queue, pair->tx_queue,
			   pair->tap_fd, err);
}

void net_pair_stop(struct net_pair *pair)
{
	virtio_thread_stop(&pair->thread);
	vhost_stop(&pair->vhost);
}
