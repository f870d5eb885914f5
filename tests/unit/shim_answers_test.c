/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which packets go to the host's stack: the program, run by the kernel (BPF_PROG_TEST_RUN) with real sockets in a network
 * namespace of the test's own. Where this process may not load one, its jumps alone are looked at.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "shim/network.h"

#define TO_GUEST ((uint32_t)TC_ACT_UNSPEC)
#define TO_HOST ((uint32_t)TC_ACT_OK)

static int program_fd;

static void test_jumps(void **state)
{
	struct bpf_insn all[NET_ANSWERS_MAX];
	size_t n = net_answers_program(7, all), njumps = 0, nends = 0;

	(void)state;
	assert_true(n > 50);
	for (size_t i = 0; i < n; i++) {
		uint8_t operation = BPF_OP(all[i].code);

		if (BPF_CLASS(all[i].code) != BPF_JMP || operation == BPF_CALL)
			continue;
		if (operation == BPF_EXIT) {
			nends++;
			continue;
		}
		njumps++;
		/* forward, and not beyond the end */
		assert_true(all[i].off >= 0 && i + 1 + (size_t)all[i].off < n);
	}
	assert_true(njumps > 20);
	assert_int_equal(nends, 6);
}

static int set_up(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) < 0 ||
	    system("ip link set lo up && ip addr add fd01::1 dev lo nodad") != 0)
		return -1;
	program_fd = net_answers_load((int)if_nametoindex("lo"));
	return program_fd == -EPERM || program_fd == -ENOSYS || program_fd >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	close_fd(&program_fd);
	return 0;
}

static uint32_t verdict(const uint8_t *frame, size_t len)
{
	union bpf_attr attr = {.test = {.prog_fd = (uint32_t)program_fd,
					.data_in = (uintptr_t)frame,
					.data_size_in = (uint32_t)len,
					.repeat = 1}};

	if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)) < 0)
		fail_msg("BPF_PROG_TEST_RUN: %s", strerror(errno));
	return attr.test.retval;
}

/* ---- frames ---- */

struct flow {
	int family, protocol;
	uint16_t from, to; /* ports */
	uint8_t options;   /* words of IPv4's */
	bool fragment;
};

static size_t make_frame(const struct flow *flow, uint8_t *out)
{
	uint16_t ports[] = {htons(flow->from), htons(flow->to)};
	uint8_t *l3 = out + 14, *l4;

	memset(out, 0, 128);
	if (flow->family == AF_INET) {
		out[12] = 8;
		l3[0] = (uint8_t)(0x45 + flow->options);
		l3[6] = flow->fragment ? 0x20 : 0x40;
		l3[9] = (uint8_t)flow->protocol;
		assert_int_equal(inet_pton(AF_INET, "127.0.0.1", l3 + 12), 1);
		memcpy(l3 + 16, l3 + 12, 4);
		l4 = l3 + 20 + 4 * flow->options;
	} else {
		out[12] = 0x86;
		out[13] = 0xdd;
		l3[0] = 0x60;
		l3[6] = (uint8_t)flow->protocol;
		assert_int_equal(inet_pton(AF_INET6, "fd01::1", l3 + 8), 1);
		memcpy(l3 + 24, l3 + 8, 16);
		l4 = l3 + 40;
	}
	memcpy(l4, ports, sizeof(ports));
	return (size_t)(l4 - out) + 20;
}

static uint32_t verdict_of(struct flow flow)
{
	uint8_t frame[128];

	return verdict(frame, make_frame(&flow, frame));
}

/* ---- sockets ---- */

