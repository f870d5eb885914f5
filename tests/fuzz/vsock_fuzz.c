/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: the socket device between a guest and a monitor who do what the input says.
 *
 * The device's thread is played by the target itself (its rounds and events are called by hand), so that one input always takes
 * the same way. Ports come from small sets, so that packets meet connections; headers are mostly valid, with one field broken now
 * and then. After each round the bounds that vsock.c promises are checked, and that the device comes to rest.
 */
#include "tests/unit/fake_driver.c"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/virtio/vsock.h"
#include "lib/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define HOST_FDS 64
#define ROUNDS_MAX 20000
#define DATA_GPA 0x200000 /* of tx packets */
#define DATA_BYTES 0x20000
#define RX_GPA 0x400000
#define RX_BYTES 2048

struct world {
	const uint8_t *p, *end;
	struct vsock *v;
	struct fake_queue rx, tx;
	int fds[HOST_FDS]; /* the monitor's ends; -1 */
	int accept;
	bool broken;
};

static struct fake_driver d;

static uint8_t take(struct world *w)
{
	return w->p < w->end ? *w->p++ : 0;
}

static uint32_t take_random(struct world *w)
{
	uint32_t v = take(w);

	v = v << 8 | take(w);
	v = v << 8 | take(w);
	return v << 8 | take(w);
}

static void add_fd(struct world *w, int fd)
{
	int i;

	for (i = 0; i < HOST_FDS; i++) {
		if (w->fds[i] < 0) {
			w->fds[i] = fd;
			return;
		}
	}
	(void)close(fd);
}

static int on_accept(void *arg, uint32_t port, int fd)
{
	struct world *w = arg;

	(void)port;
	if (w->accept)
		(void)close(fd);
	else
		add_fd(w, fd);
	return w->accept;
}

static void on_interrupt(struct virtio_dev *dev, bool config_changed)
{
	(void)dev;
	(void)config_changed;
}

static void on_broken(struct virtio_dev *dev, const char *why)
{
	(void)why;
	((struct world *)dev->transport)->broken = true;
}

/* ---- the guest ---- */

static void collect(struct world *w)
{
	uint32_t head, len;

	while (fake_get_used(&w->tx, &head, &len))
		fake_require(!len);
	while (fake_get_used(&w->rx, &head, &len))
		fake_require(len >= sizeof(struct virtio_vsock_hdr) && len <= RX_BYTES);
}

static uint32_t host_port(struct world *w, uint8_t which)
{
	/* Known ports of ours, and those the device has picked */
	return which < 128 ? 1024u + which % 4
			   : 0x40000000u + (which - 128u) % 16 + (w->accept ? 16 : 0);
}

static void send_packet(struct world *w)
{
	static const uint32_t allocs[] = {65536, 0, 1, 100, 262144, 0xffffffff};
	uint8_t what = take(w);
	struct virtio_vsock_hdr hdr = {
		.src_cid = 3,
		.dst_cid = 2,
		.src_port = 10 + take(w) % 4,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = 1 + what % 7,
	};
	struct fake_buf bufs[2];
	uint32_t extra = 0;

	hdr.dst_port = host_port(w, take(w));
	hdr.flags = take(w) & 3;
	hdr.buf_alloc = allocs[take(w) % 6];
	hdr.fwd_cnt = take(w);
	hdr.len = hdr.op == VIRTIO_VSOCK_OP_RW ? (uint32_t)take(w) * 257 : 0;
	if (what >= 250)
		extra = take_random(w);
	if (what == 255)
		((uint8_t *)&hdr)[extra % sizeof(hdr)] ^= (uint8_t)(extra >> 8 | 1);
	memcpy(fake_ptr(&d, DATA_GPA, sizeof(hdr)), &hdr, sizeof(hdr));
	bufs[0] = (struct fake_buf){DATA_GPA, (uint32_t)sizeof(hdr) + hdr.len % 0x10000 / 2, false};
	bufs[1] = (struct fake_buf){DATA_GPA + bufs[0].len,
				    hdr.len % 0x10000 - hdr.len % 0x10000 / 2, false};
	if (what == 254)
		bufs[0].len = extra % 64;
	if (what == 253)
		bufs[0].gpa = extra;
	(void)fake_add(&w->tx, bufs, bufs[1].len ? 2 : 1);
}

static void add_buffers(struct world *w)
{
	uint8_t n = take(w), shape = take(w);
	struct fake_buf bufs[3] = {
		{RX_GPA, shape < 200 ? 2048 : shape % 100, true},
		{RX_GPA + 4096, 1, true},
		{RX_GPA + 8192, 100, true},
	};

	if (shape >= 200)
		n = n & 3; /* odd ones, a few */
	while (n-- && fake_add(&w->rx, bufs, shape >= 100 && bufs[0].len < 1900 ? 3 : 1) >= 0)
		;
}

