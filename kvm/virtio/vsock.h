/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the socket device: what vsock.c, vsock_conn.c and vsock_rx.c share. The theory is at the top of vsock.c; other
 * files use kvm/virtio/virtio.h. All but the requests belongs to the device's thread.
 */
#ifndef KVM_VIRTIO_VSOCK_H
#define KVM_VIRTIO_VSOCK_H

#include <linux/virtio_vsock.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "kvm/virtio/thread.h"
#include "kvm/virtio/virtio.h"

#define VSOCK_HOST_CID 2
#define VSOCK_BUF_ALLOC \
	(128u << 10) /* credit we give for one connection: what may wait here for its socket */
#define VSOCK_CREDIT_STEP \
	(VSOCK_BUF_ALLOC / 4) /* so much must have been freed before an update is worth a packet */
#define VSOCK_BATCH_BYTES (64u << 10) /* to the guest, per turn of one connection */
#define VSOCK_RX_BUFS 16     /* the driver's buffers held at a time; Linux offers 4 KiB each */
#define VSOCK_RX_IOVS 8	     /* pieces of one such buffer that are used */
#define VSOCK_RESETS_MAX 256 /* refusals that wait for a buffer of the driver */
#define VSOCK_CLOSE_TIMEOUT_MS \
	8000 /* as Linux: how long a closed connection waits for the other side's reset */
#define VSOCK_BUCKETS 256
#define VSOCK_SHUTDOWN_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

enum { VSOCK_QUEUE_RX = 0, VSOCK_QUEUE_TX, VSOCK_QUEUE_EVENT, VSOCK_NQUEUES };

enum vsock_state {
	VSOCK_CONNECTING = 0, /* ours: REQUEST is sent or waits to be; the guest has not answered */
	VSOCK_ESTABLISHED,
	VSOCK_CLOSING, /* our socket is closed, SHUTDOWN of both directions is sent or waits to be; awaits RST */
	VSOCK_RESETTING, /* our socket is closed, RST waits for a buffer; then the connection is gone */
	VSOCK_DRAINING, /* the guest is done with it and may reuse its ports; our socket gets what is left */
};

/* Packets that a connection has yet to send, in the order of sending */
#define VSOCK_SEND_REQUEST (1u << 0)
#define VSOCK_SEND_RESPONSE (1u << 1)
#define VSOCK_SEND_CREDIT (1u << 2)

struct vsock_conn {
	TAILQ_ENTRY(vsock_conn) ready_entry;
	struct vsock_conn *bucket_next;
	uint64_t tag;  /* of its descriptor's events; never reused */
	uint32_t slot; /* in vsock.conns */
	uint32_t guest_port, host_port;
	enum vsock_state state;
	int fd; /* owned; -1 once closed */

	bool ready;	 /* in vsock.ready: has, or may have, something for the guest */
	bool hashed;	 /* packets from the guest find it */
	bool hung_up;	 /* nobody is at its other end, or both directions were shut down in turn */
	bool readable;	 /* reading did not say EAGAIN since the last event */
	bool read_done;	 /* nothing more is read from the socket: its end, or the guest's wish */
	bool write_done; /* nothing more is written to it: what the guest still sends is discarded */
	bool write_shut; /* the guest's end of stream was passed on */

	uint32_t send;		/* VSOCK_SEND_* */
	uint32_t want_shutdown; /* VIRTIO_VSOCK_SHUTDOWN_* that the guest should know of */
	uint32_t sent_shutdown; /* … and that it was told */
	uint32_t peer_shutdown; /* what the guest told */
	uint64_t deadline_ms;	/* in VSOCK_CLOSING: when RST is sent without further waiting */

	/* From the guest: `forwarded` has reached the socket (or was discarded), `pending` waits for it */
	uint32_t forwarded;	 /* fwd_cnt, modulo 2^32 */
	uint32_t told_forwarded; /* fwd_cnt in the last packet sent */
	uint8_t *pending;	 /* owned ring of VSOCK_BUF_ALLOC bytes, NULL while empty */
	uint32_t pending_head, pending_len;

	/* To the guest */
	uint32_t sent; /* payload bytes, modulo 2^32 */
	uint32_t peer_buf_alloc, peer_fwd_cnt;
};

