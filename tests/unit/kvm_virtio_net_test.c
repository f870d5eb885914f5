/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device: what it offers, packets both ways in every shape a driver may lay them out, back-pressure, broken rings,
 * the control queue; on a pair of datagram sockets, and on a real tap in a network namespace of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fake_driver.c"
#include "lib/cleanup.h"

#define HDR 12u
#define F(name) VIRTIO_F_BIT(VIRTIO_NET_F_##name)
#define ALL_BITS (~0ull & ~VIRTIO_F_BIT(63))
#define PACKET_MAX 65562u
#define WAIT_MS 20000

static struct fake_driver d;
static int host = -1; /* the other end of the device's socket, or a packet socket on the tap */
static gpa_t area;    /* 4 MiB to lay packets out in */
static uint8_t packet[PACKET_MAX + 10];

static const uint8_t mac[6] = {2, 1, 2, 3, 4, 5};

static struct virtio_dev *make(int *fds, unsigned int npairs, uint16_t mtu)
{
	struct virtio_net_args args = {.mtu = mtu, .npairs = npairs, .tap_fds = fds};
	struct err err = {0};
	struct virtio_dev *dev;

	memcpy(args.mac, mac, 6);
	dev = virtio_net_new(&args, &err);
	if (!dev)
		print_message("%s\n", err.msg);
	assert_non_null(dev);
	return dev;
}

static void make_sockets(int *device_end)
{
	int pair[2], size = 1 << 20;

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	host = pair[0];
	*device_end = pair[1];
}

static void start(uint64_t features, uint16_t size)
{
	int fd;

	fake_driver_init(&d);
	area = fake_alloc(&d, 4 << 20, 4096);
	make_sockets(&fd);
	fake_driver_start(&d, make(&fd, 1, 0), features | FAKE_F_VERSION_1, size);
	assert_int_equal(fd, -1);
}

/* The driver starts anew, with empty rings at the same place */
static void start_again(uint64_t features, uint16_t size)
{
	fake_write(&d, VIRTIO_MMIO_STATUS, 0);
	d.next = area + (4 << 20);
	memset(fake_ptr(&d, d.next, 1 << 20), 0, 1 << 20);
	fake_driver_up(&d, features | FAKE_F_VERSION_1, size);
}

static int tear_down(void **state)
{
	(void)state;
	fake_driver_release(&d);
	close_fd(&host);
	return 0;
}

static struct fake_queue *rxq(void)
{
	return &d.queues[0];
}

static struct fake_queue *txq(void)
{
	return &d.queues[1];
}

static void fill(uint8_t *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

/* A datagram that the device sent; @expect gets its length */
static void expect_sent(const void *bytes, size_t len)
{
	static uint8_t got[PACKET_MAX + 10];
	struct pollfd pfd = {.fd = host, .events = POLLIN};
	ssize_t n;

	assert_int_equal(poll(&pfd, 1, WAIT_MS), 1);
	n = recv(host, got, sizeof(got), 0);
	assert_int_equal(n, len);
	assert_memory_equal(got, bytes, len);
}

static void host_send(size_t len, unsigned int seed)
{
	memset(packet, 0, HDR);
	fill(packet + HDR, len - HDR, seed);
	assert_int_equal(send(host, packet, len, 0), len);
}

/* ---- configuration ---- */

static uint64_t offered(void)
{
	uint64_t features;

	fake_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)fake_read(&d, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	fake_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | fake_read(&d, VIRTIO_MMIO_DEVICE_FEATURES);
}

static void test_offer(void **state)
{
	uint8_t config[12];
	int fds[4], hosts[4];

	(void)state;
	start(0, 16);
	assert_true(offered() & F(MAC));
	assert_true(offered() & F(MRG_RXBUF));
	assert_true(offered() & F(CTRL_VQ));
	assert_false(offered() & (F(MTU) | F(MQ)));
	assert_false(offered() & (F(CSUM) | F(GUEST_CSUM) | F(HOST_TSO4))); /* no tap */
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_DEVICE_ID), 1);
	tear_down(NULL);

	fake_driver_init(&d);
	for (int i = 0; i < 4; i++) {
		make_sockets(&fds[i]);
		hosts[i] = host;
	}
	fake_driver_attach(&d, make(fds, 4, 1400));
	assert_true(offered() & F(MTU));
	assert_true(offered() & F(MQ));
	for (uint32_t i = 0; i < sizeof(config); i++)
		virtio_mmio_read(d.slot, VIRTIO_MMIO_CONFIG + i, &config[i], 1);
	assert_memory_equal(config, mac, 6);
	assert_int_equal(config[6], VIRTIO_NET_S_LINK_UP);
	assert_int_equal(config[8], 4);
	assert_int_equal(config[10] | config[11] << 8, 1400);
	fake_driver_up(&d, ALL_BITS, 16);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_STATUS), 15);
	for (int i = 0; i < 3; i++)
		close(hosts[i]);
	host = hosts[3];
}

