/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read from a network namespace, what the agent is told of it, and what is done to the namespace: in one of the test's
 * own, made with ip(8). Kinds of links that every kernel has: taps and bridges.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/agent.pb-c.h"
#include "lib/cleanup.h"
#include "lib/netlink.h"
#include "shim/control.h"
#include "shim/network.h"

static int sock = -1;
static struct net_state scanned;

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("'%s' failed", command);
}

static bool says(const char *command, const char *words)
{
	static char text[16384];
	FILE *f = popen(command, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = 0;
	if (f)
		(void)pclose(f);
	return strstr(text, words);
}

static int set_up(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) < 0 || system("ip link set lo up") != 0)
		return -1;
	sock = netlink_open();
	return sock < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	net_state_release(&scanned);
	close_fd(&sock);
	return 0;
}

static void scan(void)
{
	struct err err = {0};

	net_state_release(&scanned);
	if (net_scan(sock, &scanned, &err) < 0)
		fail_msg("%s", err.msg);
}

static const struct net_link *link_named(const char *name)
{
	for (size_t i = 0; i < scanned.nlinks; i++) {
		if (strcmp(scanned.links[i].name, name) == 0)
			return &scanned.links[i];
	}
	return NULL;
}

static bool has_address(const struct net_link *link, const void *address, size_t len, int prefix)
{
	for (size_t i = 0; i < link->naddresses; i++) {
		if (link->addresses[i].len == len && link->addresses[i].prefix == prefix &&
		    memcmp(link->addresses[i].address, address, len) == 0)
			return true;
	}
	return false;
}

/* An interface with a bit of everything */
static void make_eth0(void)
{
	run("ip tuntap add eth0 mode tap && ip link set eth0 address 02:00:00:00:00:05 mtu 1400 && "
	    "ip addr add 10.1.0.2/24 brd 10.1.0.255 metric 33 dev eth0 && ip addr add fd01::2/64 "
	    "dev eth0 "
	    "nodad && ip link set eth0 up && ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev "
	    "eth0 nud permanent && ip neigh add 10.1.0.8 lladdr 02:00:00:00:00:08 dev eth0 nud "
	    "stale && ip route add default via 10.1.0.1 metric 5 && ip route add 10.8.0.0/16 via "
	    "192.0.2.1 dev eth0 onlink src 10.1.0.2 mtu 1300 && ip route add 10.9.0.0/16 nexthop "
	    "via 10.1.0.4 weight 3 nexthop via 10.1.0.5 && ip route add blackhole 203.0.113.0/24 "
	    "&& ip -6 route add default via fd01::1 dev eth0 && ip route add 10.10.0.0/16 dev eth0 "
	    "table 77");
}

static void test_scan(void **state)
{
	const struct net_link *eth0;
	size_t defaults = 0, multipath = 0, onlink = 0, blackholes = 0;

	(void)state;
	make_eth0();
	scan();
	assert_int_equal(scanned.nlinks, 2);
	eth0 = link_named("eth0");
	assert_non_null(eth0);
	assert_true(eth0->up && !eth0->loopback && !eth0->noarp && !eth0->no_ipv6);
	assert_int_equal(eth0->mtu, 1400);
	assert_memory_equal(eth0->mac, "\2\0\0\0\0\5", 6);
	assert_true(has_address(eth0, "\x0a\1\0\2", 4, 24));
	assert_true(has_address(eth0, "\xfd\1\0\0\0\0\0\0\0\0\0\0\0\0\0\2", 16, 64));
	assert_true(eth0->addresses[0].has_broadcast);
	assert_int_equal(eth0->addresses[0].priority, 33);
	assert_int_equal(eth0->nneighbours, 1);
	assert_memory_equal(eth0->neighbours[0].address, "\x0a\1\0\x9", 4);
	assert_int_equal(link_named("lo")->naddresses, 0);
	for (size_t i = 0; i < scanned.nroutes; i++) {
		const struct net_route *r = &scanned.routes[i];

		if (r->family == AF_INET && !r->prefix && r->priority == 5) {
			defaults++;
			assert_int_equal(r->hops[0].ifindex, eth0->ifindex);
			assert_memory_equal(r->hops[0].gateway, "\x0a\1\0\1", 4);
		}
		if (r->family == AF_INET6 && !r->prefix)
			defaults++;
		if (r->nhops == 2) {
			multipath++;
			assert_int_equal(r->hops[0].weight, 2);
			assert_memory_equal(r->hops[1].gateway, "\x0a\1\0\5", 4);
		}
		if (r->nhops == 1 && r->hops[0].onlink) {
			onlink++;
			assert_int_equal(r->mtu, 1300);
			assert_int_equal(r->source_len, 4);
		}
		blackholes += r->type == RTN_BLACKHOLE && !r->nhops;
		/* the kernel's own, and other tables' */
		assert_true(r->protocol != RTPROT_KERNEL);
		assert_false(r->prefix == 16 && r->destination[1] == 10);
	}
	assert_int_equal(defaults, 2);
	assert_int_equal(multipath, 1);
	assert_int_equal(onlink, 1);
	assert_int_equal(blackholes, 1);
}

