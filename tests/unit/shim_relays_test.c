/* SPDX-License-Identifier: Apache-2.0 */
/* What may come in at the relays' port, and where it goes; connecting to sockets by descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "shim/monitor.h"

static const struct machine_relay_hello good = {
	.magic = MACHINE_RELAY_MAGIC, .kind = MACHINE_RELAY_DNS_UDP, .token = 77};

static void test_hello(void **state)
{
	struct machine_relay_hello hello = good;

	(void)state;
	assert_true(relay_hello_is_valid(&hello, 77));
	assert_false(relay_hello_is_valid(&hello, 78));
	hello.token = 0;
	assert_false(relay_hello_is_valid(&hello, 0));
	hello = good;
	hello.magic++;
	assert_false(relay_hello_is_valid(&hello, 77));
	hello = good;
	hello.kind = 0;
	assert_false(relay_hello_is_valid(&hello, 77));
	hello.kind = MACHINE_RELAY_UNIX + 1;
	assert_false(relay_hello_is_valid(&hello, 77));
	hello = good;
	hello.uid = 1;
	assert_false(relay_hello_is_valid(&hello, 77));
	hello = (struct machine_relay_hello){
		.magic = MACHINE_RELAY_MAGIC, .kind = MACHINE_RELAY_UNIX, .token = 77};
	assert_false(relay_hello_is_valid(&hello, 77));
	hello.socket = 1;
	hello.uid = hello.gid = 1000;
	assert_true(relay_hello_is_valid(&hello, 77));
	hello.reserved = 1;
	assert_false(relay_hello_is_valid(&hello, 77));
}

static void test_resolver_line(void **state)
{
	(void)state;
	assert_true(net_names_resolver("  125: 0B00007F:8F1A 00000000:0000 07 00000000:00000000"));
	assert_false(net_names_resolver("  125: 0100007F:8F1A 0B00007F:0035 01 00000000:00000000"));
	assert_false(net_names_resolver("   sl  local_address rem_address   st tx_queue"));
	assert_false(net_names_resolver(""));
}

/* ---- connections ---- */

static struct shim s;
static struct oci_config config;
static const struct monitor_args monitor_args = {.config = &config};