static void test_bad_descriptors(void **state)
{
	struct virtio_net_args args = {.npairs = 1};
	struct err err = {0};
	int fds[2];

	(void)state;
	fake_driver_init(&d);
	args.tap_fds = fds;
	fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_null(virtio_net_new(&args, &err));
	assert_int_equal(err.code, EINVAL);
	assert_true(fds[0] >= 0); /* still ours */
	make_sockets(&fds[1]);
	args.npairs = 2;
	assert_null(virtio_net_new(&args, &err));
	close(fds[0]);
	close(fds[1]);
}

/* ---- transmit ---- */

/* Lay out @len bytes of a packet from @at on, in pieces of @piece bytes; Return: how many */
static unsigned int lay_out(struct fake_buf *bufs, gpa_t at, size_t len, size_t piece, bool write)
{
	unsigned int n = 0;

	for (size_t done = 0; done < len; n++) {
		size_t part = len - done < piece ? len - done : piece;

		bufs[n] = (struct fake_buf){at + done, (uint32_t)part, write};
		done += part;
	}
	return n;
}

static void test_send(void **state)
{
	static const size_t lens[] = {HDR + 1, HDR + 60, HDR + 1514, 9000, PACKET_MAX};
	static const size_t pieces[] = {5, 12, 4096, PACKET_MAX};
	struct fake_buf bufs[256];
	uint32_t head, len;

	(void)state;
	start(FAKE_F_EVENT_IDX | FAKE_F_INDIRECT, 256);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
			uint8_t *p = fake_ptr(&d, area, lens[i]);
			unsigned int n;

			if (lens[i] / pieces[k] > 250)
				continue;
			fill(p, lens[i], (unsigned int)(i + k));
			n = lay_out(bufs, area, lens[i], pieces[k], false);
			assert_true(fake_add(txq(), bufs, n) >= 0);
			fake_kick(&d, txq());
			expect_sent(p, lens[i]);
			fake_wait_used(&d, txq(), &head, &len);
			assert_int_equal(len, 0);
			/* And by an indirect table */
			assert_true(fake_add_indirect(&d, txq(), area + (1 << 20), bufs, n) >= 0);
			fake_kick(&d, txq());
			expect_sent(p, lens[i]);
			fake_wait_used(&d, txq(), &head, &len);
		}
	}
}

/* A header alone, less than that, nothing to read: given back, nothing sent, and the next packet is */
static void test_send_short(void **state)
{
	struct fake_buf header = {0, HDR, false}, cut = {0, 5, false}, written = {0, 100, true};
	struct fake_buf good = {0, HDR + 20, false};
	uint32_t head, len;

	(void)state;
	start(FAKE_F_EVENT_IDX, 16);
	header.gpa = cut.gpa = written.gpa = good.gpa = area;
	assert_true(fake_add(txq(), &header, 1) >= 0);
	assert_true(fake_add(txq(), &cut, 1) >= 0);
	assert_true(fake_add(txq(), &written, 1) >= 0);
	assert_true(fake_add(txq(), &good, 1) >= 0);
	fake_kick(&d, txq());
	expect_sent(fake_ptr(&d, area, HDR + 20), HDR + 20);
	for (int i = 0; i < 4; i++)
		fake_wait_used(&d, txq(), &head, &len);
}

