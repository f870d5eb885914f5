/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device against a small guest of the test's own, which speaks packets through the fake driver.
 *
 * "Nothing came" is never tested by waiting: probe() sends a packet that is refused and expects the refusal to be the next
 * thing that arrives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/fake_driver.c"
#include "kvm/virtio/vsock.h"
#include "lib/cleanup.h"
#include "lib/io.h"

#define GUEST_CID 3
#define RX_BUFS 64
#define RX_BYTES 4096
#define TX_BUFS 16
#define TX_BYTES (68u << 10)
#define PROBE_PORT 0xfffffff0u
#define GUEST_BUF_ALLOC (64u << 10)

struct pkt {
	struct virtio_vsock_hdr hdr;
	uint8_t data[RX_BYTES];
};

static struct fake_driver d;
static struct virtio_dev *dev;
static gpa_t rx_gpa[RX_BUFS], tx_gpa[TX_BUFS];
static int rx_of_head[VIRTQ_SIZE_MAX]; /* buffer index by head */
static int tx_of_head[VIRTQ_SIZE_MAX];
static bool tx_busy[TX_BUFS];
static bool give_rx;
static int accept_pipe[2], accept_result;
static struct pkt pkt;
static uint64_t features; /* of the driver */

struct accepted {
	uint32_t port;
	int fd;
};

static int on_accept(void *arg, uint32_t port, int fd)
{
	struct accepted a = {port, fd};

	assert_ptr_equal(arg, &d);
	if (accept_result) {
		(void)close(fd);
		return accept_result;
	}
	return io_write_full(accept_pipe[1], &a, sizeof(a));
}

/* ---- the guest ---- */

static void add_rx(int i)
{
	struct fake_buf buf = {rx_gpa[i], RX_BYTES, true};
	int head = fake_add(&d.queues[VSOCK_QUEUE_RX], &buf, 1);

	assert_true(head >= 0);
	rx_of_head[head] = i;
}

static void add_all_rx(void)
{
	int i;

	for (i = 0; i < RX_BUFS; i++)
		add_rx(i);
	fake_kick(&d, &d.queues[VSOCK_QUEUE_RX]);
	give_rx = true;
}

static void up(uint64_t with, bool rx)
{
	fake_driver_up(&d, with, 128);
	memset(tx_busy, 0, sizeof(tx_busy));
	give_rx = false;
	if (rx)
		add_all_rx();
}

static int set_up_down(void **state)
{
	int i;

	(void)state;
	(void)alarm(300); /* a read that never returns ends the program */
	features = FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX;
	fake_driver_init(&d);
	dev = virtio_vsock_new(GUEST_CID, on_accept, &d, NULL);
	assert_non_null(dev);
	fake_driver_attach(&d, dev);
	for (i = 0; i < RX_BUFS; i++)
		rx_gpa[i] = fake_alloc(&d, RX_BYTES, 64);
	for (i = 0; i < TX_BUFS; i++)
		tx_gpa[i] = fake_alloc(&d, TX_BYTES, 64);
	assert_int_equal(pipe2(accept_pipe, O_CLOEXEC), 0);
	accept_result = 0;
	return 0;
}

static int set_up(void **state)
{
	(void)set_up_down(state);
	up(FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX, true);
	return 0;
}

static int set_up_flags(void **state)
{
	(void)set_up_down(state);
	features = FAKE_F_VERSION_1;
	up(features, true);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_driver_release(&d);
	(void)close(accept_pipe[0]);
	(void)close(accept_pipe[1]);
	return 0;
}

static void collect_tx(void)
{
	uint32_t head, len;

	while (fake_get_used(&d.queues[VSOCK_QUEUE_TX], &head, &len)) {
		assert_int_equal(len, 0);
		tx_busy[tx_of_head[head]] = false;
	}
}

static bool tx_idle(void)
{
	int i;

	collect_tx();
	for (i = 0; i < TX_BUFS; i++) {
		if (tx_busy[i])
			return false;
	}
	return true;
}

static int free_tx(void)
{
	int i;

	collect_tx();
	for (i = 0; i < TX_BUFS; i++) {
		if (!tx_busy[i])
			return i;
	}
	return -1;
}

