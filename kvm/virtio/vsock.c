/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device (virtio 1.2 §5.10): stream sockets between programs in the guest and the monitor.
 *
 * Short primer. A connection is a pair (guest port, host port); both sides send packets with one header (struct
 * virtio_vsock_hdr) through the two queues. There is no sequence number and nothing is ever lost or reordered.
 *
 *        guest                      this device                   monitor
 *          │◀──────── REQUEST ─────────│◀── virtio_vsock_connect(fd)
 *          │──── RESPONSE (or RST) ───▶│                             (RST: fd is closed)
 *          │         … or …            │
 *          │───────── REQUEST ────────▶│── on_accept(socket pair) ──▶│
 *          │◀─── RESPONSE (or RST) ────│
 *          │◀════════ RW … ═══════════▶│◀═══════ the socket ════════▶│
 *          │── SHUTDOWN SEND ─────────▶│── shutdown(SHUT_WR) ───────▶│ end of stream
 *          │◀──────── SHUTDOWN SEND ───│◀── end of stream ───────────│
 *          │◀──────── SHUTDOWN RCV ────│◀── EPIPE: it reads no more ─│ the guest's writer gets EPIPE
 *          │◀── SHUTDOWN SEND, RCV ────│    both directions are done: the socket is closed
 *          │───────── RST ────────────▶│    the ports are free again (or after VSOCK_CLOSE_TIMEOUT_MS)
 *
 * Credit. Every header carries buf_alloc (room its sender has for this connection) and fwd_cnt (payload bytes it has passed
 * on so far, modulo 2^32). The other side may have at most buf_alloc bytes on the way that fwd_cnt does not cover yet.
 *   From the guest: payload goes from guest memory to the socket directly; what the socket does not take waits in a ring of
 *   the connection's, at most VSOCK_BUF_ALLOC bytes, for a guest that sends more has its connection reset. fwd_cnt grows as the
 *   socket takes bytes, and an update is sent when VSOCK_CREDIT_STEP were freed.
 *   To the guest: the socket is read directly into the driver's buffers, and only as far as the guest's credit goes. Nothing is
 *   kept here. A stream whose reader has stopped therefore stops its writer, and no other stream.
 *
 * Bounds. Everything a guest can make us keep has a cap: connections, their rings, and refusals (RST to packets of no
 * connection). Control packets of a connection are bits in it and wait with it. When the refusals are full, no more packets are
 * taken until the driver gives buffers.
 *
 * One thread does all of it (virtio_vsock_connect() only leaves a request). Sockets are watched edge-triggered, so that a stream
 * that cannot go on costs nothing. Files: vsock.c the device and its table; vsock_conn.c the state machine; vsock_rx.c what
 * goes to the guest. All that comes from the queues is the guest's: ports, lengths, operations are checked in
 * vsock_handle_packet(). Sockets may end or fail at any time.
 *
 * A snapshot's restore will have to send VIRTIO_VSOCK_EVENT_TRANSPORT_RESET (§5.10.6.7) on the event queue, whose buffers are
 * left alone until then.
 */
#include "kvm/virtio/vsock.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define VSOCK_QUEUE_MAX 256
#define VSOCK_TX_BUDGET 64	     /* packets of the guest's per round */
#define VSOCK_PORT_FIRST 0x40000000u /* host ports of our own connections */
#define VSOCK_PORT_LAST 0x7fffffffu

/* Tags of the thread's descriptors; those of connections have their generation, never 0, in the high half */
enum { TAG_RX = VSOCK_QUEUE_RX, TAG_TX = VSOCK_QUEUE_TX, TAG_WAKE };

/* ---- the table ---- */

static unsigned int bucket_of(uint32_t guest_port, uint32_t host_port)
{
	/* One side of the pair counts up, the other is a well-known port */
	return (guest_port ^ host_port ^ (guest_port >> 8) ^ (host_port >> 8)) % VSOCK_BUCKETS;
}