/* A full tap holds packets back, in order, and the device goes on when there is room again; nothing is lost */
static void test_send_back_pressure(void **state)
{
	struct fake_buf buf = {0, HDR + 2000, false};
	unsigned int added = 0, used = 0, got = 0;
	uint32_t head, len;

	(void)state;
	start(FAKE_F_EVENT_IDX, 256);
	while (got < 3000) {
		while (added < 3000 && added - used < 200) {
			buf.gpa = area + (added % 256) * 4096;
			memset(fake_ptr(&d, buf.gpa, buf.len), 0, buf.len);
			memcpy(fake_ptr(&d, buf.gpa + HDR, 4), &added, 4);
			assert_true(fake_add(txq(), &buf, 1) >= 0);
			added++;
		}
		fake_kick(&d, txq());
		/* Nothing is read from the other end until the device can do no more */
		while (fake_get_used(txq(), &head, &len))
			used++;
		if (added == 3000 || added - used == 200) {
			struct pollfd pfd = {.fd = host, .events = POLLIN};
			uint32_t number;
			uint8_t data[HDR + 2000];

			assert_int_equal(poll(&pfd, 1, WAIT_MS), 1);
			assert_int_equal(recv(host, data, sizeof(data), 0), sizeof(data));
			memcpy(&number, data + HDR, 4);
			assert_int_equal(number, got);
			got++;
		}
	}
	while (used < added) {
		fake_wait_used(&d, txq(), &head, &len);
		used++;
	}
}

/* ---- receive ---- */

static void offer_buffers(unsigned int n, uint32_t size)
{
	struct fake_buf buf = {0, size, true};
	static unsigned int next;

	for (unsigned int i = 0; i < n; i++) {
		buf.gpa = area + (gpa_t)(next++ % 512) * 4096;
		assert_true(fake_add(rxq(), &buf, 1) >= 0);
	}
	fake_kick(&d, rxq());
}

/* Take a packet of @total bytes off the ring as a driver would: all its buffers are there with the first; they are freed */
static void expect_received(size_t total, unsigned int seed)
{
	static uint8_t got[PACKET_MAX + 4096];
	struct virtio_net_hdr_v1 *hdr = (struct virtio_net_hdr_v1 *)got;
	uint32_t head, len;
	size_t have = 0;
	unsigned int n;

	/* fake_get_used() keeps the descriptors as they are */
	fake_wait_used(&d, rxq(), &head, &len);
	memcpy(got, fake_ptr(&d, rxq()->desc[head].addr, len), len);
	have = len;
	n = hdr->num_buffers;
	assert_true(n >= 1);
	for (unsigned int i = 1; i < n; i++) {
		assert_true(fake_get_used(rxq(), &head, &len));
		memcpy(got + have, fake_ptr(&d, rxq()->desc[head].addr, len), len);
		have += len;
	}
	assert_int_equal(have, total);
	fill(packet, total - HDR, seed);
	assert_memory_equal(got + HDR, packet, total - HDR);
}

static void test_receive_merged(void **state)
{
	static const size_t lens[] = {HDR + 60,	 HDR + 1500, HDR + 4096, 4096,	   4097,
				      8192,	 30000,	     PACKET_MAX, HDR + 60, PACKET_MAX,
				      HDR + 100, HDR + 10,   2048,	 2048 + 1};
	uint64_t features = F(MRG_RXBUF);

	for (int pass = 0; pass < 2; pass++, features |= FAKE_F_EVENT_IDX) {
		start(features, 256);
		for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
			/* Fresh buffers for each, of sizes that do not divide it */
			offer_buffers(64, 1526);
			host_send(lens[i], i);
			expect_received(lens[i], i);
			start_again(features, 256);
		}
		tear_down(state);
	}
	start(F(MRG_RXBUF), 16);
}