static void test_left_out(void **state)
{
	(void)state;
	/* a bridge with a port: the port is the bridge's; a layer-3 tunnel; a tap of a monitor's */
	run("ip link add br0 type bridge && ip tuntap add port mode tap && ip link set port master "
	    "br0 && ip link set br0 up && ip tuntap add tun0 mode tun && ip link set tun0 up && ip "
	    "tuntap add caisson7 mode tap && ip link set br0 arp off && ip addr add 10.99.0.1/32 "
	    "dev lo");
	scan();
	assert_non_null(link_named("br0"));
	assert_true(link_named("br0")->noarp);
	assert_null(link_named("port"));
	assert_null(link_named("tun0"));
	assert_null(link_named("caisson7"));
	assert_int_equal(scanned.nothers, 1);
	assert_int_equal(scanned.ntaps, 1);
	assert_false(scanned.taps[0].alive);
	assert_true(has_address(link_named("lo"), "\x0a\x63\0\1", 4, 32));
	run("echo 1 > /proc/sys/net/ipv6/conf/br0/disable_ipv6");
	scan();
	assert_true(link_named("br0")->no_ipv6);
}

static void test_limits(void **state)
{
	struct err err = {0};

	(void)state;
	run("for i in 1 2 3 4 5 6 7 8 9; do ip tuntap add t$i mode tap || exit 1; done");
	assert_int_equal(net_scan(sock, &scanned, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "more than 9 interfaces"));
	assert_int_equal(scanned.nlinks, 0);
	run("ip link del t9");
	run("for i in $(seq 1 150); do echo addr add 10.1.1.$i/32 dev t1; echo addr add "
	    "10.1.2.$i/32 "
	    "dev t1; done | ip -batch -");
	assert_int_equal(net_scan(sock, &scanned, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "more than 256 addresses on one interface"));
	run("ip addr flush dev t1; ip link set t1 up; for i in $(seq 0 1100); do echo route add "
	    "10.$((i / 250)).$((i % 250)).0/24 dev t1; done | ip -batch -");
	assert_int_equal(net_scan(sock, &scanned, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "more than 1024 routes"));
}

static Caisson__Agent__SetNetworkRequest *message(const int *slots, uint8_t **bytes, size_t *len)
{
	Caisson__Agent__SetNetworkRequest *request;
	struct err err = {0};

	assert_int_equal(net_message(&scanned, slots, bytes, len, &err), 0);
	request = caisson__agent__set_network_request__unpack(NULL, *len, *bytes);
	assert_non_null(request);
	return request;
}

static void test_message(void **state)
{
	cleanup_free uint8_t *first = NULL, *second = NULL, *none = NULL;
	Caisson__Agent__SetNetworkRequest *request;
	int slots[MACHINE_LATE_SLOTS] = {0};
	size_t first_len, second_len, none_len, onlinks = 0;

	(void)state;
	make_eth0();
	run("ip tuntap add eth1 mode tap && ip addr add 10.2.0.2/24 dev eth1 && ip link set eth1 "
	    "up "
	    "&& ip route add 10.77.0.0/16 dev eth1");
	scan();
	slots[5] = link_named("eth0")->ifindex;
	request = message(slots, &first, &first_len);
	assert_int_equal(request->n_interfaces, 1);
	assert_string_equal(request->interfaces[0]->name, "eth0");
	assert_int_equal(request->interfaces[0]->slot, 6);
	assert_int_equal(request->interfaces[0]->mtu, 1400);
	assert_int_equal(request->interfaces[0]->n_neighbours, 1);
	assert_true(request->interfaces[0]->n_addresses >= 2);
	for (size_t i = 0; i < request->n_routes; i++) {
		const Caisson__Agent__NetworkRoute *r = request->routes[i];

		/* eth1 is not in the guest */
		assert_false(r->destination.len == 4 && r->destination.data[1] == 77);
		onlinks += r->n_hops == 1 && r->hops[0]->onlink;
	}
	assert_int_equal(onlinks, 1);
	caisson__agent__set_network_request__free_unpacked(request, NULL);
	/* the same state is the same bytes, another one is not */
	scan();
	request = message(slots, &second, &second_len);
	caisson__agent__set_network_request__free_unpacked(request, NULL);
	assert_int_equal(first_len, second_len);
	assert_memory_equal(first, second, first_len);
	/* nothing in the guest is an empty message */
	slots[5] = 0;
	request = message(slots, &none, &none_len);
	caisson__agent__set_network_request__free_unpacked(request, NULL);
	assert_int_equal(none_len, 0);
}

