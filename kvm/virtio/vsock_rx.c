/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets to the guest: refusals, control packets, and what is read from sockets. vsock.c has the primer.
 *
 *   refusals ──────────────┐
 *   ready connections, ────┼──▶ the driver's buffers, some held ready ──▶ used ring
 *   one turn each          ┘
 *
 * The driver's buffers are the only room there is. A few are taken ahead and kept in a compact form, so that one read of a
 * socket can fill several of them (Linux offers 4 KiB each); a read that finds nothing leaves them for the next connection.
 * When they run out, everything stays where it is until the driver kicks; its kicks are asked for only then.
 *
 * Turns: connections with work stand in a list; each sends its control packets and at most VSOCK_BATCH_BYTES of data, then goes
 * to the end. A connection without credit is not in the list at all: a packet from the guest brings it back.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "kvm/virtio/vsock.h"

#define FEED_TURNS 64 /* per round: the guest's packets want their turn too */

/* ---- the driver's buffers ---- */

static int compact(const struct virtq_chain *chain, struct vsock_rx_buf *buf)
{
	uint16_t i;

	*buf = (struct vsock_rx_buf){.head = chain->head};
	for (i = 0; i < chain->nwrite && i < VSOCK_RX_IOVS; i++) {
		buf->iov[i] = chain->iov[chain->nread + i];
		buf->bytes += (uint32_t)buf->iov[i].iov_len;
		buf->niov++;
	}
	/* Room for nothing but a header would let data go in circles */
	return buf->bytes > sizeof(struct virtio_vsock_hdr) ? 0 : -EPROTO;
}

/* Return: how many are held, 0 when the driver has none (and will kick), -EPROTO */
static int hold_buffers(struct vsock *v, unsigned int wanted)
{
	struct virtq *q = &v->dev.queues[VSOCK_QUEUE_RX];
	int r;

	while (v->nbufs < wanted) {
		r = virtq_pop(q, &v->rx_chain);
		if (!r) {
			if (v->nbufs || !virtq_want_kicks(q, true))
				break;
			(void)virtq_want_kicks(q, false);
			continue;
		}
		if (r < 0)
			return r;
		r = compact(&v->rx_chain, &v->bufs[v->nbufs]);
		if (r < 0)
			return r;
		v->nbufs++;
	}
	return (int)v->nbufs;
}

/* Writes @hdr at the start of @buf; the pieces may be of any size */
static void put_header(const struct vsock_rx_buf *buf, const struct virtio_vsock_hdr *hdr)
{
	const uint8_t *from = (const uint8_t *)hdr;
	size_t left = sizeof(*hdr), part;
	uint16_t i;

	for (i = 0; left; i++) {
		part = buf->iov[i].iov_len < left ? buf->iov[i].iov_len : left;
		memcpy(buf->iov[i].iov_base, from, part);
		from += part;
		left -= part;
	}
}

/* Gives the first @n held buffers back to the driver, each with its header and payload of *@lens bytes */
static void use_buffers(struct vsock *v, struct virtio_vsock_hdr *hdr, const uint32_t *lens,
			unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		hdr->len = htole32(lens[i]);
		put_header(&v->bufs[i], hdr);
		virtq_push(&v->dev.queues[VSOCK_QUEUE_RX], v->bufs[i].head,
			   (uint32_t)sizeof(*hdr) + lens[i]);
	}
	v->nbufs -= n;
	memmove(v->bufs, v->bufs + n, v->nbufs * sizeof(v->bufs[0]));
}

/* ---- packets ---- */

static struct virtio_vsock_hdr header_of(const struct vsock *v, struct vsock_conn *c, uint16_t op,
					 uint32_t flags)
{
	/* Every header tells the credit */
	c->told_forwarded = c->forwarded;
	c->send &= ~VSOCK_SEND_CREDIT;
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(VSOCK_HOST_CID),
		.dst_cid = htole64(v->guest_cid),
		.src_port = htole32(c->host_port),
		.dst_port = htole32(c->guest_port),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(op),
		.flags = htole32(flags),
		.buf_alloc = htole32(VSOCK_BUF_ALLOC),
		.fwd_cnt = htole32(c->forwarded),
	};
}

/* Return: 1 sent, 0 no buffer, -EPROTO */
static int send_control(struct vsock *v, struct vsock_conn *c, uint16_t op, uint32_t flags)
{
	struct virtio_vsock_hdr hdr;
	uint32_t len = 0;
	int r;

	r = hold_buffers(v, 1);
	if (r <= 0)
		return r;
	hdr = header_of(v, c, op, flags);
	use_buffers(v, &hdr, &len, 1);
	return 1;
}

static int send_refusal(struct vsock *v)
{
	const struct vsock_refusal *refusal = &v->refusals[v->refusals_head];
	struct virtio_vsock_hdr hdr = {
		.src_cid = htole64(refusal->host_cid),
		.dst_cid = htole64(v->guest_cid),
		.src_port = htole32(refusal->host_port),
		.dst_port = htole32(refusal->guest_port),
		.type = htole16(refusal->type),
		.op = htole16(VIRTIO_VSOCK_OP_RST),
	};
	uint32_t len = 0;
	int r;

	r = hold_buffers(v, 1);
	if (r <= 0)
		return r;
	use_buffers(v, &hdr, &len, 1);
	v->refusals_head = (v->refusals_head + 1) % VSOCK_RESETS_MAX;
	v->nrefusals--;
	return 1;
}