/* Small ones for long, so that less is offered to each read; then a long one, which does not fit: it comes whole */
static void test_receive_spill(void **state)
{
	(void)state;
	start(F(MRG_RXBUF) | FAKE_F_EVENT_IDX, 256);
	for (unsigned int i = 0; i < 40; i++) {
		offer_buffers(1, 1526);
		host_send(HDR + 60, i);
		expect_received(HDR + 60, i);
	}
	offer_buffers(60, 1526);
	host_send(60000, 7);
	expect_received(60000, 7);
	host_send(HDR + 500, 8);
	expect_received(HDR + 500, 8);
}

/* A packet that is longer than all buffers there are waits, and so do those behind it, for buffers that come one by one */
static void test_receive_parked(void **state)
{
	(void)state;
	start(F(MRG_RXBUF) | FAKE_F_EVENT_IDX, 64);
	host_send(5000, 1);
	host_send(HDR + 10, 2);
	for (unsigned int i = 0; i < 5; i++) {
		struct fake_buf buf = {area + i * 4096, 1100, true};

		assert_false(fake_wait(&d, 20));
		assert_true(fake_add(rxq(), &buf, 1) >= 0);
		fake_kick(&d, rxq());
	}
	expect_received(5000, 1);
	(void)fake_wait(&d, 20); /* its interrupt can come after it */
	assert_false(fake_want_interrupts(rxq()));
	offer_buffers(1, 1526);
	expect_received(HDR + 10, 2);
}

/* A ring whose buffers together cannot hold a packet drops it, and gives the next one */
static void test_receive_too_long(void **state)
{
	(void)state;
	start(F(MRG_RXBUF) | FAKE_F_EVENT_IDX, 4);
	offer_buffers(4, 1000);
	host_send(5000, 1);
	host_send(4000, 2);
	expect_received(4000, 2);
	tear_down(state);

	/* Without merging one chain is all; it is given back empty */
	start(FAKE_F_EVENT_IDX, 4);
	{
		struct fake_buf two[] = {{area, 12, true}, {area + 4096, 1514, true}};
		uint32_t head, len;

		assert_true(fake_add(rxq(), two, 2) >= 0);
		assert_true(fake_add(rxq(), two, 2) >= 0);
		fake_kick(&d, rxq());
		host_send(12 + 1515, 1);
		fake_wait_used(&d, rxq(), &head, &len);
		assert_int_equal(len, 0);
		host_send(12 + 1514, 2);
		fake_wait_used(&d, rxq(), &head, &len);
		assert_int_equal(len, 12 + 1514);
		fill(packet, 1514, 2);
		assert_memory_equal(fake_ptr(&d, area + 4096, 1514), packet, 1514);
		assert_int_equal(((uint8_t *)fake_ptr(&d, area, 12))[10], 1);
	}
}

/* Many of them: order, one interrupt for what comes together, no kicks while there are buffers */
static void test_receive_many(void **state)
{
	unsigned int received = 0, sent = 0;

	(void)state;
	start(F(MRG_RXBUF) | FAKE_F_EVENT_IDX, 256);
	offer_buffers(200, 1526);
	while (received < 5000) {
		while (sent < 5000 && sent - received < 100) {
			memset(packet, 0, HDR);
			fill(packet + HDR, 500, sent);
			if (send(host, packet, HDR + 500, 0) < 0)
				break;
			sent++;
		}
		expect_received(HDR + 500, received);
		offer_buffers(1, 1526);
		received++;
	}
	assert_true(d.interrupts < 5000);
	assert_true(rxq()->kicks < 2500);
}

