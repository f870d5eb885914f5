/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the socket device: what packets, socket events and time do to it. vsock.c has the primer.
 *
 *              REQUEST from guest, accepted
 *                          │
 *   CONNECTING ─RESPONSE─▶ ESTABLISHED ─both directions done by the host─▶ CLOSING ─RST or SHUTDOWN both, or time─▶ gone
 *        │                  │      │                                          │
 *        │ breach           │      └─RST while bytes wait─▶ DRAINING ─taken─▶ gone
 *        ▼                  ▼                                                 ▼ time
 *    RESETTING ◀─ breach, or SHUTDOWN both and all bytes taken ──────────────┘    RESETTING ─RST sent─▶ gone
 *
 * An event sets flags of the connection (read_done, write_done, peer_shutdown, …); vsock_conn_settle() then draws all
 * consequences in one place, in whatever order the events came. What Linux does as a peer was the measure: it answers
 * SHUTDOWN of both directions with RST, at once or when its program has read what was left; it sends RST by itself 8 s after
 * a close that nobody answered; and it may use its port again as soon as it has seen or sent RST.
 */
#include "kvm/virtio/vsock.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/io.h"

/* A header in the host's byte order, copied out of guest memory once */
struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len, flags, buf_alloc, fwd_cnt;
	uint16_t type, op;
};

/* ---- what a connection wants ---- */

uint32_t vsock_conn_credit(const struct vsock_conn *c)
{
	uint32_t in_flight = c->sent - c->peer_fwd_cnt;

	return in_flight >= c->peer_buf_alloc ? 0 : c->peer_buf_alloc - in_flight;
}

bool vsock_conn_can_read(const struct vsock_conn *c)
{
	return c->state == VSOCK_ESTABLISHED && c->readable && !c->read_done &&
	       vsock_conn_credit(c);
}

/* Is there something to send to the guest? */
static bool has_work(const struct vsock_conn *c)
{
	if (c->state == VSOCK_DRAINING)
		return false;
	return c->state == VSOCK_RESETTING || c->send || (c->want_shutdown & ~c->sent_shutdown) ||
	       vsock_conn_can_read(c);
}

static void enter(struct vsock *v, struct vsock_conn *c, enum vsock_state state)
{
	if (c->state == VSOCK_CLOSING)
		v->nclosing--;
	if (state == VSOCK_CLOSING)
		v->nclosing++;
	c->state = state;
}

static void enqueue(struct vsock *v, struct vsock_conn *c)
{
	if (c->ready || !has_work(c))
		return;
	TAILQ_INSERT_TAIL(&v->ready, c, ready_entry);
	c->ready = true;
}

void vsock_conn_reset(struct vsock *v, struct vsock_conn *c)
{
	vsock_conn_close_fd(v, c);
	enter(v, c, VSOCK_RESETTING);
	c->send = 0;
	enqueue(v, c);
}

/* ---- from the guest to the socket ---- */

static void count_forwarded(struct vsock_conn *c, uint32_t len)
{
	c->forwarded += len;
	if (c->state == VSOCK_ESTABLISHED && c->forwarded - c->told_forwarded >= VSOCK_CREDIT_STEP)
		c->send |= VSOCK_SEND_CREDIT;
}

/* The socket takes no more, ever: what waits for it, and what comes, counts as forwarded */
static void stop_writing(struct vsock_conn *c)
{
	c->write_done = true;
	free(c->pending);
	c->pending = NULL;
	count_forwarded(c, c->pending_len);
	c->pending_len = 0;
}

/* Return: bytes taken, 0 when none are now or ever */
static size_t write_socket(struct vsock_conn *c, struct iovec *iov, size_t niov)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = niov};
	ssize_t n;

	do {
		n = sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return (size_t)n;
	if (errno != EAGAIN)
		stop_writing(c);
	return 0;
}

static void flush_pending(struct vsock_conn *c)
{
	struct iovec iov[2];
	uint32_t first, n;

	while (c->pending_len) {
		first = VSOCK_BUF_ALLOC - c->pending_head;
		if (first > c->pending_len)
			first = c->pending_len;
		iov[0] = (struct iovec){c->pending + c->pending_head, first};
		iov[1] = (struct iovec){c->pending, c->pending_len - first};
		n = (uint32_t)write_socket(c, iov, iov[1].iov_len ? 2 : 1);
		if (!n)
			return;
		c->pending_head = (c->pending_head + n) % VSOCK_BUF_ALLOC;
		c->pending_len -= n;
		count_forwarded(c, n);
	}
	free(c->pending);
	c->pending = NULL;
}