struct vsock_conn *vsock_find(const struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_conn *c;

	for (c = v->buckets[bucket_of(guest_port, host_port)]; c; c = c->bucket_next) {
		if (c->guest_port == guest_port && c->host_port == host_port)
			return c;
	}
	return NULL;
}

struct vsock_conn *vsock_conn_new(struct vsock *v, uint32_t guest_port, uint32_t host_port, int fd)
{
	struct vsock_conn **bucket = &v->buckets[bucket_of(guest_port, host_port)];
	struct vsock_conn *c;
	uint32_t slot = 0;

	if (v->nconns == VSOCK_CONNECTIONS_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	while (v->conns[slot])
		slot++;
	if (!++v->generation)
		v->generation = 1;
	c->slot = slot;
	c->tag = (uint64_t)v->generation << 32 | slot;
	c->guest_port = guest_port;
	c->host_port = host_port;
	c->fd = fd;
	c->readable = true;
	c->hashed = true;
	c->bucket_next = *bucket;
	*bucket = c;
	v->conns[slot] = c;
	v->nconns++;
	return c;
}

int vsock_conn_watch(struct vsock *v, struct vsock_conn *c)
{
	return virtio_thread_watch(&v->thread, c->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				   c->tag);
}

void vsock_conn_unhash(struct vsock *v, struct vsock_conn *c)
{
	struct vsock_conn **p = &v->buckets[bucket_of(c->guest_port, c->host_port)];

	if (!c->hashed)
		return;
	while (*p != c)
		p = &(*p)->bucket_next;
	*p = c->bucket_next;
	c->hashed = false;
}

void vsock_conn_close_fd(struct vsock *v, struct vsock_conn *c)
{
	if (c->fd >= 0) {
		/* Somebody else may still hold this end: close() alone would neither end the stream nor the events */
		virtio_thread_unwatch(&v->thread, c->fd);
		(void)shutdown(c->fd, SHUT_RDWR);
		close_fd(&c->fd);
	}
	free(c->pending);
	c->pending = NULL;
	c->pending_len = 0;
	c->read_done = c->write_done = true;
}

void vsock_conn_free(struct vsock *v, struct vsock_conn *c)
{
	vsock_conn_close_fd(v, c);
	vsock_conn_unhash(v, c);
	if (c->ready)
		TAILQ_REMOVE(&v->ready, c, ready_entry);
	if (c->state == VSOCK_CLOSING)
		v->nclosing--;
	v->conns[c->slot] = NULL;
	v->nconns--;
	free(c);
}

static void free_connections(struct vsock *v)
{
	uint32_t i;

	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		if (v->conns[i])
			vsock_conn_free(v, v->conns[i]);
	}
	v->nrefusals = 0;
	v->nbufs = 0;
}

/* ---- connections asked for by the monitor ---- */

int virtio_vsock_connect(struct virtio_dev *dev, uint32_t port, int fd)
{
	struct vsock *v = container_of(dev, struct vsock, dev);
	int r = -ENOBUFS;

	(void)pthread_mutex_lock(&v->lock);
	if (v->nrequests < VSOCK_CONNECTIONS_MAX) {
		v->requests[v->nrequests++] = (struct vsock_request){.port = port, .fd = fd};
		r = 0;
	}
	(void)pthread_mutex_unlock(&v->lock);
	if (r < 0)
		(void)close(fd);
	else
		(void)eventfd_write(v->wake_fd, 1);
	return r;
}

static bool take_request(struct vsock *v, struct vsock_request *out)
{
	bool found;

	(void)pthread_mutex_lock(&v->lock);
	found = v->nrequests > 0;
	if (found) {
		*out = v->requests[0];
		v->nrequests--;
		memmove(v->requests, v->requests + 1, v->nrequests * sizeof(v->requests[0]));
	}
	(void)pthread_mutex_unlock(&v->lock);
	return found;
}

static uint32_t pick_host_port(struct vsock *v, uint32_t guest_port)
{
	uint32_t port;

	/* Ends: the table holds fewer connections than there are ports */
	do {
		port = v->next_port;
		v->next_port = port == VSOCK_PORT_LAST ? VSOCK_PORT_FIRST : port + 1;
	} while (vsock_find(v, guest_port, port));
	return port;
}

