/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver's sockets in the guest, with socket pairs in place of connections to the monitor, and without BPF. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "guest/resolver.h"
#include "lib/cleanup.h"

#define TOKEN 0x1234567890abcdefull
#define HOSTS_MAX 256

static struct passages passages;
static struct resolver resolver;
static int hosts[HOSTS_MAX], nhosts;
static bool host_fails;

static int connect_host(void)
{
	int fds[2];

	if (host_fails)
		return -ECONNREFUSED;
	assert_true(nhosts < HOSTS_MAX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	hosts[nhosts++] = fds[1];
	return fds[0];
}

static void turn(void)
{
	while (loop_step(passages.loop, 20) > 0)
		;
}

static int set_up(void **state)
{
	(void)state;
	nhosts = 0;
	host_fails = false;
	passages = (struct passages){
		.loop = loop_new(NULL), .connect_host = connect_host, .token = TOKEN};
	resolver_init(&resolver, &passages, -1);
	return resolver_set(&resolver, true, -1, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(resolver_set(&resolver, false, -1, NULL), 0);
	loop_timer_release(&resolver.timer);
	for (int i = 0; i < nhosts; i++)
		close_fd(&hosts[i]);
	turn();
	assert_null(passages.all);
	loop_free(passages.loop);
	return 0;
}

static int client(int type)
{
	const struct sockaddr_in addr = {.sin_family = AF_INET,
					 .sin_addr.s_addr = htonl(MACHINE_RESOLVER_ADDRESS),
					 .sin_port = htons(resolver.port)};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void take_hello(int fd, uint32_t kind)
{
	struct machine_relay_hello hello;

	assert_int_equal(recv(fd, &hello, sizeof(hello), 0), sizeof(hello));
	assert_int_equal(hello.magic, MACHINE_RELAY_MAGIC);
	assert_int_equal(hello.kind, kind);
	assert_true(hello.token == TOKEN);
	assert_int_equal(hello.socket | hello.reserved | hello.uid | hello.gid, 0);
}

static void test_queries(void **state)
{
	cleanup_close int fd = client(SOCK_DGRAM);
	uint8_t data[64];

	(void)state;
	assert_int_equal(send(fd, "one", 3, 0), 3);
	assert_int_equal(send(fd, "second", 6, 0), 6);
	turn();
	assert_int_equal(nhosts, 1);
	take_hello(hosts[0], MACHINE_RELAY_DNS_UDP);
	assert_int_equal(recv(hosts[0], data, sizeof(data), 0), 13);
	assert_memory_equal(data, "\0\3one\0\6second", 13);
	assert_int_equal(send(hosts[0], "\0\2an\0", 5, 0), 5);
	turn();
	assert_int_equal(recv(fd, data, sizeof(data), MSG_DONTWAIT), 2);
	assert_int_equal(resolver.nflows, 1);
	assert_int_equal(send(hosts[0], "\2bn", 3, 0), 3);
	turn();
	assert_int_equal(recv(fd, data, sizeof(data), MSG_DONTWAIT), 2);
	assert_memory_equal(data, "bn", 2);
	/* each has its answer */
	assert_int_equal(resolver.nflows, 0);
	assert_int_equal(recv(hosts[0], data, sizeof(data), 0), 0);
}

static void test_flows_are_bounded(void **state)
{
	int fds[RESOLVER_FLOWS_MAX + 10];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client(SOCK_DGRAM);
		assert_int_equal(send(fds[i], "query", 5, 0), 5);
		turn();
		assert_true(resolver.nflows <= RESOLVER_FLOWS_MAX);
	}
	/* the newest is served, the oldest made room */
	take_hello(hosts[nhosts - 1], MACHINE_RELAY_DNS_UDP);
	assert_int_equal(send(hosts[nhosts - 1], "\0\2ok", 4, 0), 4);
	turn();
	assert_int_equal(recv(fds[ARRAY_SIZE(fds) - 1], (char[8]){0}, 8, MSG_DONTWAIT), 2);
	assert_int_equal(resolver.nflows, RESOLVER_FLOWS_MAX - 1);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void test_connections(void **state)
{
	cleanup_close int fd = client(SOCK_STREAM);
	char data[16];

	(void)state;
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	turn();
	assert_int_equal(nhosts, 1);
	take_hello(hosts[0], MACHINE_RELAY_DNS_TCP);
	assert_int_equal(recv(hosts[0], data, sizeof(data), 0), 5);
	assert_int_equal(send(hosts[0], "answer", 6, 0), 6);
	turn();
	assert_int_equal(recv(fd, data, sizeof(data), MSG_DONTWAIT), 6);
	close_fd(&hosts[0]);
	turn();
	assert_int_equal(recv(fd, data, sizeof(data), MSG_DONTWAIT), 0);
}

static void test_no_host(void **state)
{
	cleanup_close int udp = client(SOCK_DGRAM), tcp = client(SOCK_STREAM);
	char data[16];

	(void)state;
	host_fails = true;
	assert_int_equal(send(udp, "one", 3, 0), 3);
	turn();
	assert_int_equal(resolver.nflows, 0);
	assert_int_equal(recv(tcp, data, sizeof(data), 0), 0);
	host_fails = false;
	assert_int_equal(send(udp, "two", 3, 0), 3);
	turn();
	assert_int_equal(resolver.nflows, 1);
}

/* A name server of the container's can have port 53, all addresses of it */
static void test_port_is_free(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(resolver.port)};
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	assert_int_not_equal(resolver.port, MACHINE_RESOLVER_PORT);
	addr.sin_port = htons((uint16_t)(resolver.port == 65535 ? 1024 : resolver.port + 1));
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_queries, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flows_are_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_connections, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_port_is_free, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