/* Keeps what the socket did not take; the caller has checked the credit, so that it fits. Return: 0 or -ENOMEM */
static int keep(struct vsock_conn *c, const struct iovec *iov, size_t niov, size_t skip)
{
	uint32_t tail;
	size_t i, part, len;
	const uint8_t *base;

	if (!c->pending) {
		c->pending = malloc(VSOCK_BUF_ALLOC);
		if (!c->pending)
			return -ENOMEM;
		c->pending_head = 0;
	}
	for (i = 0; i < niov; i++) {
		base = iov[i].iov_base;
		len = iov[i].iov_len;
		if (skip >= len) {
			skip -= len;
			continue;
		}
		for (base += skip, len -= skip, skip = 0; len; base += part, len -= part) {
			tail = (c->pending_head + c->pending_len) % VSOCK_BUF_ALLOC;
			part = VSOCK_BUF_ALLOC - tail;
			if (part > len)
				part = len;
			memcpy(c->pending + tail, base, part);
			c->pending_len += (uint32_t)part;
		}
	}
	return 0;
}

static int forward(struct vsock_conn *c, struct iovec *iov, size_t niov, uint32_t len)
{
	size_t taken = 0;

	if (!c->write_done && !c->pending_len)
		taken = write_socket(c, iov, niov);
	if (c->write_done) {
		count_forwarded(c, len);
		return 0;
	}
	count_forwarded(c, (uint32_t)taken);
	return taken < len ? keep(c, iov, niov, taken) : 0;
}

/* ---- consequences ---- */

/* Both directions are done on our side: the socket has no use any more, the guest has to agree */
static void start_closing(struct vsock *v, struct vsock_conn *c)
{
	vsock_conn_close_fd(v, c);
	enter(v, c, VSOCK_CLOSING);
	c->want_shutdown = VSOCK_SHUTDOWN_BOTH;
	c->deadline_ms = io_now_ms() + v->close_timeout_ms;
}

static void settle_established(struct vsock *v, struct vsock_conn *c)
{
	bool guest_done;

	guest_done = (c->peer_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) && !c->pending_len;
	/* The guest has closed: RST is the answer, once all that it sent has arrived */
	if ((c->peer_shutdown & VSOCK_SHUTDOWN_BOTH) == VSOCK_SHUTDOWN_BOTH) {
		if (guest_done || c->write_done)
			vsock_conn_reset(v, c);
		return;
	}
	if (guest_done && !c->write_shut) {
		(void)shutdown(c->fd, SHUT_WR);
		c->write_shut = true;
	}
	if (c->write_done)
		c->want_shutdown |= VIRTIO_VSOCK_SHUTDOWN_RCV;
	if (c->read_done)
		c->want_shutdown |= VIRTIO_VSOCK_SHUTDOWN_SEND;
	if (c->read_done && (c->write_done || guest_done))
		start_closing(v, c);
}

void vsock_conn_settle(struct vsock *v, struct vsock_conn *c)
{
	/* Nobody reads what the guest sends; what was written to us before is still read. A CONNECTING one waits for the answer. */
	if (c->hung_up && !c->write_done && c->state != VSOCK_CONNECTING)
		stop_writing(c);
	if (c->state == VSOCK_DRAINING) {
		if (!c->pending_len)
			vsock_conn_free(v, c);
		return;
	}
	/* An accepted connection is announced to the guest before anything else happens to it */
	if (c->state == VSOCK_ESTABLISHED)
		settle_established(v, c);
	enqueue(v, c);
}

/* Cuts @chain's readable buffers down to the @len payload bytes behind the header; Return: the first, *@n of them */
static struct iovec *payload_of(struct virtq_chain *chain, uint32_t len, size_t *n)
{
	struct iovec *iov = chain->iov;
	size_t skip = sizeof(struct virtio_vsock_hdr), left = chain->nread, i;