static int set_up(void **state)
{
	(void)state;
	memset(&s, 0, sizeof(s));
	memset(&config, 0, sizeof(config));
	s.args = &monitor_args;
	s.loop = loop_new(NULL);
	assert_int_equal(relays_open(&s, NULL), 0);
	assert_int_equal(sockets_open(&s, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	relays_release(&s);
	sockets_release(&s);
	loop_free(s.loop);
	return 0;
}

static void turn(void)
{
	while (loop_step(s.loop, 20) > 0)
		;
}

static int accept_one(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	relays_accept(&s, fds[0]);
	return fds[1];
}

static void test_strangers(void **state)
{
	struct machine_relay_hello hello = good;
	cleanup_close int wrong = accept_one(), silent = accept_one(), none = accept_one();
	int more[RELAYS_MAX];

	(void)state;
	hello.token = s.relays.token + 1;
	assert_int_equal(write(wrong, &hello, sizeof(hello)), sizeof(hello));
	turn();
	assert_int_equal(recv(wrong, &hello, 1, 0), 0);
	/* no resolver: nothing to reach */
	hello = good;
	hello.token = s.relays.token;
	assert_int_equal(write(none, &hello, sizeof(hello)), sizeof(hello));
	turn();
	assert_int_equal(recv(none, &hello, 1, 0), 0);
	assert_int_equal(s.relays.n, 1);
	for (int i = 0; i < RELAYS_MAX; i++)
		more[i] = accept_one();
	assert_int_equal(s.relays.n, RELAYS_MAX);
	assert_int_equal(recv(more[RELAYS_MAX - 1], &hello, 1, 0), 0);
	for (int i = 0; i < RELAYS_MAX; i++)
		close(more[i]);
	turn();
	assert_int_equal(s.relays.n, 1);
	assert_int_equal(recv(silent, &hello, 1, 0), -1);
}

/* A socket at @path of @type, and its O_PATH descriptor */
static int serve(const char *path, int type, int *path_fd)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (type != SOCK_DGRAM)
		assert_int_equal(listen(fd, 4), 0);
	*path_fd = open(path, O_PATH | O_CLOEXEC);
	assert_true(*path_fd >= 0);
	return fd;
}

static void test_by_descriptor(void **state)
{
	char dir[] = "/tmp/caisson-relays-XXXXXX", path[64], before[256], after[256];
	int stream_path, datagram_path;
	cleanup_close int stream = -1, datagram = -1, fd = -1;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	stream = serve(path, SOCK_STREAM, &stream_path);
	assert_int_equal(unlink(path), 0); /* a name is not needed */
	datagram = serve(path, SOCK_DGRAM, &datagram_path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(socket_connect(s.sockets.proc_fd, stream_path, SOCK_DGRAM), -EPROTOTYPE);
	fd = socket_connect(s.sockets.proc_fd, stream_path, SOCK_STREAM);
	assert_true(fd >= 0);
	close_fd(&fd);
	fd = socket_connect(s.sockets.proc_fd, datagram_path, SOCK_DGRAM);
	assert_true(fd >= 0);
	close_fd(&datagram);
	assert_int_equal(socket_connect(s.sockets.proc_fd, datagram_path, SOCK_DGRAM),
			 -ECONNREFUSED);
	assert_non_null(getcwd(after, sizeof(after)));
	assert_string_equal(before, after);
	close(stream_path);
	close(datagram_path);
}

/* An entry as it is when the agent has bound to it */
static void test_unix(void **state)
{
	char dir[] = "/tmp/caisson-relays-XXXXXX", path[64], text[8];
	struct machine_relay_hello hello = {.magic = MACHINE_RELAY_MAGIC,
					    .kind = MACHINE_RELAY_UNIX,
					    .token = s.relays.token,
					    .socket = 5,
					    .uid = getuid() ? getuid() : 1234,
					    .gid = getgid() ? getgid() : 567};
	cleanup_close int server = -1, guest = accept_one(), other = accept_one(), c = -1;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int path_fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	server = serve(path, SOCK_STREAM, &path_fd);
	s.sockets.all[3] = (struct found_socket){
		.id = 5, .fd = path_fd, .relayed = true, .shim = &s};
	assert_int_equal(write(guest, &hello, sizeof(hello)), sizeof(hello));
	assert_int_equal(write(guest, "hello", 5), 5);
	turn();
	c = accept(server, NULL, NULL);
	assert_int_equal(read(c, text, sizeof(text)), 5);
	assert_int_equal(getsockopt(c, SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
	assert_int_equal(peer.uid, hello.uid);
	assert_int_equal(peer.gid, hello.gid);
	assert_int_equal(geteuid(), getuid());
	assert_int_equal(write(c, "bye", 3), 3);
	turn();
	assert_int_equal(read(guest, text, sizeof(text)), 3);
	/* one that nobody has found */
	hello.socket = 6;
	assert_int_equal(write(other, &hello, sizeof(hello)), sizeof(hello));
	turn();
	assert_int_equal(read(other, text, sizeof(text)), 0);
	unlink(path);
	rmdir(dir);
}

static void test_may_be(void **state)
{
	struct oci_idmap uids[] = {{0, 100000, 1000}, {1000, 5000, 1}}, gids[] = {{0, 200000, 10}};

	(void)state;
	memset(&config, 0, sizeof(config));
	assert_true(sockets_may_be(&config, 0, 0));
	assert_true(sockets_may_be(&config, 4294967294u, 7));
	config.linux_.namespaces[OCI_NS_USER].present = true;
	/* without a range nobody */
	assert_false(sockets_may_be(&config, 0, 0));
	config.linux_.uid_mappings = (struct oci_idmaps){uids, 2};
	config.linux_.gid_mappings = (struct oci_idmaps){gids, 1};
	assert_true(sockets_may_be(&config, 100000, 200000));
	assert_true(sockets_may_be(&config, 100999, 200009));
	assert_true(sockets_may_be(&config, 5000, 200009));
	assert_false(sockets_may_be(&config, 0, 200000));
	assert_false(sockets_may_be(&config, 100000, 0));
	assert_false(sockets_may_be(&config, 99999, 200000));
	assert_false(sockets_may_be(&config, 101000, 200000));
	assert_false(sockets_may_be(&config, 1000, 200000));
	assert_false(sockets_may_be(&config, UINT32_MAX, UINT32_MAX));
}

/* A guest that has been taken over says that it is root of the host */
static void test_claims(void **state)
{
	struct oci_idmap map = {0, getuid() ? getuid() : 100000, 1};
	struct oci_idmap group = {0, getgid() ? getgid() : 200000, 1};
	char dir[] = "/tmp/caisson-relays-XXXXXX", path[64];
	struct machine_relay_hello hello = {.magic = MACHINE_RELAY_MAGIC,
					    .kind = MACHINE_RELAY_UNIX,
					    .token = s.relays.token,
					    .socket = 5};
	cleanup_close int server = -1, liar = accept_one(), honest = accept_one(), c = -1;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int path_fd;

	(void)state;
	config.linux_.namespaces[OCI_NS_USER].present = true;
	config.linux_.uid_mappings = (struct oci_idmaps){&map, 1};
	config.linux_.gid_mappings = (struct oci_idmaps){&group, 1};
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	server = serve(path, SOCK_STREAM, &path_fd);
	assert_int_equal(fcntl(server, F_SETFL, O_NONBLOCK), 0);
	s.sockets.all[0] = (struct found_socket){
		.id = 5, .fd = path_fd, .relayed = true, .shim = &s};
	assert_int_equal(write(liar, &hello, sizeof(hello)), sizeof(hello));
	turn();
	assert_int_equal(recv(liar, path, 1, 0), 0);
	assert_int_equal(accept(server, NULL, NULL), -1);
	hello.uid = map.host_id;
	hello.gid = group.host_id;
	assert_int_equal(write(honest, &hello, sizeof(hello)), sizeof(hello));
	turn();
	c = accept(server, NULL, NULL);
	assert_int_equal(getsockopt(c, SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
	assert_int_equal(peer.uid, map.host_id);
	assert_int_equal(peer.gid, group.host_id);
	unlink(path);
	rmdir(dir);
}

/* Datagrams are of the container's root, whatever the guest says and whoever the monitor is */
static void test_sender(void **state)
{
	struct oci_idmap map = {0, getuid() ? getuid() : 100000, 1};
	struct oci_idmap group = {0, getgid() ? getgid() : 200000, 1};
	char dir[] = "/tmp/caisson-relays-XXXXXX", path[64], text[8];
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct machine_relay_hello hello = {.magic = MACHINE_RELAY_MAGIC,
					    .kind = MACHINE_RELAY_UNIX,
					    .token = s.relays.token,
					    .socket = 5};
	cleanup_close int server = -1, guest = accept_one();
	const int on = 1;
	struct ucred sender;
	int path_fd;

	(void)state;
	config.linux_.namespaces[OCI_NS_USER].present = true;
	config.linux_.uid_mappings = (struct oci_idmaps){&map, 1};
	config.linux_.gid_mappings = (struct oci_idmaps){&group, 1};
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	server = serve(path, SOCK_DGRAM, &path_fd);
	assert_int_equal(setsockopt(server, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	s.sockets.all[0] = (struct found_socket){
		.id = 5, .fd = path_fd, .relayed = true, .datagram = true, .shim = &s};
	assert_int_equal(write(guest, &hello, sizeof(hello)), sizeof(hello));
	assert_int_equal(write(guest, "\0\2hi", 4), 4);
	turn();
	assert_int_equal(recvmsg(server, &msg, MSG_DONTWAIT), 2);
	assert_non_null(CMSG_FIRSTHDR(&msg));
	assert_int_equal(CMSG_FIRSTHDR(&msg)->cmsg_type, SCM_CREDENTIALS);
	memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(sender));
	assert_int_equal(sender.uid, map.host_id);
	assert_int_equal(sender.gid, group.host_id);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_resolver_line),
		cmocka_unit_test_setup_teardown(test_strangers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_by_descriptor, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unix, set_up, tear_down),
		cmocka_unit_test(test_may_be),
		cmocka_unit_test_setup_teardown(test_claims, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sender, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