/* Sends @hdr as it is, the payload split over two descriptors; Return: false when no buffer is free */
static bool try_send(const struct virtio_vsock_hdr *hdr, const void *data, uint32_t len)
{
	int i = free_tx(), head;
	struct fake_buf bufs[2];
	uint8_t *p;

	if (i < 0)
		return false;
	p = fake_ptr(&d, tx_gpa[i], TX_BYTES);
	memcpy(p, hdr, sizeof(*hdr));
	if (len)
		memcpy(p + sizeof(*hdr), data, len);
	bufs[0] = (struct fake_buf){tx_gpa[i], (uint32_t)sizeof(*hdr) + len / 3, false};
	bufs[1] = (struct fake_buf){tx_gpa[i] + bufs[0].len, len - len / 3, false};
	head = fake_add(&d.queues[VSOCK_QUEUE_TX], bufs, bufs[1].len ? 2 : 1);
	assert_true(head >= 0);
	tx_of_head[head] = i;
	tx_busy[i] = true;
	fake_kick(&d, &d.queues[VSOCK_QUEUE_TX]);
	return true;
}

static void wait_irq(void)
{
	bool a = fake_want_interrupts(&d.queues[VSOCK_QUEUE_RX]);
	bool b = fake_want_interrupts(&d.queues[VSOCK_QUEUE_TX]);

	if (!a && !b)
		assert_true(fake_wait(&d, FAKE_WAIT_MS) != 0 ||
			    fake_want_interrupts(&d.queues[VSOCK_QUEUE_RX]) ||
			    fake_want_interrupts(&d.queues[VSOCK_QUEUE_TX]));
}

static void send_hdr(const struct virtio_vsock_hdr *hdr, const void *data, uint32_t len)
{
	while (!try_send(hdr, data, len))
		wait_irq();
}

static struct virtio_vsock_hdr header(uint32_t guest_port, uint32_t host_port, uint16_t op,
				      uint32_t flags, uint32_t len)
{
	return (struct virtio_vsock_hdr){
		.src_cid = GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = guest_port,
		.dst_port = host_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = GUEST_BUF_ALLOC,
	};
}

static void send_op(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t flags)
{
	struct virtio_vsock_hdr hdr = header(guest_port, host_port, op, flags, 0);

	send_hdr(&hdr, NULL, 0);
}

static void send_rw(uint32_t guest_port, uint32_t host_port, const void *data, uint32_t len)
{
	struct virtio_vsock_hdr hdr = header(guest_port, host_port, VIRTIO_VSOCK_OP_RW, 0, len);

	send_hdr(&hdr, data, len);
}

/* The next packet from the device, into pkt; Return: false when none is there */
static bool try_recv(void)
{
	uint32_t head, len;
	int i;

	if (!fake_get_used(&d.queues[VSOCK_QUEUE_RX], &head, &len))
		return false;
	i = rx_of_head[head];
	assert_in_range(len, sizeof(pkt.hdr), RX_BYTES);
	memcpy(&pkt, fake_ptr(&d, rx_gpa[i], RX_BYTES), len);
	assert_int_equal(len, sizeof(pkt.hdr) + pkt.hdr.len);
	assert_int_equal(pkt.hdr.dst_cid, GUEST_CID);
	if (give_rx) {
		add_rx(i);
		fake_kick(&d, &d.queues[VSOCK_QUEUE_RX]);
	}
	return true;
}

static void recv_pkt(void)
{
	while (!try_recv())
		wait_irq();
}

static void expect_op(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	recv_pkt();
	assert_int_equal(pkt.hdr.op, op);
	assert_int_equal(pkt.hdr.dst_port, guest_port);
	assert_int_equal(pkt.hdr.src_port, host_port);
	assert_int_equal(pkt.hdr.src_cid, VSOCK_HOST_CID);
	assert_int_equal(pkt.hdr.type, VIRTIO_VSOCK_TYPE_STREAM);
}

