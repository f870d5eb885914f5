/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SetNetwork in a network namespace of the test's own, with taps in place of slots; what came of it is asked of ip(8).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "guest/network.h"
#include "lib/cleanup.h"

/* ---- slots ---- */

static int taps[MACHINE_LATE_SLOTS];
static char tap_names[MACHINE_LATE_SLOTS][IFNAMSIZ];
static int bind_fails; /* errno */

static int test_bind(unsigned int slot, struct err *err)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	if (bind_fails)
		return err_sys(err, bind_fails, "device slot %u", slot);
	taps[slot] = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	/* As the kernel names it: the first free one */
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "eth%%d");
	assert_int_equal(ioctl(taps[slot], TUNSETIFF, &ifr), 0);
	(void)snprintf(tap_names[slot], IFNAMSIZ, "%s", ifr.ifr_name);
	return 0;
}

static int test_unbind(unsigned int slot, struct err *err)
{
	(void)err;
	(void)close(taps[slot]);
	return 0;
}

static int test_netdev(unsigned int slot, char name[IFNAMSIZ], struct err *err)
{
	(void)err;
	(void)snprintf(name, IFNAMSIZ, "%s", tap_names[slot]);
	return 0;
}

static const struct network_slots slots = {test_bind, test_unbind, test_netdev};
static struct network network;

/* ---- descriptions ---- */

#define STATE_MAX 8
struct text_interface {
	uint32_t slot;
	const char *name, *mac;
	uint32_t mtu;
	bool down, noarp, no_ipv6;
	const char *addresses[STATE_MAX];  /* "10.0.0.1/24" */
	uint32_t priority;		   /* of their routes */
	const char *neighbours[STATE_MAX]; /* "10.0.0.9 02:00:00:00:00:09" */
};
struct text_route {
	const char *to; /* "default", "default6", "10.0.0.0/8" */
	const char *gateway, *source;
	uint32_t via, priority, scope, type; /* interface's index */
	bool onlink, no_hop;
	const char *second_gateway; /* over the same interface */
};

static ProtobufCBinaryData address_of(const char *text, uint32_t *prefix)
{
	ProtobufCBinaryData out = {.data = calloc(1, 16)};
	char copy[64], *slash;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	slash = strchr(copy, '/');
	if (slash)
		*slash++ = 0;
	out.len = strchr(copy, ':') ? 16 : 4;
	assert_int_equal(inet_pton(out.len == 16 ? AF_INET6 : AF_INET, copy, out.data), 1);
	if (prefix)
		*prefix = slash ? (uint32_t)atoi(slash) : (uint32_t)out.len * 8;
	return out;
}

static ProtobufCBinaryData mac_of(const char *text)
{
	ProtobufCBinaryData out = {.data = calloc(1, 6), .len = 6};
	unsigned int b[6];

	assert_int_equal(
		sscanf(text, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]), 6);
	for (int i = 0; i < 6; i++)
		out.data[i] = (uint8_t)b[i];
	return out;
}

static Caisson__Agent__NetworkInterface *interface_of(const struct text_interface *in)
{
	Caisson__Agent__NetworkInterface *out = malloc(sizeof(*out));

	caisson__agent__network_interface__init(out);
	out->slot = in->slot;
	out->name = strdup(in->name);
	if (in->slot)
		out->mac = mac_of(in->mac ?: "02:00:00:00:00:01");
	out->mtu = in->mtu ?: 1500;
	out->up = !in->down;
	out->noarp = in->noarp;
	out->no_ipv6 = in->no_ipv6;
	out->addresses = calloc(STATE_MAX, sizeof(*out->addresses));
	out->neighbours = calloc(STATE_MAX, sizeof(*out->neighbours));
	for (; in->addresses[out->n_addresses]; out->n_addresses++) {
		Caisson__Agent__NetworkAddress *a = malloc(sizeof(*a));

		caisson__agent__network_address__init(a);
		a->address = address_of(in->addresses[out->n_addresses], &a->prefix);
		a->priority = in->priority;
		out->addresses[out->n_addresses] = a;
	}
	for (; in->neighbours[out->n_neighbours]; out->n_neighbours++) {
		Caisson__Agent__NetworkNeighbour *n = malloc(sizeof(*n));
		const char *text = in->neighbours[out->n_neighbours];
		char ip[64];

		caisson__agent__network_neighbour__init(n);
		(void)snprintf(ip, sizeof(ip), "%.*s", (int)strcspn(text, " "), text);
		n->address = address_of(ip, NULL);
		n->mac = mac_of(strchr(text, ' ') + 1);
		out->neighbours[out->n_neighbours] = n;
	}
	return out;
}