static void test_tap(void **state)
{
	struct net_devices devices;
	struct err err = {0};
	int fds[4], tap;

	(void)state;
	make_eth0();
	scan();
	net_devices_open(&devices);
	tap = net_tap_open(sock, &devices, link_named("eth0"), "caisson c1", 4, fds, &err);
	if (tap < 0)
		fail_msg("%s", err.msg);
	assert_true(says("ip -d link show type tun", "multi_queue"));
	assert_true(says("ip link", "alias caisson c1"));
	scan();
	assert_int_equal(scanned.ntaps, 1);
	assert_int_equal(scanned.taps[0].ifindex, tap);
	assert_int_equal(scanned.taps[0].mtu, 1400);
	assert_true(scanned.taps[0].alive);
	assert_int_equal(scanned.nlinks, 2);
	/* it says nothing by itself */
	assert_false(says("ip -6 addr", "caisson"));
	assert_int_equal(net_tap_set_mtu(sock, tap, 1500), 0);
	scan();
	assert_int_equal(scanned.taps[0].mtu, 1500);
	/* also with a holder */
	net_tap_delete(sock, tap);
	scan();
	assert_int_equal(scanned.ntaps, 0);
	for (int i = 0; i < 4; i++)
		(void)close(fds[i]);
	close_fd(&devices.tun_fd);
	assert_int_equal(net_tap_open(sock, &devices, link_named("eth0"), "x", 1, fds, &err),
			 -ENODEV);
	assert_non_null(strstr(err.msg, "modprobe tun"));
	net_devices_close(&devices);
}

/* Not every kernel that tests run on can redirect; the lab's suites prove that packets pass */
static void test_redirect(void **state)
{
	struct err err = {0};
	int eth0, other, r;

	(void)state;
	make_eth0();
	run("ip tuntap add other mode tap && ip link set other up");
	scan();
	eth0 = link_named("eth0")->ifindex;
	other = link_named("other")->ifindex;
	r = net_redirect(sock, eth0, other, &err);
	if (r < 0) {
		assert_non_null(strstr(err.msg, "the host's kernel needs"));
		assert_false(says("tc qdisc show dev eth0", "clsact"));
		return;
	}
	assert_true(says("tc filter show dev eth0 ingress", "device other"));
	assert_int_equal(net_redirect(sock, eth0, other, &err), -EEXIST);
	net_redirect_remove(sock, eth0);
	assert_false(says("tc qdisc show dev eth0", "clsact"));
	/* where the qdisc was another's it stays */
	run("tc qdisc add dev eth0 clsact");
	assert_int_equal(net_redirect(sock, eth0, other, &err), 0);
	net_redirect_remove(sock, eth0);
	assert_true(says("tc qdisc show dev eth0", "clsact"));
	assert_false(says("tc filter show dev eth0 ingress", "other"));
}

static void test_owner(void **state)
{
	cleanup_close int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = -1;
	char name[16], byte;
	int ready[2], pid;

	(void)state;
	assert_true(net_is_own(here));
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(net_is_own(there));
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	assert_false(net_is_own(there));
	assert_int_equal(net_user(there, name), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		(void)setns(there, CLONE_NEWNET);
		(void)!write(ready[1], "x", 1);
		(void)pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(net_user(there, name), pid);
	assert_string_equal(name, "shim_network_te");
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

static void test_note(void **state)
{
	cleanup_close int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), dir = -1;
	cleanup_close int other = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	char path[] = "/tmp/shim_network_XXXXXX", ns[64];
	struct err err = {0};

	(void)state;
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* nothing noted, nothing to do */
	assert_int_equal(monitor_network_remove(dir, &err), 0);
	(void)snprintf(ns, sizeof(ns), "/proc/%d/ns/net", getpid());
	make_eth0();
	run("ip tuntap add caisson9 mode tap");
	assert_int_equal(net_note(dir, here, ns, &err), 0);
	/* a dead tap goes */
	assert_int_equal(monitor_network_remove(dir, &err), 0);
	assert_false(says("ip link", "caisson9"));
	assert_true(says("ip link", "eth0"));
	assert_int_equal(faccessat(dir, "network", F_OK, 0), -1);
	/* what is no network namespace was never entered */
	assert_int_equal(net_note(dir, other, "/proc/self/ns/uts", &err), 0);
	assert_int_equal(monitor_network_remove(dir, &err), 0);
	assert_int_equal(faccessat(dir, "network", F_OK, 0), -1);
	/* another namespace at the same path is not entered */
	assert_int_equal(net_note(dir, here, ns, &err), 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	run("ip tuntap add caisson9 mode tap");
	assert_int_equal(monitor_network_remove(dir, &err), 0);
	assert_true(says("ip link", "caisson9"));
	(void)rmdir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_scan, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_left_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_message, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tap, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_redirect, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_owner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_note, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