/* A buffer of the driver's for one packet to it */
struct vsock_rx_buf {
	uint16_t head; /* for virtq_push() */
	uint16_t niov;
	uint32_t bytes; /* of all iov; more than a header */
	struct iovec iov[VSOCK_RX_IOVS];
};

/* A refusal of a packet that belongs to no connection */
struct vsock_refusal {
	uint64_t host_cid; /* as the guest addressed it */
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct vsock_request {
	uint32_t port;
	int fd; /* owned */
};

struct vsock {
	struct virtio_dev dev;
	struct virtio_thread thread;
	uint32_t guest_cid;
	int (*on_accept)(void *arg, uint32_t port, int fd);
	void *arg;
	uint32_t close_timeout_ms;
	bool stuck; /* the driver broke a ring: nothing is done until a reset */

	pthread_mutex_t lock; /* guards the requests */
	struct vsock_request requests[VSOCK_CONNECTIONS_MAX];
	unsigned int nrequests;
	int wake_fd; /* owned eventfd: there are requests */

	struct vsock_conn *conns[VSOCK_CONNECTIONS_MAX];
	struct vsock_conn *buckets[VSOCK_BUCKETS];
	unsigned int nconns, nclosing;
	uint32_t generation; /* of connections, for their tags */
	uint32_t next_port;  /* host port of the next connection of ours */
	TAILQ_HEAD(vsock_ready, vsock_conn) ready;

	struct vsock_refusal refusals[VSOCK_RESETS_MAX]; /* a ring */
	unsigned int refusals_head, nrefusals;

	struct vsock_rx_buf bufs[VSOCK_RX_BUFS];
	unsigned int nbufs;

	struct virtq_chain tx_chain, rx_chain; /* the ones in hand */
};

/* ---- vsock.c: the thread's work, and the table ---- */

extern const struct virtio_thread_ops vsock_thread_ops;

/** vsock_conn_new() - A hashed connection in VSOCK_CONNECTING; owns @fd on success; NULL when the table or memory is full */
struct vsock_conn *vsock_conn_new(struct vsock *v, uint32_t guest_port, uint32_t host_port, int fd);
/** vsock_conn_watch() - Start to hear of its socket's events; Return: 0 or -errno */
int vsock_conn_watch(struct vsock *v, struct vsock_conn *c);
/** vsock_conn_free() - Close and forget */
void vsock_conn_free(struct vsock *v, struct vsock_conn *c);
/** vsock_conn_unhash() - Let go of its ports */
void vsock_conn_unhash(struct vsock *v, struct vsock_conn *c);
/** vsock_conn_close_fd() - Close the socket so that its other end sees it, and drop what waits for it */
void vsock_conn_close_fd(struct vsock *v, struct vsock_conn *c);
struct vsock_conn *vsock_find(const struct vsock *v, uint32_t guest_port, uint32_t host_port);

/* ---- vsock_conn.c: one connection's state machine ---- */

/**
 * vsock_handle_packet() - Take one packet of the guest's
 * @chain:	Its buffers; the iov are used up
 * Return: 0, or -EPROTO when it is no packet. At most one refusal is queued: the caller has looked for room.
 */
int vsock_handle_packet(struct vsock *v, struct virtq_chain *chain);
/** vsock_conn_on_event() - Its socket is ready (EPOLL* in @events); may free @c */
void vsock_conn_on_event(struct vsock *v, struct vsock_conn *c, uint32_t events);
/** vsock_conn_reset() - Close the socket now and send RST */
void vsock_conn_reset(struct vsock *v, struct vsock_conn *c);
/** vsock_conn_settle() - Draw the consequences of what has changed; may free @c */
void vsock_conn_settle(struct vsock *v, struct vsock_conn *c);
/** vsock_conn_credit() - Payload bytes that the guest takes now */
uint32_t vsock_conn_credit(const struct vsock_conn *c);
/** vsock_conn_can_read() - May its socket have data that the guest takes now? */
bool vsock_conn_can_read(const struct vsock_conn *c);

/* ---- vsock_rx.c: packets to the guest ---- */

/**
 * vsock_feed() - Send what waits, as far as the driver's buffers go
 * Return: 1 when there is more to do at once, 0 when not (the driver's kick or an event tells), -EPROTO
 */
int vsock_feed(struct vsock *v);

#endif
