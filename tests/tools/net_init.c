/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's /init for tests of the network device; the host's side is net_boot.c.
 *
 * For each round: waits until slot round % NET_SLOTS can be bound, gives its interface 10.9.0.2/24, pings 10.9.0.1, sends and
 * receives a stream over TCP there, measures small requests, unbinds the slot and says so on the console. Kernel words:
 * net_rounds=N net_bytes=N net_requests=N; net_device=eth0: that interface is there from boot; used once. Ends the
 * guest by the agent's port.
 */
#include <arpa/inet.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

/* The agent's own way to a slot */
#include "guest/slots.c" /* NOLINT(bugprone-suspicious-include) */
#include "lib/err.c"	 /* NOLINT(bugprone-suspicious-include) */
#include "tests/tools/net_peer.h"

static void end(unsigned int code) __attribute__((noreturn));
static void end(unsigned int code)
{
	(void)fflush(stdout);
	if (iopl(3) == 0)
		outl((unsigned int)MACHINE_AGENT_POWER_OFF << 16 | code, MACHINE_PORT_AGENT);
	for (;;)
		(void)pause();
}

static void fail(const char *what, const char *why) __attribute__((noreturn));
static void fail(const char *what, const char *why)
{
	printf("net: FAILED: %s: %s\n", what, why);
	end(1);
}

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static unsigned long word(const char *cmdline, const char *name, unsigned long fallback)
{
	const char *p = strstr(cmdline, name);

	return p ? strtoul(p + strlen(name), NULL, 10) : fallback;
}

static void set_address(int sock, struct ifreq *ifr, unsigned long request, const char *address)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};

	(void)inet_pton(AF_INET, address, &sin.sin_addr);
	memcpy(&ifr->ifr_addr, &sin, sizeof(sin));
	if (ioctl(sock, request, ifr) < 0)
		fail("address", strerror(errno));
}

static void configure(const char *name)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};
	const uint8_t *mac = (const uint8_t *)ifr.ifr_hwaddr.sa_data;

	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	if (ioctl(sock, SIOCGIFHWADDR, &ifr) < 0)
		fail("SIOCGIFHWADDR", strerror(errno));
	printf("net: %s %02x:%02x:%02x:%02x:%02x:%02x", name, mac[0], mac[1], mac[2], mac[3],
	       mac[4], mac[5]);
	if (ioctl(sock, SIOCGIFMTU, &ifr) < 0)
		fail("SIOCGIFMTU", strerror(errno));
	printf(" mtu %d\n", ifr.ifr_mtu);
	set_address(sock, &ifr, SIOCSIFADDR, NET_GUEST);
	set_address(sock, &ifr, SIOCSIFNETMASK, "255.255.255.0");
	ifr.ifr_flags = IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
		fail("SIOCSIFFLAGS", strerror(errno));
	(void)close(sock);
}

static void ping(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct icmphdr echo = {.type = ICMP_ECHO, .un.echo.sequence = htons(7)};
	struct timeval second = {.tv_sec = 1};
	int sock = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	uint8_t packet[256];

	echo.checksum = (uint16_t) ~(htons(ICMP_ECHO << 8) + htons(7));
	(void)inet_pton(AF_INET, NET_HOST, &to.sin_addr);
	(void)setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	for (int tries = 0; tries < 60; tries++) {
		(void)sendto(sock, &echo, sizeof(echo), 0, (struct sockaddr *)&to, sizeof(to));
		while (recv(sock, packet, sizeof(packet), 0) > 20)
			if (packet[20] == ICMP_ECHOREPLY && packet[27] == 7) {
				printf("net: ping answered\n");
				(void)close(sock);
				return;
			}
	}
	fail("ping", "no answer");
}

static int dial(char what, uint64_t count)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(NET_PORT)};
	struct net_order order = {.what = what, .count = count};
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	(void)inet_pton(AF_INET, NET_HOST, &to.sin_addr);
	if (connect(sock, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail("connect", strerror(errno));
	(void)setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (write(sock, &order, sizeof(order)) != sizeof(order))
		fail("order", strerror(errno));
	return sock;
}

static void streams(uint64_t bytes)
{
	uint64_t start = now_us(), took;
	int sock = dial('U', bytes);
	char answer;

	if (!net_give(sock, bytes) || read(sock, &answer, 1) != 1 || answer != 'k')
		fail("upload", "not what was sent");
	took = now_us() - start;
	printf("net: up %llu KiB/s\n", (unsigned long long)(bytes * 1000000 / 1024 / took));
	(void)close(sock);
	start = now_us();
	sock = dial('D', bytes);
	if (!net_take(sock, bytes))
		fail("download", "not what was sent");
	took = now_us() - start;
	printf("net: down %llu KiB/s\n", (unsigned long long)(bytes * 1000000 / 1024 / took));
	(void)close(sock);
}

static void requests(uint64_t n)
{
	int sock = dial('E', n);
	uint64_t start = now_us();
	char byte = 'x';

	for (uint64_t i = 0; i < n; i++)
		if (write(sock, &byte, 1) != 1 || read(sock, &byte, 1) != 1)
			fail("request", strerror(errno));
	printf("net: request %llu us\n", (unsigned long long)((now_us() - start) / (n ? n : 1)));
	(void)close(sock);
}

static void use(const char *name, uint64_t bytes, uint64_t nrequests)
{
	configure(name);
	ping();
	streams(bytes);
	requests(nrequests);
}

static void round_of(unsigned int round, uint64_t bytes, uint64_t nrequests)
{
	unsigned int slot = round % NET_SLOTS;
	char name[IFNAMSIZ] = "";
	struct err err = {0};

	while (slot_bind(slot, &err) < 0) {
		if (err.code != ENODEV)
			fail("bind", err.msg);
		(void)usleep(50000);
	}
	if (slot_bind(slot, &err) < 0 || slot_netdev(slot, name, &err) < 0)
		fail("interface", err.msg);
	use(name, bytes, nrequests);
	if (slot_unbind(slot, &err) < 0 || slot_unbind(slot, &err) < 0)
		fail("unbind", err.msg);
	if (slot_netdev(slot, name, &err) != -ENODEV)
		fail("unbind", "the interface is still there");
	printf("net: unbound %u\n", slot);
	(void)fflush(stdout);
}

int main(void)
{
	char cmdline[4096] = "";
	unsigned int rounds;
	uint64_t bytes, nrequests;
	int fd;

	(void)mkdir("/proc", 0755);
	(void)mkdir("/sys", 0755);
	(void)mount("proc", "/proc", "proc", 0, NULL);
	(void)mount("sysfs", "/sys", "sysfs", 0, NULL);
	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, cmdline, sizeof(cmdline) - 1) < 0)
		fail("/proc/cmdline", strerror(errno));
	rounds = (unsigned int)word(cmdline, "net_rounds=", 1);
	bytes = word(cmdline, "net_bytes=", 1 << 20);
	nrequests = word(cmdline, "net_requests=", 20);
	if (strstr(cmdline, "net_device=eth0"))
		use("eth0", bytes, nrequests);
	else
		for (unsigned int i = 0; i < rounds; i++)
			round_of(i, bytes, nrequests);
	printf("net: done\n");
	end(0);
}