static void add_hop(Caisson__Agent__NetworkRoute *route, const struct text_route *in,
		    const char *gateway)
{
	Caisson__Agent__NetworkHop *hop = malloc(sizeof(*hop));

	caisson__agent__network_hop__init(hop);
	hop->interface = in->via;
	hop->onlink = in->onlink;
	if (gateway)
		hop->gateway = address_of(gateway, NULL);
	route->hops[route->n_hops++] = hop;
}

static Caisson__Agent__NetworkRoute *route_of(const struct text_route *in)
{
	Caisson__Agent__NetworkRoute *out = malloc(sizeof(*out));

	caisson__agent__network_route__init(out);
	out->family = strchr(in->to, ':') || strcmp(in->to, "default6") == 0 ? AF_INET6 : AF_INET;
	if (strncmp(in->to, "default", 7) != 0)
		out->destination = address_of(in->to, &out->prefix);
	out->type = in->type ?: RTN_UNICAST;
	out->scope = in->scope;
	out->protocol = RTPROT_STATIC;
	out->priority = in->priority;
	if (in->source)
		out->source = address_of(in->source, NULL);
	out->hops = calloc(2, sizeof(*out->hops));
	if (!in->no_hop)
		add_hop(out, in, in->gateway);
	if (in->second_gateway)
		add_hop(out, in, in->second_gateway);
	return out;
}

static int set(const struct text_interface *interfaces, size_t n, const struct text_route *routes,
	       size_t nroutes, struct err *err)
{
	Caisson__Agent__SetNetworkRequest *request = malloc(sizeof(*request));

	caisson__agent__set_network_request__init(request);
	request->interfaces = calloc(n + 1, sizeof(*request->interfaces));
	request->routes = calloc(nroutes + 1, sizeof(*request->routes));
	for (size_t i = 0; i < n; i++)
		request->interfaces[request->n_interfaces++] = interface_of(&interfaces[i]);
	for (size_t i = 0; i < nroutes; i++)
		request->routes[request->n_routes++] = route_of(&routes[i]);
	return network_set(&network, request, err);
}

static void set_ok(const struct text_interface *interfaces, size_t n,
		   const struct text_route *routes, size_t nroutes)
{
	struct err err = {0};

	if (set(interfaces, n, routes, nroutes, &err) < 0)
		fail_msg("it failed: %s", err.msg);
}

/* ---- what ip(8) says ---- */

static const char *said(const char *command)
{
	static char text[16384];
	FILE *f = popen(command, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = 0;
	if (f)
		(void)pclose(f);
	return text;
}

static void has(const char *command, const char *words)
{
	const char *text = said(command);

	if (!strstr(text, words))
		fail_msg("'%s' does not say '%s': %s", command, words, text);
}

static void has_not(const char *command, const char *words)
{
	const char *text = said(command);

	if (strstr(text, words))
		fail_msg("'%s' says '%s': %s", command, words, text);
}

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("'%s' failed", command);
}

/* ---- tests ---- */

static int set_up(void **state)
{
	(void)state;
	/* /proc/sys/net is the reader's; the namespace is as the guest's: with its loopback up */
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	network = (struct network){.slots = &slots, .netns_fd = -1};
	bind_fails = 0;
	return system("ip link set lo up");
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < MACHINE_LATE_SLOTS; i++) {
		if (network.ifindex[i + 1])
			(void)close(taps[i]);
	}
	network_release(&network);
	return 0;
}