/* Return: the host's port */
static uint32_t expect_request(uint32_t guest_port)
{
	recv_pkt();
	assert_int_equal(pkt.hdr.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(pkt.hdr.dst_port, guest_port);
	assert_int_equal(pkt.hdr.buf_alloc, VSOCK_BUF_ALLOC);
	return pkt.hdr.src_port;
}

/* Nothing has been sent to the guest that was not received yet, and all that the guest has sent was handled */
static void probe(void)
{
	send_op(PROBE_PORT, 9, VIRTIO_VSOCK_OP_RW, 0);
	expect_op(PROBE_PORT, 9, VIRTIO_VSOCK_OP_RST);
}

/* Turns that depend on the host's socket: packets until one of @op */
static void recv_until(uint16_t op)
{
	do {
		recv_pkt();
	} while (pkt.hdr.op != op);
}

/* ---- both ends of a connection ---- */

static int guest_connects(uint32_t guest_port, uint32_t host_port)
{
	struct accepted a;

	send_op(guest_port, host_port, VIRTIO_VSOCK_OP_REQUEST, 0);
	expect_op(guest_port, host_port, VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(pkt.hdr.buf_alloc, VSOCK_BUF_ALLOC);
	assert_int_equal(pkt.hdr.fwd_cnt, 0);
	assert_int_equal(io_read_full(accept_pipe[0], &a, sizeof(a)), 0);
	assert_int_equal(a.port, host_port);
	return a.fd;
}

static int host_connects(uint32_t guest_port, uint32_t *host_port)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(virtio_vsock_connect(dev, guest_port, fds[0]), 0);
	if (!host_port)
		return fds[1];
	*host_port = expect_request(guest_port);
	send_op(guest_port, *host_port, VIRTIO_VSOCK_OP_RESPONSE, 0);
	return fds[1];
}

static void expect_read(int fd, const void *data, size_t len)
{
	uint8_t buf[256];

	assert_true(len <= sizeof(buf));
	assert_int_equal(io_read_full(fd, buf, len), 0);
	assert_memory_equal(buf, data, len);
}

static void expect_end(int fd)
{
	char c;

	assert_int_equal(read(fd, &c, 1), 0);
}

static uint8_t pattern(uint32_t seed, uint32_t i)
{
	return (uint8_t)((i * 2654435761u + seed) >> 13);
}

static void fill(uint8_t *buf, uint32_t seed, uint32_t from, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		buf[i] = pattern(seed, from + i);
}

static void check(const uint8_t *buf, uint32_t seed, uint32_t from, uint32_t len)
{
	uint32_t i, bad = 0;

	for (i = 0; i < len; i++)
		bad += buf[i] != pattern(seed, from + i);
	assert_int_equal(bad, 0);
}

/* ---- tests ---- */

static void test_config(void **state)
{
	uint64_t cid = 0;

	(void)state;
	virtio_mmio_read(d.slot, VIRTIO_MMIO_CONFIG, &cid, 8);
	assert_int_equal(cid, GUEST_CID);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_CONFIG + 4), 0);
}