	while (left && skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		left--;
	}
	if (left) {
		iov->iov_base = (uint8_t *)iov->iov_base + skip;
		iov->iov_len -= skip;
	}
	for (i = 0; i < left && len; i++) {
		if (iov[i].iov_len > len)
			iov[i].iov_len = len;
		len -= (uint32_t)iov[i].iov_len;
	}
	*n = i;
	return iov;
}

/* ---- packets: one handler per operation; Return: 0, or < 0 for a breach that resets the connection ---- */

static int on_response(struct vsock *v, struct vsock_conn *c, const struct packet *p,
		       struct virtq_chain *chain)
{
	(void)p;
	(void)chain;
	/* The guest cannot answer what it was not asked yet */
	if (c->state == VSOCK_CONNECTING && !c->send) {
		enter(v, c, VSOCK_ESTABLISHED);
		return 0;
	}
	return -EPROTO;
}

static int on_shutdown(struct vsock *v, struct vsock_conn *c, const struct packet *p,
		       struct virtq_chain *chain)
{
	(void)chain;
	if (c->state == VSOCK_CONNECTING)
		return -EPROTO;
	c->peer_shutdown |= p->flags & VSOCK_SHUTDOWN_BOTH;
	if (c->state == VSOCK_CLOSING) {
		/* Both sides have closed at the same time, and each waits for a reset */
		if ((c->peer_shutdown & VSOCK_SHUTDOWN_BOTH) == VSOCK_SHUTDOWN_BOTH)
			vsock_conn_reset(v, c);
		return 0;
	}
	if ((c->peer_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) && !c->read_done) {
		c->read_done = true;
		(void)shutdown(c->fd, SHUT_RD); /* gives EPIPE to whoever writes at the other end */
	}
	return 0;
}

static int on_rw(struct vsock *v, struct vsock_conn *c, const struct packet *p,
		 struct virtq_chain *chain)
{
	struct iovec *iov;
	size_t niov;

	(void)v;
	if (c->state == VSOCK_CLOSING)
		return 0; /* was on its way when we closed */
	if (c->state != VSOCK_ESTABLISHED || (c->peer_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND))
		return -EPROTO;
	if (p->len > VSOCK_BUF_ALLOC - c->pending_len)
		return -EPROTO; /* more than its credit */
	if (!p->len)
		return 0;
	iov = payload_of(chain, p->len, &niov);
	return forward(c, iov, niov, p->len);
}

static int on_credit_request(struct vsock *v, struct vsock_conn *c, const struct packet *p,
			     struct virtq_chain *chain)
{
	(void)v;
	(void)p;
	(void)chain;
	if (c->state == VSOCK_ESTABLISHED)
		c->send |= VSOCK_SEND_CREDIT;
	return 0;
}

static int on_credit_update(struct vsock *v, struct vsock_conn *c, const struct packet *p,
			    struct virtq_chain *chain)
{
	/* Each packet updates the credit */
	(void)v;
	(void)c;
	(void)p;
	(void)chain;
	return 0;
}

/* The guest has forgotten the connection; what it has sent before is still delivered */
static void on_rst(struct vsock *v, struct vsock_conn *c)
{
	if (c->state != VSOCK_ESTABLISHED || !c->pending_len) {
		vsock_conn_free(v, c);
		return;
	}
	vsock_conn_unhash(v, c);
	enter(v, c, VSOCK_DRAINING);
	c->send = c->want_shutdown = 0;
	if (!c->read_done)
		(void)shutdown(c->fd, SHUT_RD);
	c->read_done = true;
}

static int (*const handlers[])(struct vsock *, struct vsock_conn *, const struct packet *,
			       struct virtq_chain *) = {
	[VIRTIO_VSOCK_OP_RESPONSE] = on_response,
	[VIRTIO_VSOCK_OP_SHUTDOWN] = on_shutdown,
	[VIRTIO_VSOCK_OP_RW] = on_rw,
	[VIRTIO_VSOCK_OP_CREDIT_UPDATE] = on_credit_update,
	[VIRTIO_VSOCK_OP_CREDIT_REQUEST] = on_credit_request,
};
#define NHANDLERS (sizeof(handlers) / sizeof(handlers[0]))

/* ---- packets of no connection ---- */