/* ---- the monitor ---- */

static void connect_guest(struct world *w)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return;
	add_fd(w, fds[1]);
	(void)virtio_vsock_connect(&w->v->dev, 10 + take(w) % 4, fds[0]);
}

static void use_socket(struct world *w)
{
	static uint8_t buf[65536];
	uint8_t what = take(w);
	int *fd = &w->fds[take(w) % HOST_FDS];

	if (*fd < 0)
		return;
	switch (what % 6) {
	case 0:
	case 1:
		(void)!send(*fd, buf, 1u + take(w) * 255u, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 2:
	case 3:
		(void)!recv(*fd, buf, 1u + take(w) * 255u, MSG_DONTWAIT);
		break;
	case 4:
		(void)shutdown(*fd, take(w) % 3);
		break;
	default:
		close_fd(fd);
		break;
	}
}

/* ---- the device ---- */

static void check_bounds(const struct vsock *v)
{
	unsigned int i, n = 0, closing = 0;

	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		const struct vsock_conn *c = v->conns[i];

		if (!c)
			continue;
		n++;
		closing += c->state == VSOCK_CLOSING;
		fake_require(c->pending_len <= VSOCK_BUF_ALLOC);
		fake_require(!c->pending_len || c->pending);
		fake_require(c->hashed == (c->state != VSOCK_DRAINING));
		fake_require(!c->hashed || vsock_find(v, c->guest_port, c->host_port) == c);
		fake_require((c->fd < 0) ==
			     (c->state == VSOCK_CLOSING || c->state == VSOCK_RESETTING));
	}
	fake_require(n == v->nconns && closing == v->nclosing);
	fake_require(v->nrefusals <= VSOCK_RESETS_MAX && v->nbufs <= VSOCK_RX_BUFS);
}

static void run(struct world *w)
{
	struct epoll_event events[16];
	int rounds, wait_ms, n, i;

	for (rounds = 0;; rounds++) {
		fake_require(rounds < ROUNDS_MAX);
		wait_ms = vsock_thread_ops.on_round(w->v);
		check_bounds(w->v);
		fake_require(!w->broken || !w->v->nconns);
		n = epoll_wait(w->v->thread.epoll_fd, events, 16, 0);
		for (i = 0; i < n; i++)
			vsock_thread_ops.on_event(w->v, events[i].data.u64, events[i].events);
		if (n <= 0 && wait_ms)
			return;
	}
}

static void start(struct world *w)
{
	struct virtio_dev *dev = virtio_vsock_new(3, on_accept, w, NULL);
	unsigned int i;

	fake_require(dev);
	w->v = container_of(dev, struct vsock, dev);
	for (i = 0; i < HOST_FDS; i++)
		w->fds[i] = -1;
	if (!d.mem.nregions)
		fake_driver_init(&d);
	d.next = 4096;
	memset(fake_ptr(&d, 0, 65536), 0, 65536);
	i = take(w);
	fake_queue_init(&d, &w->rx, 128, i & 1, &dev->queues[VSOCK_QUEUE_RX]);
	fake_queue_init(&d, &w->tx, 128, i & 1, &dev->queues[VSOCK_QUEUE_TX]);
	/* Either closed connections wait for the guest, or their time is over at once */
	w->v->close_timeout_ms = i & 2 ? 0 : 1000000;
	dev->mem = &d.mem;
	dev->transport = w;
	dev->interrupt = on_interrupt;
	dev->broken = on_broken;
	w->v->thread.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	fake_require(w->v->thread.epoll_fd >= 0);
}

static void stop(struct world *w)
{
	struct virtio_dev *dev = &w->v->dev;
	int i;

	dev->ops->reset(dev);
	check_bounds(w->v);
	fake_require(!w->v->nconns);
	close_fd(&w->v->thread.epoll_fd);
	dev->ops->free(dev);
	for (i = 0; i < HOST_FDS; i++)
		close_fd(&w->fds[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct world w = {.p = data, .end = data + len};

	start(&w);
	while (w.p < w.end && !w.broken) {
		switch (take(&w) % 10) {
		case 0:
		case 1:
		case 2:
			send_packet(&w);
			break;
		case 3:
			add_buffers(&w);
			break;
		case 4:
			connect_guest(&w);
			break;
		case 5:
		case 6:
			use_socket(&w);
			break;
		case 7:
			w.accept = take(&w) > 200;
			break;
		default:
			run(&w);
			collect(&w);
			break;
		}
	}
	run(&w);
	stop(&w);
	return 0;
}
