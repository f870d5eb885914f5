/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: the network device between a guest and a wire that do what the input says.
 *
 * The pairs' threads are played by the target itself, so that one input always takes the same way; the taps are datagram sockets.
 * Buffers are mostly valid, of few sizes, with a field broken now and then. After each round: what the device holds lies in
 * guest memory and adds up, it comes to rest, and what it gave back is no more than what it got.
 */
#include "tests/unit/fake_driver.c"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/virtio/net.h"
#include "lib/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define PAIRS 2
#define QUEUES (2 * PAIRS + 1)
#define ROUNDS_MAX 20000
#define DATA_GPA 0x400000 /* buffers lie here */

struct world {
	const uint8_t *p, *end;
	struct net *net;
	struct fake_queue queues[QUEUES];
	int hosts[PAIRS];
	bool broken;
};

static struct fake_driver d;

static uint8_t take(struct world *w)
{
	return w->p < w->end ? *w->p++ : 0;
}

static uint32_t take32(struct world *w)
{
	uint32_t v = take(w);

	v = v << 8 | take(w);
	v = v << 8 | take(w);
	return v << 8 | take(w);
}

static void on_interrupt(struct virtio_dev *dev, bool config_changed)
{
	(void)dev;
	(void)config_changed;
}

static void on_broken(struct virtio_dev *dev, const char *why)
{
	struct world *w = dev->transport;

	(void)why;
	w->broken = true;
}

static void write_desc(struct world *w, struct fake_queue *q)
{
	static const uint32_t lens[] = {1, 2, 11, 12, 13, 60, 1526, 4096};
	struct vring_desc *desc = &q->desc[take(w) % q->size];
	uint8_t what = take(w);

	*desc = (struct vring_desc){
		.addr = DATA_GPA + take(w) * 4096u,
		.len = lens[take(w) % ARRAY_SIZE(lens)],
		.flags = what & 3,
		.next = take(w) % q->size,
	};
	if ((what & 0x3c) == 0x04)
		desc->addr = (uint64_t)take32(w) << 32 | take32(w);
	if ((what & 0x3c) == 0x08)
		desc->len = take32(w);
	if ((what & 0x3c) == 0x0c)
		desc->flags = (uint16_t)take32(w);
	if ((what & 0x3c) == 0x10)
		desc->addr = FAKE_MEMORY - take(w);
	if ((what & 0x3c) == 0x14) /* an indirect table among the data */
		*desc = (struct vring_desc){.addr = DATA_GPA + take(w) * 16u,
					    .len = 16u * (take(w) % 40),
					    .flags = VRING_DESC_F_INDIRECT};
}

static void send_packet(struct world *w)
{
	static uint8_t packet[70000];
	size_t len = take(w);

	if (len & 1)
		len = (len << 8 | take(w)) % sizeof(packet);
	(void)send(w->hosts[take(w) % PAIRS], packet, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void write_data(struct world *w)
{
	uint8_t *p = fake_ptr(&d, DATA_GPA + take(w) * 4096u, 4096);
	unsigned int n = take(w) % 16;

	while (n--)
		*p++ = take(w);
}

static void check_rx(const struct net_pair *pair)
{
	const uint8_t *low = d.mem.regions[0].hva, *high = low + d.mem.regions[0].len;
	const struct net_rx *rx = &pair->rx;
	uint64_t niov = 0, bytes = 0, in_iov = 0;

	fake_require(rx->nbufs <= pair->rx_queue->size && rx->niov <= 2 * VIRTQ_CHAIN_MAX);
	for (unsigned int i = 0; i < rx->nbufs; i++) {
		niov += rx->bufs[i].niov;
		bytes += rx->bufs[i].bytes;
	}
	for (unsigned int i = 0; i < rx->niov; i++) {
		const uint8_t *base = rx->iov[i].iov_base;

		fake_require(base >= low && base < high &&
			     rx->iov[i].iov_len <= (size_t)(high - base));
		in_iov += rx->iov[i].iov_len;
	}
	fake_require(niov == rx->niov && bytes == rx->bytes && in_iov == rx->bytes);
	fake_require(rx->parked <= NET_SPILL_BYTES + rx->bytes);
}

/* No more is given back than was offered: the driver's index is never passed */
static void check_used(const struct virtq *q)
{
	fake_require((uint16_t)(q->next_avail - q->next_used) <= 0x7fff);
}

static void run(struct world *w)
{
	for (unsigned int i = 0; i < PAIRS && !w->broken; i++) {
		struct net_pair *pair = w->net->pairs[i];
		int rounds = 0;

		/* An edge of the tap may always have come */
		net_pair_thread_ops.on_event(pair, 0, EPOLLIN | EPOLLOUT);
		while (net_pair_thread_ops.on_round(pair) >= 0 && !w->broken)
			fake_require(rounds++ < ROUNDS_MAX);
		check_rx(pair);
		check_used(pair->rx_queue);
		check_used(pair->tx_queue);
	}
}

static void drain(struct world *w)
{
	static uint8_t packet[70000];

	for (int i = 0; i < PAIRS; i++)
		while (recv(w->hosts[i], packet, sizeof(packet), MSG_DONTWAIT) >= 0)
			;
}

static void start(struct world *w)
{
	struct virtio_net_args args = {.npairs = PAIRS};
	int fds[PAIRS], pair[2];
	struct virtio_dev *dev;
	uint8_t what = take(w);

	for (int i = 0; i < PAIRS; i++) {
		fake_require(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0);
		w->hosts[i] = pair[0];
		fds[i] = pair[1];
	}
	args.tap_fds = fds;
	dev = virtio_net_new(&args, NULL);
	fake_require(dev);
	w->net = container_of(dev, struct net, dev);
	if (!d.mem.nregions)
		fake_driver_init(&d);
	d.next = 4096;
	memset(fake_ptr(&d, 0, 65536), 0, 65536);
	for (uint16_t i = 0; i < QUEUES; i++)
		fake_queue_init(&d, &w->queues[i], (uint16_t)(1u << (what >> 5)), what & 1,
				&dev->queues[i]);
	dev->mem = &d.mem;
	dev->transport = w;
	dev->interrupt = on_interrupt;
	dev->broken = on_broken;
	dev->features = what & 2 ? dev->ops->features : 0;
	w->net->mergeable = what & 4;
	w->net->control = &dev->queues[QUEUES - 1];
	for (int i = 0; i < PAIRS; i++)
		net_pair_prepare(w->net->pairs[i]);
}

static void stop(struct world *w)
{
	struct virtio_dev *dev = &w->net->dev;

	dev->ops->reset(dev);
	dev->ops->free(dev);
	for (int i = 0; i < PAIRS; i++)
		close_fd(&w->hosts[i]);
}

static void step(struct world *w)
{
	struct fake_queue *q = &w->queues[take(w) % QUEUES];

	switch (take(w) % 10) {
	case 0:
	case 1:
		write_desc(w, q);
		break;
	case 2:
	case 3:
		for (int n = take(w) % 8; n >= 0; n--)
			fake_offer(q, take(w) % (q->size + (n == 7)));
		break;
	case 4:
	case 5:
		send_packet(w);
		break;
	case 6:
		write_data(w);
		break;
	case 7:
		q->avail->ring[q->size] = (uint16_t)take32(w);
		q->avail->flags = take(w);
		break;
	case 8:
		drain(w);
		break;
	default:
		run(w);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct world w = {.p = data, .end = data + len};

	start(&w);
	while (w.p < w.end && !w.broken)
		step(&w);
	run(&w);
	stop(&w);
	return 0;
}