static void refuse(struct vsock *v, const struct packet *p)
{
	if (p->op == VIRTIO_VSOCK_OP_RST || v->nrefusals == VSOCK_RESETS_MAX)
		return; /* a reset is never answered; take_packets() has left room for one */
	v->refusals[(v->refusals_head + v->nrefusals++) % VSOCK_RESETS_MAX] =
		(struct vsock_refusal){
			.host_cid = p->dst_cid,
			.host_port = p->dst_port,
			.guest_port = p->src_port,
			.type = p->type,
		};
}

static void set_peer_credit(struct vsock_conn *c, const struct packet *p)
{
	c->peer_buf_alloc = p->buf_alloc;
	c->peer_fwd_cnt = p->fwd_cnt;
}

static void accept_request(struct vsock *v, const struct packet *p)
{
	struct vsock_conn *c;
	int fds[2];

	if (v->nconns == VSOCK_CONNECTIONS_MAX ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		refuse(v, p);
		return;
	}
	c = vsock_conn_new(v, p->src_port, p->dst_port, fds[0]);
	if (!c) {
		(void)close(fds[0]);
		(void)close(fds[1]);
		refuse(v, p);
		return;
	}
	if (v->on_accept(v->arg, p->dst_port, fds[1]) || vsock_conn_watch(v, c) < 0) {
		vsock_conn_reset(v, c);
		return;
	}
	set_peer_credit(c, p);
	enter(v, c, VSOCK_ESTABLISHED);
	c->send = VSOCK_SEND_RESPONSE;
	vsock_conn_settle(v, c);
}

static int read_packet(const struct virtq_chain *chain, struct packet *p)
{
	struct virtio_vsock_hdr hdr;

	/* The one fetch of the header */
	if (virtq_copy_in(chain, 0, &hdr, sizeof(hdr)) != sizeof(hdr))
		return -EPROTO;
	*p = (struct packet){
		.src_cid = le64toh(hdr.src_cid),
		.dst_cid = le64toh(hdr.dst_cid),
		.src_port = le32toh(hdr.src_port),
		.dst_port = le32toh(hdr.dst_port),
		.len = le32toh(hdr.len),
		.flags = le32toh(hdr.flags),
		.buf_alloc = le32toh(hdr.buf_alloc),
		.fwd_cnt = le32toh(hdr.fwd_cnt),
		.type = le16toh(hdr.type),
		.op = le16toh(hdr.op),
	};
	return p->len > chain->read_bytes - sizeof(hdr) ? -EPROTO : 0;
}

static bool packet_is_for_us(const struct vsock *v, const struct packet *p)
{
	return p->src_cid == v->guest_cid && p->dst_cid == VSOCK_HOST_CID &&
	       p->type == VIRTIO_VSOCK_TYPE_STREAM;
}

static void handle_for_connection(struct vsock *v, struct vsock_conn *c, const struct packet *p,
				  struct virtq_chain *chain)
{
	if (p->op == VIRTIO_VSOCK_OP_RST) {
		on_rst(v, c);
		return;
	}
	if (c->state == VSOCK_RESETTING)
		return;
	set_peer_credit(c, p);
	if (p->op >= NHANDLERS || !handlers[p->op] || handlers[p->op](v, c, p, chain) < 0)
		vsock_conn_reset(v, c);
	else
		vsock_conn_settle(v, c);
}

int vsock_handle_packet(struct vsock *v, struct virtq_chain *chain)
{
	struct vsock_conn *c;
	struct packet p;
	int r;

	r = read_packet(chain, &p);
	if (r < 0)
		return r;
	if (!packet_is_for_us(v, &p)) {
		refuse(v, &p);
		return 0;
	}
	c = vsock_find(v, p.src_port, p.dst_port);
	/* The guest uses its port again: what we still close under this name has ended for it */
	if (c && p.op == VIRTIO_VSOCK_OP_REQUEST &&
	    (c->state == VSOCK_CLOSING || c->state == VSOCK_RESETTING)) {
		vsock_conn_free(v, c);
		c = NULL;
	}
	if (c)
		handle_for_connection(v, c, &p, chain);
	else if (p.op == VIRTIO_VSOCK_OP_REQUEST)
		accept_request(v, &p);
	else
		refuse(v, &p);
	return 0;
}

/* ---- the socket ---- */

void vsock_conn_on_event(struct vsock *v, struct vsock_conn *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (events & EPOLLHUP)
		c->hung_up = true;
	else if (events & EPOLLOUT)
		flush_pending(c);
	vsock_conn_settle(v, c);
}