static void test_host_connects(void **state)
{
	uint32_t port;
	int fd;

	(void)state;
	fd = host_connects(1025, &port);
	send_rw(1025, port, "hello", 5);
	expect_read(fd, "hello", 5);
	assert_int_equal(write(fd, "world", 5), 5);
	expect_op(1025, port, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(pkt.hdr.len, 5);
	assert_memory_equal(pkt.data, "world", 5);
	assert_int_equal(pkt.hdr.fwd_cnt, 5);
	/* The host closes; the guest agrees; the name is free */
	(void)close(fd);
	recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
	while (pkt.hdr.flags != VSOCK_SHUTDOWN_BOTH)
		recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
	send_op(1025, port, VIRTIO_VSOCK_OP_RST, 0);
	send_op(1025, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	expect_op(1025, port, VIRTIO_VSOCK_OP_RST);
	probe();
}

static void test_requests_wait_for_driver(void **state)
{
	int fds[VSOCK_CONNECTIONS_MAX], i, pair[2];
	uint32_t port;

	(void)state;
	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		fds[i] = host_connects((uint32_t)i, NULL);
	/* One too many is refused at once */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(virtio_vsock_connect(dev, 7, pair[0]), -ENOBUFS);
	expect_end(pair[1]);
	(void)close(pair[1]);
	up(FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX, true);
	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		port = expect_request((uint32_t)i);
		if (i % 2) {
			send_op((uint32_t)i, port, VIRTIO_VSOCK_OP_RESPONSE, 0);
			send_rw((uint32_t)i, port, &i, sizeof(i));
			expect_read(fds[i], &i, sizeof(i));
		} else {
			send_op((uint32_t)i, port, VIRTIO_VSOCK_OP_RST, 0);
			expect_end(fds[i]);
		}
	}
	/* A full table: the request waits until a connection goes */
	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i += 2) {
		(void)close(fds[i]);
		fds[i] = host_connects(77, &port);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(virtio_vsock_connect(dev, 78, pair[0]), 0);
	probe();
	send_op(77, port, VIRTIO_VSOCK_OP_RST, 0);
	(void)expect_request(78);
	(void)close(pair[1]);
	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		(void)close(fds[i]);
}

static void test_host_closes_before_answer(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(write(fds[1], "bye", 3), 3);
	(void)close(fds[1]);
	assert_int_equal(virtio_vsock_connect(dev, 5, fds[0]), 0);
	send_op(5, expect_request(5), VIRTIO_VSOCK_OP_RESPONSE, 0);
	/* What was written is delivered, then the end */
	recv_until(VIRTIO_VSOCK_OP_RW);
	assert_int_equal(pkt.hdr.len, 3);
	recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
	while (pkt.hdr.flags != VSOCK_SHUTDOWN_BOTH)
		recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
}

static void test_guest_connects(void **state)
{
	int fd;

	(void)state;
	fd = guest_connects(2000, 1024);
	send_rw(2000, 1024, "ping", 4);
	expect_read(fd, "ping", 4);
	assert_int_equal(write(fd, "pong", 4), 4);
	expect_op(2000, 1024, VIRTIO_VSOCK_OP_RW);
	/* The same name again is a breach */
	send_op(2000, 1024, VIRTIO_VSOCK_OP_REQUEST, 0);
	expect_op(2000, 1024, VIRTIO_VSOCK_OP_RST);
	expect_end(fd);
	(void)close(fd);
	accept_result = -1;
	send_op(2000, 1024, VIRTIO_VSOCK_OP_REQUEST, 0);
	expect_op(2000, 1024, VIRTIO_VSOCK_OP_RST);
	probe();
}

static void test_table_full(void **state)
{
	int fds[VSOCK_CONNECTIONS_MAX], i;

	(void)state;
	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		fds[i] = guest_connects(3000 + (uint32_t)i, 1024);
	send_op(1, 1024, VIRTIO_VSOCK_OP_REQUEST, 0);
	expect_op(1, 1024, VIRTIO_VSOCK_OP_RST);
	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		send_rw(3000 + (uint32_t)i, 1024, &i, sizeof(i));
		expect_read(fds[i], &i, sizeof(i));
	}
	send_op(3000, 1024, VIRTIO_VSOCK_OP_RST, 0);
	expect_end(fds[0]);
	(void)close(fds[0]);
	fds[0] = guest_connects(1, 1024);
	for (i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		(void)close(fds[i]);
}

/* ---- much data ---- */

#define MUCH (10u << 20)

struct host_end {
	int fd;
	uint32_t seed;
	uint32_t total;
	bool bad;
};

static void *host_reads(void *arg)
{
	struct host_end *end = arg;
	static __thread uint8_t buf[50000];
	uint32_t at = 0, i;
	ssize_t n;

	while ((n = read(end->fd, buf, sizeof(buf))) > 0) {
		for (i = 0; i < (uint32_t)n; i++)
			end->bad |= buf[i] != pattern(end->seed, at + i);
		at += (uint32_t)n;
	}
	end->total = at;
	return NULL;
}

static void *host_writes(void *arg)
{
	struct host_end *end = arg;
	static __thread uint8_t buf[37777];
	uint32_t at, n;

	for (at = 0; at < end->total; at += n) {
		n = end->total - at < sizeof(buf) ? end->total - at : (uint32_t)sizeof(buf);
		fill(buf, end->seed, at, n);
		if (io_write_full(end->fd, buf, n) < 0)
			break;
	}
	(void)shutdown(end->fd, SHUT_WR);
	return NULL;
}

/* Both directions at once, each as fast as credit allows; the guest frees its credit in steps */
static void exchange(uint32_t gport, uint32_t hport, uint32_t guest_alloc)
{
	static uint8_t buf[65536];
	struct virtio_vsock_hdr hdr;
	uint32_t sent = 0, got = 0, told = 0, peer_fwd = 0, updates = 0, n;
	bool ended = false;

	while (sent < MUCH || !ended) {
		bool idle = true;

		n = VSOCK_BUF_ALLOC - (sent - peer_fwd);
		if (n > sizeof(buf))
			n = sizeof(buf);
		if (n > MUCH - sent)
			n = MUCH - sent;
		if (n) {
			hdr = header(gport, hport, VIRTIO_VSOCK_OP_RW, 0, n);
			hdr.buf_alloc = guest_alloc;
			hdr.fwd_cnt = got;
			fill(buf, 1, sent, n);
			if (try_send(&hdr, buf, n)) {
				told = got;
				sent += n;
				idle = false;
			}
		}
		while (try_recv()) {
			idle = false;
			peer_fwd = pkt.hdr.fwd_cnt;
			assert_true(sent - peer_fwd <= VSOCK_BUF_ALLOC);
			updates += pkt.hdr.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE;
			if (pkt.hdr.op == VIRTIO_VSOCK_OP_RW) {
				check(pkt.data, 2, got, pkt.hdr.len);
				got += pkt.hdr.len;
				assert_true(got - told <= guest_alloc);
			} else if (pkt.hdr.op == VIRTIO_VSOCK_OP_SHUTDOWN) {
				assert_int_equal(pkt.hdr.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
				ended = true;
			}
		}
		if (got - told > guest_alloc / 2) {
			hdr = header(gport, hport, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
			hdr.buf_alloc = guest_alloc;
			hdr.fwd_cnt = told = got;
			send_hdr(&hdr, NULL, 0);
		}
		if (idle)
			wait_irq();
	}
	assert_int_equal(got, MUCH);
	/* Not an update for each packet: at most one per step that was freed */
	assert_true(updates <= MUCH / VSOCK_CREDIT_STEP + 1);
}

static void test_much_data(void **state)
{
	struct host_end in = {.seed = 1}, out = {.seed = 2, .total = MUCH};
	struct virtio_vsock_hdr hdr;
	pthread_t reader, writer;
	uint32_t port;
	int fd;

	(void)state;
	fd = host_connects(1025, &port);
	in.fd = out.fd = fd;
	hdr = header(1025, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
	hdr.buf_alloc = 30001;
	send_hdr(&hdr, NULL, 0);
	assert_int_equal(pthread_create(&reader, NULL, host_reads, &in), 0);
	assert_int_equal(pthread_create(&writer, NULL, host_writes, &out), 0);
	exchange(1025, port, 30001);
	(void)pthread_join(writer, NULL);
	/* The guest is done too: the reader sees the end, and the connection closes as a whole */
	send_op(1025, port, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
	(void)pthread_join(reader, NULL);
	assert_int_equal(in.total, MUCH);
	assert_false(in.bad);
	recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(pkt.hdr.flags, VSOCK_SHUTDOWN_BOTH);
	send_op(1025, port, VIRTIO_VSOCK_OP_RST, 0);
	probe();
	(void)close(fd);
}

/* ---- streams that stand still ---- */

/* Sends until neither the socket nor the buffer takes more: the credit is used up; Return: bytes */
static uint32_t stall_guest_writer(uint32_t gport, uint32_t hport)
{
	static uint8_t buf[16384];
	struct virtio_vsock_hdr hdr;
	uint32_t sent = 0, fwd = 0;

	for (;;) {
		/* The socket's buffer first lets credit flow back */
		while (VSOCK_BUF_ALLOC - (sent - fwd) >= sizeof(buf)) {
			hdr = header(gport, hport, VIRTIO_VSOCK_OP_RW, 0, sizeof(buf));
			fill(buf, 3, sent, sizeof(buf));
			send_hdr(&hdr, buf, sizeof(buf));
			sent += (uint32_t)sizeof(buf);
		}
		send_op(gport, hport, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
		recv_until(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		/* The answer to the request or an earlier one: what follows is the answer at the latest */
		while (try_recv())
			;
		fwd = pkt.hdr.fwd_cnt;
		if (sent - fwd > VSOCK_BUF_ALLOC - sizeof(buf) && tx_idle())
			break;
	}
	probe();
	return sent;
}

static void test_stalled_reader(void **state)
{
	static uint8_t buf[65536];
	int a, b, i;
	uint32_t sent, got;

	(void)state;
	a = guest_connects(10, 1024);
	b = guest_connects(11, 1024);
	sent = stall_guest_writer(10, 1024);
	for (i = 0; i < 1000; i++) {
		send_rw(11, 1024, &i, sizeof(i));
		expect_read(b, &i, sizeof(i));
	}
	/* It goes on where it stood, and tells the credit that is freed */
	for (got = 0; got < sent;) {
		ssize_t n = read(a, buf, sizeof(buf));

		assert_true(n > 0);
		check(buf, 3, got, (uint32_t)n);
		got += (uint32_t)n;
	}
	recv_until(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	while (sent - pkt.hdr.fwd_cnt > VSOCK_CREDIT_STEP)
		recv_until(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	(void)close(a);
	(void)close(b);
}

static void test_stalled_guest(void **state)
{
	struct virtio_vsock_hdr hdr = header(10, 1024, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
	static uint8_t buf[4096];
	uint32_t total = 0, got = 0;
	ssize_t n;
	int a, b, i;

	(void)state;
	a = guest_connects(10, 1024);
	b = guest_connects(11, 1024);
	hdr.buf_alloc = 0;
	send_hdr(&hdr, NULL, 0);
	probe();
	assert_int_equal(io_set_nonblock(a, true), 0);
	for (;;) {
		fill(buf, 4, total, sizeof(buf));
		n = write(a, buf, sizeof(buf));
		if (n < 0)
			break;
		total += (uint32_t)n;
	}
	assert_int_equal(errno, EAGAIN);
	for (i = 0; i < 20; i++) {
		assert_int_equal(write(b, &i, sizeof(i)), sizeof(i));
		expect_op(11, 1024, VIRTIO_VSOCK_OP_RW);
		assert_memory_equal(pkt.data, &i, sizeof(i));
	}
	probe();
	/* Credit for 1000 bytes is 1000 bytes, no more */
	hdr.buf_alloc = 1000;
	send_hdr(&hdr, NULL, 0);
	while (got < 1000) {
		expect_op(10, 1024, VIRTIO_VSOCK_OP_RW);
		check(pkt.data, 4, got, pkt.hdr.len);
		got += pkt.hdr.len;
	}
	assert_int_equal(got, 1000);
	probe();
	/* A window that shrank below what is on its way is none */
	hdr.buf_alloc = 10;
	send_hdr(&hdr, NULL, 0);
	probe();
	(void)close(a);
	(void)close(b);
}

static void test_credit_overflow(void **state)
{
	static uint8_t buf[65536];
	int a;

	(void)state;
	a = guest_connects(10, 1024);
	(void)stall_guest_writer(10, 1024);
	send_rw(10, 1024, buf, 16384);
	send_rw(10, 1024, buf, 16384);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RST);
	/* Sent before or after that reset, so refused or not; then it is gone for good */
	send_op(PROBE_PORT, 9, VIRTIO_VSOCK_OP_RW, 0);
	do {
		recv_pkt();
		assert_int_equal(pkt.hdr.op, VIRTIO_VSOCK_OP_RST);
	} while (pkt.hdr.dst_port != PROBE_PORT);
	send_rw(10, 1024, buf, 1);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RST);
	probe();
	(void)close(a);
}

/* ---- ends ---- */

static void test_half_close_by_guest(void **state)
{
	int a;

	(void)state;
	a = guest_connects(10, 1024);
	send_rw(10, 1024, "last", 4);
	send_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
	expect_read(a, "last", 4);
	expect_end(a);
	/* The other way still works */
	assert_int_equal(write(a, "more", 4), 4);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RW);
	probe();
	/* Data after the end is a breach */
	send_rw(10, 1024, "x", 1);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RST);
	(void)close(a);
}

static void test_half_close_by_host(void **state)
{
	int a;

	(void)state;
	a = guest_connects(10, 1024);
	assert_int_equal(write(a, "last", 4), 4);
	assert_int_equal(shutdown(a, SHUT_WR), 0);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RW);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(pkt.hdr.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	send_rw(10, 1024, "more", 4);
	expect_read(a, "more", 4);
	probe();
	send_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
	expect_end(a);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(pkt.hdr.flags, VSOCK_SHUTDOWN_BOTH);
	send_op(10, 1024, VIRTIO_VSOCK_OP_RST, 0);
	probe();
	(void)close(a);
}

static void test_host_stops_reading(void **state)
{
	int a;

	(void)state;
	a = guest_connects(10, 1024);
	assert_int_equal(shutdown(a, SHUT_RD), 0);
	send_rw(10, 1024, "x", 1);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(pkt.hdr.flags, VIRTIO_VSOCK_SHUTDOWN_RCV);
	/* Its own direction goes on */
	assert_int_equal(write(a, "abc", 3), 3);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(pkt.hdr.fwd_cnt, 1);
	(void)close(a);
	recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(pkt.hdr.flags, VSOCK_SHUTDOWN_BOTH);
}

static void test_guest_stops_reading(void **state)
{
	int a;

	(void)state;
	a = guest_connects(10, 1024);
	send_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_RCV);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(pkt.hdr.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	assert_int_equal(send(a, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	send_rw(10, 1024, "still", 5);
	expect_read(a, "still", 5);
	send_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RST);
	expect_end(a);
	(void)close(a);
	probe();
}

/* Reads all of a stalled stream and then its end */
static void expect_stalled_bytes(int fd, uint32_t sent)
{
	static uint8_t buf[65536];
	uint32_t got = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		check(buf, 3, got, (uint32_t)n);
		got += (uint32_t)n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(got, sent);
}

static void test_guest_closes_with_bytes_waiting(void **state)
{
	uint32_t sent;
	int a;

	(void)state;
	a = guest_connects(10, 1024);
	sent = stall_guest_writer(10, 1024);
	send_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	/* No reset before all has arrived: the guest may be lingering for it */
	do {
		probe();
	} while (!tx_idle());
	expect_stalled_bytes(a, sent);
	recv_until(VIRTIO_VSOCK_OP_RST);
	assert_int_equal(pkt.hdr.dst_port, 10);
	(void)close(a);
}

static void test_guest_resets_with_bytes_waiting(void **state)
{
	uint32_t sent;
	int a, b;

	(void)state;
	a = guest_connects(10, 1024);
	sent = stall_guest_writer(10, 1024);
	send_op(10, 1024, VIRTIO_VSOCK_OP_RST, 0);
	/* The name is free although bytes still wait */
	b = guest_connects(10, 1024);
	send_rw(10, 1024, "new", 3);
	expect_read(b, "new", 3);
	expect_stalled_bytes(a, sent);
	(void)close(a);
	(void)close(b);
	recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
}

static void test_close_timeout(void **state)
{
	int a;

	(void)state;
	container_of(dev, struct vsock, dev)->close_timeout_ms = 50;
	a = guest_connects(10, 1024);
	(void)close(a);
	recv_until(VIRTIO_VSOCK_OP_RST);
	assert_int_equal(pkt.hdr.dst_port, 10);
	probe();
}

static void test_port_used_again_while_closing(void **state)
{
	int a;

	(void)state;
	a = guest_connects(10, 1024);
	(void)close(a);
	recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
	while (pkt.hdr.flags != VSOCK_SHUTDOWN_BOTH)
		recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
	a = guest_connects(10, 1024);
	send_rw(10, 1024, "x", 1);
	expect_read(a, "x", 1);
	(void)close(a);
}

static void test_both_close(void **state)
{
	int a;

	(void)state;
	a = guest_connects(10, 1024);
	(void)close(a);
	recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
	while (pkt.hdr.flags != VSOCK_SHUTDOWN_BOTH)
		recv_until(VIRTIO_VSOCK_OP_SHUTDOWN);
	send_rw(10, 1024, "late", 4);
	send_op(10, 1024, VIRTIO_VSOCK_OP_SHUTDOWN, VSOCK_SHUTDOWN_BOTH);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RST);
	probe();
}

/* ---- garbage ---- */

static void test_unknown_packets(void **state)
{
	struct virtio_vsock_hdr hdr;
	uint16_t op;
	int a;

	(void)state;
	for (op = 0; op < 12; op++) {
		if (op == VIRTIO_VSOCK_OP_REQUEST || op == VIRTIO_VSOCK_OP_RST)
			continue;
		send_op(44, 55, op, 0);
		expect_op(44, 55, VIRTIO_VSOCK_OP_RST);
	}
	send_op(44, 55, VIRTIO_VSOCK_OP_RST, 0);
	probe();
	/* Wrong addresses and types are refused in their own terms */
	hdr = header(44, 55, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
	hdr.dst_cid = 1234;
	send_hdr(&hdr, NULL, 0);
	recv_pkt();
	assert_int_equal(pkt.hdr.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(pkt.hdr.src_cid, 1234);
	hdr = header(44, 55, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
	hdr.src_cid = 99;
	send_hdr(&hdr, NULL, 0);
	expect_op(44, 55, VIRTIO_VSOCK_OP_RST);
	hdr = header(44, 55, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
	hdr.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	send_hdr(&hdr, NULL, 0);
	recv_pkt();
	assert_int_equal(pkt.hdr.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(pkt.hdr.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	hdr.op = VIRTIO_VSOCK_OP_RST;
	send_hdr(&hdr, NULL, 0);
	probe();
	/* Within a connection: an unknown operation, an answer to no question */
	a = guest_connects(10, 1024);
	send_op(10, 1024, 0x4242, 0);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RST);
	expect_end(a);
	(void)close(a);
	a = guest_connects(10, 1024);
	send_op(10, 1024, VIRTIO_VSOCK_OP_RESPONSE, 0);
	expect_op(10, 1024, VIRTIO_VSOCK_OP_RST);
	expect_end(a);
	(void)close(a);
	probe();
}

static void test_data_before_response(void **state)
{
	int fd = host_connects(8, NULL);
	uint32_t port;

	(void)state;
	port = expect_request(8);
	send_rw(8, port, "x", 1);
	expect_op(8, port, VIRTIO_VSOCK_OP_RST);
	expect_end(fd);
	(void)close(fd);
}

static void expect_broken_and_recover(int fd)
{
	while (!(fake_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET))
		(void)fake_wait(&d, FAKE_WAIT_MS);
	expect_end(fd);
	(void)close(fd);
	up(FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX, true);
	assert_false(fake_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	fd = guest_connects(10, 1024);
	send_rw(10, 1024, "ok", 2);
	expect_read(fd, "ok", 2);
	up(FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX, true);
	expect_end(fd);
	(void)close(fd);
}

static void test_broken_packets(void **state)
{
	struct fake_buf buf = {tx_gpa[0], 43, false};
	struct virtio_vsock_hdr hdr;
	int a;

	(void)state;
	/* No whole header */
	a = guest_connects(10, 1024);
	assert_true(fake_add(&d.queues[VSOCK_QUEUE_TX], &buf, 1) >= 0);
	fake_kick(&d, &d.queues[VSOCK_QUEUE_TX]);
	expect_broken_and_recover(a);
	/* A length beyond the buffers */
	a = guest_connects(20, 1024);
	hdr = header(20, 1024, VIRTIO_VSOCK_OP_RW, 0, 101);
	send_hdr(&hdr, (uint8_t[100]){0}, 100);
	expect_broken_and_recover(a);
	a = guest_connects(20, 1024);
	hdr = header(20, 1024, VIRTIO_VSOCK_OP_RW, 0, 0xffffffff);
	send_hdr(&hdr, "x", 1);
	expect_broken_and_recover(a);
	/* A buffer for us that cannot hold a packet */
	a = guest_connects(20, 1024);
	up(FAKE_F_VERSION_1, false);
	expect_end(a);
	(void)close(a);
	buf = (struct fake_buf){rx_gpa[0], 44, true};
	assert_true(fake_add(&d.queues[VSOCK_QUEUE_RX], &buf, 1) >= 0);
	fake_kick(&d, &d.queues[VSOCK_QUEUE_RX]);
	a = host_connects(7, NULL);
	expect_broken_and_recover(a);
}

static void test_no_buffers(void **state)
{
	struct virtio_vsock_hdr hdr = header(1, 55, VIRTIO_VSOCK_OP_RW, 0, 0);
	struct fake_queue *tx = &d.queues[VSOCK_QUEUE_TX];
	uint32_t sent = 0, got = 0, total = VSOCK_RESETS_MAX + TX_BUFS + 100;

	(void)state;
	up(features, false);
	/* As many are taken as refusals have room; the rest stays in the ring */
	while (sent < VSOCK_RESETS_MAX + TX_BUFS) {
		hdr.src_port = sent;
		if (try_send(&hdr, NULL, 0))
			sent++;
		else
			wait_irq();
	}
	while (tx->last_used < VSOCK_RESETS_MAX) {
		collect_tx();
		if (tx->last_used < VSOCK_RESETS_MAX)
			wait_irq();
	}
	assert_int_equal(tx->last_used, VSOCK_RESETS_MAX);
	/* Buffers come: every one is answered, in order */
	add_all_rx();
	while (got < total) {
		hdr.src_port = sent;
		if (sent < total && try_send(&hdr, NULL, 0))
			sent++;
		if (try_recv()) {
			assert_int_equal(pkt.hdr.op, VIRTIO_VSOCK_OP_RST);
			assert_int_equal(pkt.hdr.dst_port, got);
			got++;
		} else if (sent == total || free_tx() < 0) {
			wait_irq();
		}
	}
	probe();
}

static void test_reset_closes(void **state)
{
	int a, b;

	(void)state;
	a = guest_connects(10, 1024);
	b = host_connects(1025, NULL);
	recv_until(VIRTIO_VSOCK_OP_REQUEST);
	fake_write(&d, VIRTIO_MMIO_STATUS, 0);
	expect_end(a);
	expect_end(b);
	(void)close(a);
	(void)close(b);
}

static void connect_and_close(uint32_t port)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	(void)virtio_vsock_connect(dev, port, fds[0]);
	(void)close(fds[1]);
}

static void *connect_often(void *arg)
{
	uint32_t i;

	for (i = 0; i < 500; i++)
		connect_and_close((uint32_t)(uintptr_t)arg + i);
	return NULL;
}

/* Requests from several threads while the driver comes and goes */
static void test_connect_from_threads(void **state)
{
	pthread_t threads[4];
	uintptr_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, connect_often, (void *)(i * 1000)), 0);
	for (i = 0; i < 20; i++) {
		up(FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX, true);
		while (try_recv())
			send_op(pkt.hdr.dst_port, pkt.hdr.src_port, VIRTIO_VSOCK_OP_RST, 0);
	}
	for (i = 0; i < 4; i++)
		(void)pthread_join(threads[i], NULL);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_config),
		TEST(test_host_connects),
		cmocka_unit_test_setup_teardown(test_requests_wait_for_driver, set_up_down,
						tear_down),
		TEST(test_host_closes_before_answer),
		TEST(test_guest_connects),
		TEST(test_table_full),
		TEST(test_much_data),
		cmocka_unit_test_setup_teardown(test_much_data, set_up_flags, tear_down),
		TEST(test_stalled_reader),
		TEST(test_stalled_guest),
		TEST(test_credit_overflow),
		TEST(test_half_close_by_guest),
		TEST(test_half_close_by_host),
		TEST(test_host_stops_reading),
		TEST(test_guest_stops_reading),
		TEST(test_guest_closes_with_bytes_waiting),
		TEST(test_guest_resets_with_bytes_waiting),
		TEST(test_close_timeout),
		TEST(test_port_used_again_while_closing),
		TEST(test_both_close),
		TEST(test_unknown_packets),
		TEST(test_data_before_response),
		TEST(test_broken_packets),
		TEST(test_no_buffers),
		cmocka_unit_test_setup_teardown(test_no_buffers, set_up_flags, tear_down),
		TEST(test_reset_closes),
		TEST(test_connect_from_threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