/* Chains without room, or with parts to read, harm nobody */
static void test_receive_odd_chains(void **state)
{
	struct fake_buf readable = {0, 100, false};
	struct fake_buf mixed[] = {{0, 30, false}, {0, 2000, true}};
	uint32_t head, len;

	(void)state;
	start(F(MRG_RXBUF) | FAKE_F_EVENT_IDX, 16);
	readable.gpa = mixed[0].gpa = area + 8192;
	mixed[1].gpa = area;
	assert_true(fake_add(rxq(), &readable, 1) >= 0);
	assert_true(fake_add(rxq(), mixed, 2) >= 0);
	fake_kick(&d, rxq());
	host_send(HDR + 400, 3);
	fake_wait_used(&d, rxq(), &head, &len);
	assert_int_equal(len, 0);
	fake_wait_used(&d, rxq(), &head, &len);
	assert_int_equal(len, HDR + 400);
	fill(packet, 400, 3);
	assert_memory_equal(fake_ptr(&d, area + HDR, 400), packet, 400);
}

/* Shorter than a header, which no tap gives: dropped */
static void test_receive_short(void **state)
{
	(void)state;
	start(F(MRG_RXBUF) | FAKE_F_EVENT_IDX, 16);
	offer_buffers(4, 1526);
	assert_int_equal(send(host, "x", 1, 0), 1);
	host_send(HDR + 4, 1);
	expect_received(HDR + 4, 1);
}

/* ---- what a broken driver does ---- */

static void test_broken_rings(void **state)
{
	struct fake_buf bad = {FAKE_MEMORY - 10, 20, false}, good = {0, HDR + 8, false};

	(void)state;
	start(F(MRG_RXBUF) | F(CTRL_VQ) | FAKE_F_EVENT_IDX, 16);
	good.gpa = area;
	for (int q = 0; q < 3; q++) {
		bad.write = q == 0;
		assert_true(fake_add(&d.queues[q], &bad, 1) >= 0);
		fake_kick(&d, &d.queues[q]);
		while (!(fake_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET))
			assert_true(fake_wait(&d, WAIT_MS));
		/* Nothing is done until the reset, and all is well after it */
		(void)fake_add(txq(), &good, 1);
		if (txq()->kick_fd >= 0)
			(void)eventfd_write(txq()->kick_fd, 1);
		fake_driver_up(&d, F(MRG_RXBUF) | F(CTRL_VQ) | FAKE_F_EVENT_IDX | FAKE_F_VERSION_1,
			       16);
		assert_int_equal(recv(host, packet, sizeof(packet), MSG_DONTWAIT), -1);
		assert_true(fake_add(txq(), &good, 1) >= 0);
		fake_kick(&d, txq());
		expect_sent(fake_ptr(&d, area, good.len), good.len);
	}
}

/* A driver that offers the same buffers again without waiting, and an index that runs away */
static void test_hostile_refill(void **state)
{
	struct fake_buf buf = {0, 1526, true};
	int head;

	(void)state;
	start(F(MRG_RXBUF) | FAKE_F_EVENT_IDX, 16);
	buf.gpa = area;
	head = fake_add(rxq(), &buf, 1);
	assert_true(head >= 0);
	for (int i = 0; i < 500; i++) {
		fake_offer(rxq(), (uint16_t)head);
		if (rxq()->kick_fd >= 0)
			(void)eventfd_write(rxq()->kick_fd, 1);
		if (i % 10 == 0)
			host_send(HDR + 100, 1);
	}
	/* Either all was taken, or the index was too far ahead: both end with a reset that returns */
	fake_driver_up(&d, F(MRG_RXBUF) | FAKE_F_VERSION_1, 16);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_STATUS), 15);
}