static void test_one(void **state)
{
	const struct text_interface eth0 = {
		.slot = 3,
		.name = "eth0",
		.mac = "02:11:22:33:44:55",
		.mtu = 1400,
		.addresses = {"10.1.0.2/24", "10.1.0.3/24", "fd01::2/64", "fe80::11/64"},
		.neighbours = {"10.1.0.9 02:00:00:00:00:09", "fd01::9 02:00:00:00:00:0a"},
	};
	const struct text_route routes[] = {
		{"default", .gateway = "10.1.0.1"},
		{"default6", .gateway = "fd01::1"},
		{"10.7.0.0/16", .scope = RT_SCOPE_LINK, .source = "10.1.0.3"},
		{"10.8.0.0/16", .gateway = "192.0.2.1", .onlink = true, .priority = 77},
		{"10.9.0.0/16", .gateway = "10.1.0.4", .second_gateway = "10.1.0.5"},
		{"203.0.113.0/24", .type = RTN_BLACKHOLE, .no_hop = true},
		{"fd77::/16", .gateway = "fe80::1"},
	};

	(void)state;
	set_ok(&eth0, 1, routes, 7);
	has("ip link show eth0", "mtu 1400");
	has("ip link show eth0", "02:11:22:33:44:55");
	has("ip link show eth0", ",UP");
	has("ip addr show eth0", "inet 10.1.0.2/24");
	has("ip addr show eth0", "inet 10.1.0.3/24");
	has("ip addr show eth0", "inet6 fd01::2/64");
	has("ip addr show eth0", "inet6 fe80::11/64");
	has_not("ip addr show eth0", "tentative");
	/* the host's link-local address, not one of the kernel's */
	has_not("ip addr show eth0", "fe80::11:22ff");
	has("ip neigh show dev eth0", "10.1.0.9 lladdr 02:00:00:00:00:09 PERMANENT");
	has("ip neigh show dev eth0", "fd01::9 lladdr 02:00:00:00:00:0a PERMANENT");
	has("ip route", "default via 10.1.0.1 dev eth0");
	has("ip -6 route", "default via fd01::1 dev eth0");
	has("ip route", "10.7.0.0/16 dev eth0 proto static scope link src 10.1.0.3");
	has("ip route", "10.8.0.0/16 via 192.0.2.1 dev eth0 proto static metric 77 onlink");
	has("ip route", "nexthop via 10.1.0.4 dev eth0");
	has("ip route", "nexthop via 10.1.0.5 dev eth0");
	has("ip route", "blackhole 203.0.113.0/24");
	has("ip -6 route", "fd77::/16 via fe80::1 dev eth0");
	has("cat /proc/sys/net/ipv4/conf/eth0/arp_notify", "1");
	has("cat /proc/sys/net/ipv6/conf/eth0/ndisc_notify", "1");
}

static void test_announced(void **state)
{
	const struct text_interface eth0 = {
		.slot = 1, .name = "eth0", .addresses = {"10.1.0.2/24", "fd01::2/64"}};
	bool arp = false, na = false;
	uint8_t frame[2048];
	ssize_t n;

	(void)state;
	set_ok(&eth0, 1, NULL, 0);
	while ((n = read(taps[0], frame, sizeof(frame))) > 0) {
		/* sender and target are the address itself */
		if (n >= 42 && frame[12] == 0x08 && frame[13] == 0x06 &&
		    memcmp(frame + 28, "\x0a\x01\x00\x02", 4) == 0 &&
		    memcmp(frame + 38, "\x0a\x01\x00\x02", 4) == 0)
			arp = true;
		/* ICMPv6 type 136 */
		if (n >= 78 && frame[12] == 0x86 && frame[13] == 0xdd && frame[20] == 58 &&
		    frame[54] == 136)
			na = true;
	}
	assert_true(arp);
	assert_true(na);
}