static void start_requests(struct vsock *v)
{
	struct vsock_request request;
	struct vsock_conn *c;

	while (v->nconns < VSOCK_CONNECTIONS_MAX && take_request(v, &request)) {
		c = vsock_conn_new(v, request.port, pick_host_port(v, request.port), request.fd);
		if (!c) {
			(void)close(request.fd);
			continue;
		}
		if (vsock_conn_watch(v, c) < 0) {
			vsock_conn_free(v, c);
			continue;
		}
		c->send = VSOCK_SEND_REQUEST;
		vsock_conn_settle(v, c);
	}
}

static void drop_requests(struct vsock *v)
{
	struct vsock_request request;

	while (take_request(v, &request))
		(void)close(request.fd);
}

/* ---- the thread ---- */

/* Return: 1 when packets are left, 0 when not (a kick tells), -EPROTO */
static int take_packets(struct vsock *v)
{
	struct virtq *q = &v->dev.queues[VSOCK_QUEUE_TX];
	unsigned int budget = VSOCK_TX_BUDGET;
	int r;

	(void)virtq_want_kicks(q, false);
	while (budget) {
		if (v->nrefusals == VSOCK_RESETS_MAX)
			return 0; /* vsock_feed() says when there is room again */
		r = virtq_pop(q, &v->tx_chain);
		if (r < 0)
			return r;
		if (!r) {
			if (!virtq_want_kicks(q, true))
				return 0;
			(void)virtq_want_kicks(q, false);
			budget--;
			continue;
		}
		r = vsock_handle_packet(v, &v->tx_chain);
		if (r < 0)
			return r;
		virtq_push(q, v->tx_chain.head, 0);
		budget--;
	}
	return 1;
}

static void expire(struct vsock *v)
{
	uint64_t now;
	uint32_t i;

	if (!v->nclosing)
		return;
	now = io_now_ms();
	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		struct vsock_conn *c = v->conns[i];

		if (c && c->state == VSOCK_CLOSING && c->deadline_ms <= now)
			vsock_conn_reset(v, c);
	}
}

/* Return: ms until the next connection's time is over, -1 if none waits */
static int time_left(const struct vsock *v)
{
	uint64_t now, first = UINT64_MAX;
	uint32_t i;

	if (!v->nclosing)
		return -1;
	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		const struct vsock_conn *c = v->conns[i];

		if (c && c->state == VSOCK_CLOSING && c->deadline_ms < first)
			first = c->deadline_ms;
	}
	now = io_now_ms();
	return first > now ? (int)(first - now) : 0;
}

static bool requests_can_start(struct vsock *v)
{
	bool waiting;

	(void)pthread_mutex_lock(&v->lock);
	waiting = v->nrequests > 0;
	(void)pthread_mutex_unlock(&v->lock);
	return waiting && v->nconns < VSOCK_CONNECTIONS_MAX;
}

static int give_up(struct vsock *v)
{
	v->stuck = true;
	free_connections(v);
	drop_requests(v);
	virtio_dev_broken(&v->dev, "invalid ring, descriptor chain or packet");
	return -1;
}

static int vsock_on_round(void *arg)
{
	struct vsock *v = arg;
	struct virtq *rx = &v->dev.queues[VSOCK_QUEUE_RX], *tx = &v->dev.queues[VSOCK_QUEUE_TX];
	int packets, feed;
	bool tell_rx, tell_tx;

	if (v->stuck) {
		drop_requests(v);
		return -1;
	}
	start_requests(v);
	packets = take_packets(v);
	if (packets < 0)
		return give_up(v);
	expire(v);
	feed = vsock_feed(v);
	if (feed < 0)
		return give_up(v);
	/* One interrupt for all that this round has used */
	tell_rx = virtq_needs_interrupt(rx);
	tell_tx = virtq_needs_interrupt(tx);
	if (tell_rx || tell_tx)
		v->dev.interrupt(&v->dev, false);
	return packets || feed || requests_can_start(v) ? 0 : time_left(v);
}