/* The driver comes and goes with packets under way */
static void test_restart(void **state)
{
	struct fake_buf tx = {0, HDR + 1000, false};

	(void)state;
	start(F(MRG_RXBUF), 64);
	for (unsigned int i = 0; i < 60; i++) {
		start_again(F(MRG_RXBUF), 64);
		offer_buffers(8, 1526);
		tx.gpa = area + (1 << 20);
		for (int k = 0; k < 20; k++)
			(void)fake_add(txq(), &tx, 1);
		fake_kick(&d, txq());
		memset(packet, 0, HDR);
		(void)send(host, packet, HDR + 3000, 0);
		while (recv(host, packet, sizeof(packet), 0) > 0)
			;
	}
}

/* ---- control queue ---- */

static int command(uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	struct fake_queue *q = &d.queues[d.nqueues - 1];
	uint8_t *p = fake_ptr(&d, area, 4096);
	struct fake_buf bufs[3] = {
		{area, 2, false}, {area + 2, len, false}, {area + 2048, 1, true}};
	uint32_t head, written;

	p[0] = class;
	p[1] = cmd;
	memcpy(p + 2, data, len);
	p[2048] = 0x77;
	if (len == 0)
		bufs[1] = bufs[2];
	assert_true(fake_add(q, bufs, len ? 3 : 2) >= 0);
	fake_kick(&d, q);
	fake_wait_used(&d, q, &head, &written);
	assert_int_equal(written, 1);
	return p[2048];
}

static void test_control(void **state)
{
	static const uint8_t table[] = {1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0};
	const uint8_t on = 1;
	const uint64_t offloads = 2;
	uint16_t n = 1;

	(void)state;
	start(F(CTRL_VQ) | F(CTRL_RX) | FAKE_F_EVENT_IDX, 16);
	assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), 0);
	assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1), 0);
	assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 0), 1);
	assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, &on, 1), 1);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, 14), 0);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6), 1);
	assert_int_equal(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &n, 2), 1);
	assert_int_equal(command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n, 2), 1);
	assert_int_equal(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &offloads, 8), 1);
	assert_int_equal(command(99, 99, &on, 1), 1);
}

static void test_control_odd_chains(void **state)
{
	struct fake_queue *q = &d.queues[2];
	struct fake_buf cut = {0, 1, false}, only_ack = {0, 1, true}, no_ack = {0, 3, false};
	uint32_t head, len;

	(void)state;
	start(F(CTRL_VQ) | F(CTRL_RX) | FAKE_F_EVENT_IDX, 16);
	cut.gpa = only_ack.gpa = no_ack.gpa = area;
	assert_true(fake_add(q, &cut, 1) >= 0);
	assert_true(fake_add(q, &no_ack, 1) >= 0);
	assert_true(fake_add(q, &only_ack, 1) >= 0);
	fake_kick(&d, q);
	fake_wait_used(&d, q, &head, &len);
	assert_int_equal(len, 0);
	fake_wait_used(&d, q, &head, &len);
	assert_int_equal(len, 0);
	fake_wait_used(&d, q, &head, &len);
	assert_int_equal(len, 1);
	assert_int_equal(*(uint8_t *)fake_ptr(&d, area, 1), VIRTIO_NET_ERR);
}

/* Without MQ the control queue is the third one, also of a device that has more */
static void test_pairs_of_sockets(void **state)
{
	struct fake_buf buf = {0, HDR + 30, false};
	int fds[2], hosts[2];
	uint16_t n = 2, too_many = 3;

	(void)state;
	fake_driver_init(&d);
	area = fake_alloc(&d, 4 << 20, 4096);
	make_sockets(&fds[0]);
	hosts[0] = host;
	make_sockets(&fds[1]);
	hosts[1] = host;
	fake_driver_start(&d, make(fds, 2, 0), F(MQ) | F(CTRL_VQ) | F(MRG_RXBUF) | FAKE_F_VERSION_1,
			  16);
	assert_int_equal(command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n, 2), 0);
	assert_int_equal(command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &too_many, 2),
			 1);
	buf.gpa = area;
	for (int i = 0; i < 2; i++) {
		host = hosts[i];
		assert_true(fake_add(&d.queues[2 * i + 1], &buf, 1) >= 0);
		fake_kick(&d, &d.queues[2 * i + 1]);
		expect_sent(fake_ptr(&d, area, HDR + 30), HDR + 30);
	}
	fake_driver_up(&d, F(CTRL_VQ) | F(CTRL_RX) | FAKE_F_VERSION_1, 16);
	d.nqueues = 3;
	{
		const uint8_t on = 1;

		assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1),
				 0);
	}
	close(hosts[0]);
}