static void test_changes(void **state)
{
	struct text_interface eth0 = {.slot = 1,
				      .name = "eth0",
				      .addresses = {"10.1.0.2/24", "fd01::2/64"},
				      .neighbours = {"10.1.0.9 02:00:00:00:00:09"}};
	const struct text_route routes[] = {{"default", .gateway = "10.1.0.1"},
					    {"10.7.0.0/16", .scope = RT_SCOPE_LINK}};

	(void)state;
	set_ok(&eth0, 1, routes, 2);
	/* what a program does stays, whatever else changes */
	run("ip addr add 192.168.5.5/24 dev eth0; ip route add 192.168.6.0/24 via 192.168.5.1; ip "
	    "link set eth0 txqueuelen 77");
	set_ok(&eth0, 1, routes, 1);
	has_not("ip route", "10.7.0.0");
	has("ip route", "default via");
	/* another address in the same network: the kernel drops the default route with the old one */
	eth0.addresses[0] = "10.1.0.4/24";
	eth0.neighbours[0] = NULL;
	eth0.mtu = 9000;
	set_ok(&eth0, 1, routes, 1);
	has_not("ip addr", "10.1.0.2");
	has("ip addr", "10.1.0.4/24");
	has("ip route", "default via 10.1.0.1");
	has("ip link", "mtu 9000");
	has_not("ip neigh", "10.1.0.9");
	has("ip addr", "192.168.5.5/24");
	has("ip route", "192.168.6.0/24 via 192.168.5.1");
	has("ip link", "qlen 77");
	/* down and up again: all of it is back */
	eth0.down = true;
	set_ok(&eth0, 1, NULL, 0);
	has("ip link show eth0", "state DOWN");
	eth0.down = false;
	set_ok(&eth0, 1, routes, 1);
	has("ip route", "default via 10.1.0.1");
	has("ip addr", "fd01::2/64");
	/* another metric of the connected route */
	eth0.priority = 250;
	set_ok(&eth0, 1, routes, 1);
	has("ip route", "10.1.0.0/24 dev eth0 proto kernel scope link src 10.1.0.4 metric 250");
	has("ip route", "default via 10.1.0.1");
	/* a new MAC address, no ARP, no IPv6 */
	eth0.mac = "02:00:00:00:00:77";
	eth0.noarp = true;
	eth0.no_ipv6 = true;
	eth0.addresses[1] = NULL;
	set_ok(&eth0, 1, routes, 1);
	has("ip link show eth0", "02:00:00:00:00:77");
	has("ip link show eth0", "NOARP");
	has("cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1");
	has("ip route", "default via 10.1.0.1");
}

static void test_two(void **state)
{
	struct text_interface two[] = {
		{.slot = 1,
		 .name = "eth1",
		 .mac = "02:00:00:00:00:01",
		 .addresses = {"10.1.0.2/24"}},
		{.slot = 2,
		 .name = "eth0",
		 .mac = "02:00:00:00:00:02",
		 .addresses = {"10.2.0.2/24"}},
	};
	const struct text_route routes[] = {{"default", .gateway = "10.2.0.1", .via = 1}};

	(void)state;
	set_ok(two, 2, routes, 1);
	has("ip addr show eth1", "10.1.0.2");
	has("ip addr show eth0", "10.2.0.2");
	/* names are swapped */
	two[0].name = "eth0";
	two[1].name = "eth1";
	set_ok(two, 2, routes, 1);
	has("ip addr show eth0", "10.1.0.2");
	has("ip addr show eth1", "10.2.0.2");
	has("ip route", "default via 10.2.0.1 dev eth1");
	/* one goes; the other stays as it is */
	set_ok(two, 1, NULL, 0);
	has_not("ip link", "eth1");
	has("ip addr show eth0", "10.1.0.2");
	/* and comes back */
	set_ok(two, 2, routes, 1);
	has("ip route", "default via 10.2.0.1 dev eth1");
	set_ok(NULL, 0, NULL, 0);
	has_not("ip link", "eth");
}

static void test_loopback(void **state)
{
	struct text_interface lo = {.name = "lo", .addresses = {"10.99.0.1/32"}};

	(void)state;
	set_ok(&lo, 1, NULL, 0);
	has("ip addr show lo", "10.99.0.1/32");
	set_ok(NULL, 0, NULL, 0);
	has_not("ip addr show lo", "10.99.0.1");
	has("ip addr show lo", "127.0.0.1/8");
	has("ip link show lo", ",UP");
}