static void vsock_on_event(void *arg, uint64_t tag, uint32_t events)
{
	struct vsock *v = arg;
	uint32_t slot = (uint32_t)tag;

	/* Queues and requests are looked at in each round anyway */
	if (!(tag >> 32) || slot >= VSOCK_CONNECTIONS_MAX)
		return;
	/* An event fetched together with one that has freed its connection finds none, or one with another tag */
	if (v->conns[slot] && v->conns[slot]->tag == tag)
		vsock_conn_on_event(v, v->conns[slot], events);
}

const struct virtio_thread_ops vsock_thread_ops = {
	.on_event = vsock_on_event,
	.on_round = vsock_on_round,
};

/* ---- the device ---- */

static void vsock_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	struct virtio_vsock_config config = {
		.guest_cid = htole64(container_of(dev, struct vsock, dev)->guest_cid),
	};

	memcpy(buf, (uint8_t *)&config + off, len);
}

static int vsock_activate(struct virtio_dev *dev, struct err *err)
{
	struct vsock *v = container_of(dev, struct vsock, dev);
	int r;

	v->stuck = false;
	r = virtio_thread_start(&v->thread, "virtio-vsock", &vsock_thread_ops, v, err);
	if (r < 0)
		return r;
	r = virtio_thread_watch_kicks(&v->thread, &dev->queues[VSOCK_QUEUE_RX], TAG_RX);
	if (!r)
		r = virtio_thread_watch_kicks(&v->thread, &dev->queues[VSOCK_QUEUE_TX], TAG_TX);
	if (!r)
		r = virtio_thread_watch(&v->thread, v->wake_fd, EPOLLIN | EPOLLET, TAG_WAKE);
	if (r < 0) {
		virtio_thread_stop(&v->thread);
		return err_sys(err, -r, "virtio-vsock: cannot watch its queues");
	}
	return 0;
}

/* Requests stay: a driver resets the device before it uses it, and the monitor may have been faster */
static void vsock_reset(struct virtio_dev *dev)
{
	struct vsock *v = container_of(dev, struct vsock, dev);

	virtio_thread_stop(&v->thread);
	free_connections(v);
}

static void vsock_free(struct virtio_dev *dev)
{
	struct vsock *v = container_of(dev, struct vsock, dev);

	drop_requests(v);
	close_fd(&v->wake_fd);
	(void)pthread_mutex_destroy(&v->lock);
	free(v);
}

static const struct virtio_ops vsock_ops = {
	.name = "virtio-vsock",
	.id = VIRTIO_ID_VSOCK,
	.nqueues = VSOCK_NQUEUES,
	.queue_max = VSOCK_QUEUE_MAX,
	.config_len = sizeof(struct virtio_vsock_config),
	.config_read = vsock_config_read,
	.activate = vsock_activate,
	.reset = vsock_reset,
	.free = vsock_free,
};

struct virtio_dev *virtio_vsock_new(uint32_t guest_cid,
				    int (*on_accept)(void *arg, uint32_t port, int fd), void *arg,
				    struct err *err)
{
	struct vsock *v = calloc(1, sizeof(*v));

	if (!v) {
		(void)err_sys(err, ENOMEM, "Cannot make the socket device");
		return NULL;
	}
	v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->wake_fd < 0) {
		(void)err_sys(err, errno, "Cannot make the socket device");
		free(v);
		return NULL;
	}
	(void)pthread_mutex_init(&v->lock, NULL);
	TAILQ_INIT(&v->ready);
	v->dev.ops = &vsock_ops;
	v->guest_cid = guest_cid;
	v->on_accept = on_accept;
	v->arg = arg;
	v->close_timeout_ms = VSOCK_CLOSE_TIMEOUT_MS;
	v->next_port = VSOCK_PORT_FIRST;
	return &v->dev;
}