/* ---- a tap ---- */

#define TAP_SKIP "no network namespace or /dev/net/tun of its own"

/* A namespace of our own, once */
static bool enter_namespace(void)
{
	static int done;

	if (!done)
		done = unshare(CLONE_NEWNET) == 0 && access("/dev/net/tun", R_OK | W_OK) == 0 ? 1
											      : -1;
	return done > 0;
}

static int open_tap(const char *name, int flags)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

/* Up, and a packet socket on it as @host: what the device sends is read there, and the other way */
static void raise_tap(const char *name)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct ifreq ifr = {0};

	host = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(host >= 0);
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	ifr.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(host, SIOCSIFFLAGS, &ifr), 0);
	assert_int_equal(ioctl(host, SIOCGIFINDEX, &ifr), 0);
	to.sll_ifindex = ifr.ifr_ifindex;
	assert_int_equal(bind(host, (struct sockaddr *)&to, sizeof(to)), 0);
}

/* The packet with our EtherType among whatever the host's kernel says on the new interface */
static ssize_t receive_ours(uint8_t *buf, size_t size)
{
	struct pollfd pfd = {.fd = host, .events = POLLIN};

	while (poll(&pfd, 1, WAIT_MS) > 0) {
		ssize_t n = recv(host, buf, size, 0);

		if (n >= 14 && buf[12] == 0x88 && buf[13] == 0xb5)
			return n;
	}
	return -1;
}

static void write_ours(uint8_t *p, uint32_t len, unsigned int seed)
{
	fill(p, len, seed);
	memset(p, 0xff, 6);
	memcpy(p + 6, mac, 6);
	p[12] = 0x88;
	p[13] = 0xb5;
}

static void tap_round_trip(struct fake_queue *tx, struct fake_queue *rx)
{
	struct fake_buf out = {area, HDR + 1000, false}, in = {area + 8192, 1526, true};
	uint8_t *p = fake_ptr(&d, area, 4096), got[4096];
	uint32_t head, len;

	memset(p, 0, HDR);
	write_ours(p + HDR, 1000, 5);
	assert_true(fake_add(tx, &out, 1) >= 0);
	fake_kick(&d, tx);
	assert_int_equal(receive_ours(got, sizeof(got)), 1000);
	assert_memory_equal(got, p + HDR, 1000);
	fake_wait_used(&d, tx, &head, &len);
	if (!rx)
		return;
	write_ours(got, 800, 6);
	for (int i = 0; i < 4; i++)
		assert_true(fake_add(rx, &in, 1) >= 0);
	fake_kick(&d, rx);
	assert_int_equal(send(host, got, 800, 0), 800);
	do {
		fake_wait_used(&d, rx, &head, &len);
		assert_true(fake_add(rx, &in, 1) >= 0);
		fake_kick(&d, rx);
	} while (len != HDR + 800);
}