static socklen_t address_of(int family, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (family == AF_INET) {
		*in = (struct sockaddr_in){.sin_family = AF_INET,
					   .sin_port = htons(port),
					   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		return sizeof(*in);
	}
	*in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
	assert_int_equal(inet_pton(AF_INET6, "fd01::1", &in6->sin6_addr), 1);
	return sizeof(*in6);
}

static int bound(int family, int type, uint16_t port)
{
	struct sockaddr_storage address;
	socklen_t len = address_of(family, port, &address);
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	return fd;
}

static void connect_to(int fd, int family, uint16_t port)
{
	struct sockaddr_storage address;
	socklen_t len = address_of(family, port, &address);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
}

static void check_family(int family)
{
	cleanup_close int udp = bound(family, SOCK_DGRAM, 4000);
	cleanup_close int listener = bound(family, SOCK_STREAM, 53);
	cleanup_close int tcp = bound(family, SOCK_STREAM, 4000);
	struct flow flow = {family, IPPROTO_UDP, 53, 4000, 0, false};

	/* it would take from anybody: not from outside */
	assert_int_equal(verdict_of(flow), TO_GUEST);
	connect_to(udp, family, 53);
	assert_int_equal(verdict_of(flow), TO_HOST);
	flow.from = 54;
	assert_int_equal(verdict_of(flow), TO_GUEST);
	flow = (struct flow){family, IPPROTO_UDP, 53, 4001, 0, false};
	assert_int_equal(verdict_of(flow), TO_GUEST);
	/* TCP: a listener, then a connection, seen from both sides */
	assert_int_equal(listen(listener, 4), 0);
	flow = (struct flow){family, IPPROTO_TCP, 4000, 53, 0, false};
	assert_int_equal(verdict_of(flow), TO_GUEST);
	connect_to(tcp, family, 53);
	assert_int_equal(verdict_of(flow), TO_HOST);
	flow = (struct flow){family, IPPROTO_TCP, 53, 4000, 0, false};
	assert_int_equal(verdict_of(flow), TO_HOST);
	flow.to = 4001;
	assert_int_equal(verdict_of(flow), TO_GUEST);
	/* another protocol with the same bytes */
	flow = (struct flow){family, IPPROTO_SCTP, 53, 4000, 0, false};
	assert_int_equal(verdict_of(flow), TO_GUEST);
	flow.protocol = IPPROTO_ICMPV6;
	assert_int_equal(verdict_of(flow), TO_GUEST);
}

static void test_sockets(void **state)
{
	const struct flow none = {AF_INET, IPPROTO_UDP, 53, 4000, 0, false};

	(void)state;
	if (program_fd < 0)
		return;
	check_family(AF_INET);
	check_family(AF_INET6);
	assert_int_equal(verdict_of(none), TO_GUEST);
}

static void test_shapes(void **state)
{
	cleanup_close int udp = -1;
	struct flow flow = {AF_INET, IPPROTO_UDP, 53, 4000, 3, false};
	uint8_t frame[128];
	size_t len;

	(void)state;
	if (program_fd < 0)
		return;
	udp = bound(AF_INET, SOCK_DGRAM, 4000);
	connect_to(udp, AF_INET, 53);
	/* options are gone past; the ports of a fragment may be anything */
	assert_int_equal(verdict_of(flow), TO_HOST);
	flow.options = 0;
	flow.fragment = true;
	assert_int_equal(verdict_of(flow), TO_GUEST);
	flow.fragment = false;
	len = make_frame(&flow, frame);
	assert_int_equal(verdict(frame, len), TO_HOST);
	/* a header that is shorter than a header, ports that are not there */
	frame[14] = 0x44;
	assert_int_equal(verdict(frame, len), TO_GUEST);
	frame[14] = 0x4f;
	assert_int_equal(verdict(frame, len), TO_GUEST);
	frame[14] = 0x45;
	assert_int_equal(verdict(frame, 14 + 20 + 3), TO_GUEST);
	/* not IP at all */
	frame[12] = 0x88;
	assert_int_equal(verdict(frame, len), TO_GUEST);
}

static void test_neighbours(void **state)
{
	uint8_t frame[128] = {[12] = 8, [13] = 6, [15] = 1, [16] = 8, [18] = 6, [19] = 4, [21] = 2};
	struct flow flow = {AF_INET6, IPPROTO_ICMPV6, 0, 0, 0, false};
	size_t len;

	(void)state;
	if (program_fd < 0)
		return;
	/* a reply is both sides', a request the guest's to answer */
	assert_int_equal(verdict(frame, 42), TO_HOST);
	frame[21] = 1;
	assert_int_equal(verdict(frame, 42), TO_GUEST);
	len = make_frame(&flow, frame);
	frame[14 + 40] = 136;
	assert_int_equal(verdict(frame, len), TO_HOST);
	frame[14 + 40] = 135;
	assert_int_equal(verdict(frame, len), TO_GUEST);
	frame[14 + 40] = 134;
	assert_int_equal(verdict(frame, len), TO_GUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jumps),
		cmocka_unit_test_setup_teardown(test_sockets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_shapes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_neighbours, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