/* ---- data ---- */

/* The payload parts of the held buffers, @want bytes at most; Return: number of @iov filled */
static size_t gather(const struct vsock *v, uint32_t want, struct iovec *iov)
{
	size_t n = 0, skip, part;
	unsigned int i;
	uint16_t j;

	for (i = 0; i < v->nbufs && want; i++) {
		skip = sizeof(struct virtio_vsock_hdr);
		for (j = 0; j < v->bufs[i].niov && want; j++) {
			const struct iovec *piece = &v->bufs[i].iov[j];

			if (skip >= piece->iov_len) {
				skip -= piece->iov_len;
				continue;
			}
			part = piece->iov_len - skip < want ? piece->iov_len - skip : want;
			iov[n++] = (struct iovec){(uint8_t *)piece->iov_base + skip, part};
			want -= (uint32_t)part;
			skip = 0;
		}
	}
	return n;
}

/* @len bytes were read into the held buffers: make packets of them */
static void send_read(struct vsock *v, struct vsock_conn *c, uint32_t len)
{
	struct virtio_vsock_hdr hdr = header_of(v, c, VIRTIO_VSOCK_OP_RW, 0);
	uint32_t lens[VSOCK_RX_BUFS];
	unsigned int n;

	c->sent += len;
	for (n = 0; len; n++) {
		lens[n] = v->bufs[n].bytes - (uint32_t)sizeof(hdr);
		if (lens[n] > len)
			lens[n] = len;
		len -= lens[n];
	}
	use_buffers(v, &hdr, lens, n);
}

/* Return: 1 went on, 0 no buffer, -EPROTO */
static int send_data(struct vsock *v, struct vsock_conn *c)
{
	struct iovec iov[VSOCK_RX_BUFS * VSOCK_RX_IOVS];
	struct msghdr msg = {.msg_iov = iov};
	uint32_t want = vsock_conn_credit(c);
	ssize_t n;
	int r;

	r = hold_buffers(v, VSOCK_RX_BUFS);
	if (r <= 0)
		return r;
	if (want > VSOCK_BATCH_BYTES)
		want = VSOCK_BATCH_BYTES;
	msg.msg_iovlen = gather(v, want, iov);
	do {
		n = recvmsg(c->fd, &msg, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		send_read(v, c, (uint32_t)n);
	else if (n < 0 && errno == EAGAIN)
		c->readable = false;
	else
		c->read_done =
			true; /* its end; an error (ECONNRESET) is one as well, as the protocol knows no other */
	return 1;
}

/* ---- turns ---- */

/* Return: 1 said, 0 no buffer, -EPROTO */
static int send_opening(struct vsock *v, struct vsock_conn *c)
{
	bool request = c->send & VSOCK_SEND_REQUEST;
	int r;

	if (!(c->send & (VSOCK_SEND_REQUEST | VSOCK_SEND_RESPONSE)))
		return 1;
	r = send_control(v, c, request ? VIRTIO_VSOCK_OP_REQUEST : VIRTIO_VSOCK_OP_RESPONSE, 0);
	if (r > 0)
		c->send &= ~(VSOCK_SEND_REQUEST | VSOCK_SEND_RESPONSE);
	return r;
}

/* After data: its end is often found in the same turn, and a header of data has told the credit */
static int send_news(struct vsock *v, struct vsock_conn *c)
{
	int r;

	if (c->want_shutdown & ~c->sent_shutdown) {
		r = send_control(v, c, VIRTIO_VSOCK_OP_SHUTDOWN, c->want_shutdown);
		if (r <= 0)
			return r;
		c->sent_shutdown = c->want_shutdown;
	}
	if (c->send & VSOCK_SEND_CREDIT)
		return send_control(v, c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	return 1;
}

/* One turn of @c, which may be freed; Return: 1 done, 0 no buffer, -EPROTO */
static int serve(struct vsock *v, struct vsock_conn *c)
{
	int r;

	if (c->state == VSOCK_RESETTING) {
		r = send_control(v, c, VIRTIO_VSOCK_OP_RST, 0);
		if (r > 0)
			vsock_conn_free(v, c);
		return r;
	}
	r = send_opening(v, c);
	if (r <= 0)
		return r;
	if (vsock_conn_can_read(c)) {
		r = send_data(v, c);
		if (r <= 0)
			return r;
		vsock_conn_settle(v, c);
	}
	r = send_news(v, c);
	if (r <= 0)
		return r;
	/* To the end of the list, if there is more */
	TAILQ_REMOVE(&v->ready, c, ready_entry);
	c->ready = false;
	vsock_conn_settle(v, c);
	return 1;
}

static int send_refusals(struct vsock *v)
{
	int r;

	while (v->nrefusals) {
		r = send_refusal(v);
		if (r <= 0)
			return r;
	}
	return 1;
}

int vsock_feed(struct vsock *v)
{
	bool was_full = v->nrefusals == VSOCK_RESETS_MAX;
	unsigned int turns = FEED_TURNS;
	struct vsock_conn *c;
	int r;

	(void)virtq_want_kicks(&v->dev.queues[VSOCK_QUEUE_RX], false);
	r = send_refusals(v);
	while (r > 0 && (c = TAILQ_FIRST(&v->ready))) {
		if (!turns--)
			return 1;
		r = serve(v, c); /* without a buffer, it keeps its place */
	}
	if (r < 0)
		return r;
	return was_full && v->nrefusals < VSOCK_RESETS_MAX;
}