static void test_failures(void **state)
{
	const struct text_interface eth0 = {
		.slot = 1, .name = "eth0", .addresses = {"10.1.0.2/24"}};
	const struct text_route routes[] = {{"10.7.0.0/16", .gateway = "172.16.0.1"},
					    {"default", .gateway = "10.1.0.1"}};
	struct err err = {0};

	(void)state;
	bind_fails = ENODEV;
	assert_true(set(&eth0, 1, routes, 2, &err) < 0);
	assert_non_null(strstr(err.msg, "device slot 0"));
	bind_fails = 0;
	/* the gateway is out of reach: the rest is there */
	assert_true(set(&eth0, 1, routes, 2, &err) < 0);
	assert_non_null(strstr(err.msg, "cannot set the route to 10.7.0.0/16"));
	has("ip route", "default via 10.1.0.1");
	/* the next call sets all of it again */
	run("ip route del default; ip addr add 172.16.0.2/24 dev eth0");
	set_ok(&eth0, 1, routes, 2);
	has("ip route", "default via 10.1.0.1");
	has("ip route", "10.7.0.0/16 via 172.16.0.1");
}

/* With a user namespace the container's network is a namespace of its own in the guest */
static void test_enter(void **state)
{
	struct text_interface two[] = {
		{.slot = 1, .name = "eth0", .addresses = {"10.1.0.2/24", "fd01::2/64"}},
		{.slot = 2,
		 .name = "eth1",
		 .mac = "02:00:00:00:00:02",
		 .addresses = {"10.2.0.2/24"}},
	};
	const struct text_route routes[] = {{"default", .gateway = "10.1.0.1"}};
	cleanup_close int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), inside = -1;
	struct err err = {0};

	(void)state;
	set_ok(two, 1, routes, 1);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	inside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	run("ip link set lo up");
	assert_int_equal(setns(outside, CLONE_NEWNET), 0);
	if (network_enter(&network, inside, &err) < 0)
		fail_msg("it failed: %s", err.msg);
	has_not("ip link", "eth0");
	set_ok(two, 2, routes, 1);
	has_not("ip link", "eth1");
	assert_int_equal(setns(inside, CLONE_NEWNET), 0);
	has("ip addr show eth0", "10.1.0.2/24");
	has("ip addr show eth0", "fd01::2/64");
	has("ip addr show eth1", "10.2.0.2/24");
	has("ip route", "default via 10.1.0.1 dev eth0");
	/* another's cannot have it; when the first is gone it is back */
	assert_int_equal(setns(outside, CLONE_NEWNET), 0);
	assert_int_equal(network_enter(&network, inside, &err), -EBUSY);
	if (network_leave(&network, &err) < 0)
		fail_msg("it failed: %s", err.msg);
	has("ip addr show eth0", "10.1.0.2/24");
	has("ip addr show eth1", "10.2.0.2/24");
	has("ip route", "default via 10.1.0.1 dev eth0");
	assert_int_equal(network_leave(&network, &err), 0);
}

static void refused(const struct text_interface *interfaces, size_t n,
		    const struct text_route *routes, size_t nroutes, const char *words)
{
	struct err err = {0};

	assert_int_equal(set(interfaces, n, routes, nroutes, &err), -EINVAL);
	if (!strstr(err.msg, words))
		fail_msg("'%s' does not say '%s'", err.msg, words);
}

static void test_checks(void **state)
{
	static const char *const names[] = {"", ".", "..", "a/b", "a b", "sixteen-long-xxx", "a:1"};
	struct text_interface it[2] = {{.slot = 1, .name = "eth0"}, {.slot = 1, .name = "eth1"}};
	struct text_route route = {"default", .gateway = "10.1.0.1", .via = 1};
	struct text_interface many[MACHINE_NET_INTERFACES_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		it[0].name = names[i];
		refused(it, 1, NULL, 0, "no valid name");
	}
	it[0].name = "eth0";
	refused(it, 2, NULL, 0, "are the same");
	it[0].slot = MACHINE_LATE_SLOTS + 1;
	refused(it, 1, NULL, 0, "there is no slot");
	it[0].slot = 1;
	it[0].addresses[0] = "10.0.0.1/33";
	refused(it, 1, NULL, 0, "address 0 is none");
	it[0].addresses[0] = NULL;
	refused(it, 1, &route, 1, "route 0 is none");
	route.via = 0;
	route.to = "default6";
	refused(it, 1, &route, 1, "route 0 is none");
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = it[0];
	refused(many, ARRAY_SIZE(many), NULL, 0, "more than 9 interfaces");
	has_not("ip link", "eth");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_announced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loopback, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_enter, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_checks, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