static void test_tap(void **state)
{
	int fd, size = 0;
	struct ifreq ifr = {0};

	(void)state;
	fake_driver_init(&d);
	if (!enter_namespace()) {
		print_message(TAP_SKIP "\n");
		skip();
	}
	area = fake_alloc(&d, 4 << 20, 4096);
	fd = open_tap("test0", 0);
	raise_tap("test0");
	fake_driver_attach(&d, make(&fd, 1, 0));
	assert_true(offered() & F(CSUM));
	assert_true(offered() & F(GUEST_TSO4));
	fake_driver_up(&d, ALL_BITS, 16);
	assert_int_equal(fake_read(&d, VIRTIO_MMIO_STATUS), 15);
	(void)size;
	(void)ifr;
	tap_round_trip(txq(), rxq());
	/* Offloads are switched as asked */
	{
		uint64_t offloads = 0;

		assert_int_equal(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &offloads, 8), 0);
		offloads = F(GUEST_CSUM) | F(GUEST_TSO4);
		assert_int_equal(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &offloads, 8), 0);
		offloads |= F(CSUM);
		assert_int_equal(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &offloads, 8), 1);
	}
	/* Down: packets are dropped and given back; up again: they flow */
	memcpy(ifr.ifr_name, "test0", 6);
	assert_int_equal(ioctl(host, SIOCSIFFLAGS, &ifr), 0);
	{
		struct fake_buf out = {area, HDR + 1000, false};
		uint32_t head, len;

		assert_true(fake_add(txq(), &out, 1) >= 0);
		fake_kick(&d, txq());
		fake_wait_used(&d, txq(), &head, &len);
	}
	close(host);
	raise_tap("test0");
	fake_driver_up(&d, ALL_BITS & ~F(MRG_RXBUF), 16);
	tap_round_trip(txq(), rxq());
}

static void test_tap_queues(void **state)
{
	uint16_t n = 3;
	int fds[3];

	(void)state;
	fake_driver_init(&d);
	if (!enter_namespace())
		skip();
	area = fake_alloc(&d, 4 << 20, 4096);
	for (int i = 0; i < 3; i++)
		fds[i] = open_tap("test1", IFF_MULTI_QUEUE);
	raise_tap("test1");
	for (int pass = 0; pass < 3; pass++) {
		if (pass == 0)
			fake_driver_start(&d, make(fds, 3, 0), ALL_BITS, 16);
		else
			fake_driver_up(&d, pass == 1 ? ALL_BITS : ALL_BITS & ~F(MQ), 16);
		assert_int_equal(fake_read(&d, VIRTIO_MMIO_STATUS), 15);
		/* One attached queue gets everything; another one can only send once it is attached */
		tap_round_trip(&d.queues[1], &d.queues[0]);
		if (pass == 2)
			break;
		n = 3;
		assert_int_equal(
			command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n, 2), 0);
		tap_round_trip(&d.queues[5], NULL);
		n = 4;
		assert_int_equal(
			command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n, 2), 1);
		n = 1;
		assert_int_equal(
			command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n, 2), 0);
		tap_round_trip(&d.queues[1], &d.queues[0]);
	}
}

/* A tap of another kind is refused, by name */
static void test_tap_kind(void **state)
{
	struct virtio_net_args args = {.npairs = 1};
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI, .ifr_name = "test2"};
	struct err err = {0};
	int fd;

	(void)state;
	fake_driver_init(&d);
	if (!enter_namespace())
		skip();
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	args.tap_fds = &fd;
	assert_null(virtio_net_new(&args, &err)); /* not attached to anything */
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	assert_null(virtio_net_new(&args, &err));
	assert_non_null(strstr(err.msg, "test2"));
	close(fd);
}

#define TEST(t) cmocka_unit_test_teardown(t, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_offer),
		TEST(test_bad_descriptors),
		TEST(test_send),
		TEST(test_send_short),
		TEST(test_send_back_pressure),
		TEST(test_receive_merged),
		TEST(test_receive_spill),
		TEST(test_receive_parked),
		TEST(test_receive_too_long),
		TEST(test_receive_many),
		TEST(test_receive_odd_chains),
		TEST(test_receive_short),
		TEST(test_broken_rings),
		TEST(test_hostile_refill),
		TEST(test_restart),
		TEST(test_control),
		TEST(test_control_odd_chains),
		TEST(test_pairs_of_sockets),
		TEST(test_tap),
		TEST(test_tap_queues),
		TEST(test_tap_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
