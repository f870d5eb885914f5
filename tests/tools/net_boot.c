/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot a guest with network devices and no monitor, in a network namespace of its own with a tap and a peer on it: for the device
 * and its benchmarks. The guest's side is net_init.c.
 *
 *   net_boot -i INITRAMFS [-k VMLINUX] [-p PAIRS] [-m MTU] [-v] [-r ROUNDS] [-b BYTES] [-q REQUESTS] [-d] [-t SECS] [-- COMMAND…]
 *
 * -v: vhost-net; -r: fill, use and empty that many slots, one after the other (of NET_SLOTS, so that they are used again);
 * COMMAND: another vmm instead of ours, in whose arguments TAP_FD and VHOST_FD stand for descriptors that it inherits (one pair, one
 * round, the device there from boot; BYTES and REQUESTS are for the kernel words that COMMAND passes itself);
 * -d: the vmm's debug log on standard error. Standard output gets the guest's console. Exit status 0 when the guest said "done".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/vmm.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "tests/tools/net_peer.h"

struct boot {
	struct vmm_config config;
	struct vmm_net net;
	struct vmm vmm;
	unsigned int rounds, round;
	int console;
	uint64_t deadline_ms;
	char seen[65536];
	size_t seen_len, said;
	bool done;
	char **command; /* another vmm; NULL */
};

static void fail(const char *what, const char *why) __attribute__((noreturn));
static void fail(const char *what, const char *why)
{
	fprintf(stderr, "net_boot: %s: %s\n", what, why);
	exit(99);
}

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		fail(path, strerror(errno));
	return fd;
}

/* ---- the host's end of the wire ---- */

static void serve_one(int sock)
{
	struct net_order order;
	char byte = 'k';
	int one = 1;

	(void)setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (read(sock, &order, sizeof(order)) != sizeof(order))
		return;
	if (order.what == 'U' && net_take(sock, order.count))
		(void)!write(sock, &byte, 1);
	else if (order.what == 'D')
		(void)net_give(sock, order.count);
	else if (order.what == 'E')
		while (read(sock, &byte, 1) == 1 && write(sock, &byte, 1) == 1)
			;
}

static void start_server(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(NET_PORT)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listener, 8) < 0)
		fail("listen", strerror(errno));
	if (fork() != 0) {
		(void)close(listener);
		return;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int sock = accept(listener, NULL, NULL);

		if (sock < 0)
			_exit(1);
		serve_one(sock);
		(void)close(sock);
	}
}

static void configure_tap(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	struct ifreq ifr = {.ifr_name = "tap0"};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)inet_pton(AF_INET, NET_HOST, &sin.sin_addr);
	memcpy(&ifr.ifr_addr, &sin, sizeof(sin));
	if (ioctl(sock, SIOCSIFADDR, &ifr) < 0)
		fail("SIOCSIFADDR", strerror(errno));
	ifr.ifr_flags = IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
		fail("SIOCSIFFLAGS", strerror(errno));
	(void)close(sock);
}

static void open_taps(struct boot *b)
{
	struct ifreq ifr = {.ifr_name = "tap0"};

	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
				(b->net.npairs > 1 ? IFF_MULTI_QUEUE : 0));
	for (unsigned int i = 0; i < b->net.npairs; i++) {
		b->net.tap_fds[i] = must_open("/dev/net/tun", O_RDWR | O_NONBLOCK);
		if (ioctl(b->net.tap_fds[i], TUNSETIFF, &ifr) < 0)
			fail("TUNSETIFF", strerror(errno));
		if (b->net.vhost)
			b->net.vhost_fds[i] = must_open("/dev/vhost-net", O_RDWR);
	}
	configure_tap();
}

/* ---- the guest ---- */

static void add_device(struct boot *b)
{
	struct err err = {0};

	b->net.slot = b->round % NET_SLOTS;
	open_taps(b);
	if (vmm_add_net(&b->vmm, &b->net, &err) < 0)
		fail("vmm_add_net", err.msg);
	for (unsigned int i = 0; i < b->net.npairs; i++) {
		close_fd(&b->net.tap_fds[i]);
		if (b->net.vhost)
			close_fd(&b->net.vhost_fds[i]);
	}
}

static void on_line(struct boot *b, const char *line)
{
	struct err err = {0};

	if (strstr(line, "net: done"))
		b->done = true;
	if (!b->command && strstr(line, "net: unbound") &&
	    vmm_remove_net(&b->vmm, b->net.slot, &err) < 0)
		fail("vmm_remove_net", err.msg);
}

static void on_console(struct boot *b)
{
	ssize_t n = read(b->console, b->seen + b->seen_len, sizeof(b->seen) - 1 - b->seen_len);
	char *end;

	if (n <= 0) {
		close_fd(&b->console);
		return;
	}
	(void)!write(STDOUT_FILENO, b->seen + b->seen_len, (size_t)n);
	b->seen_len += (size_t)n;
	b->seen[b->seen_len] = '\0';
	while ((end = strchr(b->seen, '\n')) != NULL) {
		*end = '\0';
		on_line(b, b->seen);
		b->seen_len -= (size_t)(end + 1 - b->seen);
		memmove(b->seen, end + 1, b->seen_len + 1);
	}
}

/* Return: false at the end */
static bool on_message(struct boot *b)
{
	struct vmm_msg msg;
	int fd = -1, r;

	r = vmm_recv(&b->vmm, &msg, &fd);
	if (r == -EAGAIN)
		return true;
	if (r <= 0)
		fail("the vmm closed its socket", strerror(-r));
	close_fd(&fd);
	switch (msg.type) {
	case VMM_MSG_STARTED:
		add_device(b);
		break;
	case VMM_MSG_NET_ADDED:
	case VMM_MSG_NET_REMOVED:
		if (msg.flags != 0)
			fail(msg.type == VMM_MSG_NET_ADDED ? "adding" : "removing", msg.text);
		/* With the device its tap goes, or there could not be a new one of that name */
		if (msg.type == VMM_MSG_NET_REMOVED && ++b->round < b->rounds)
			add_device(b);
		break;
	case VMM_MSG_ENDED:
		fprintf(stderr, "net_boot: %s: %s\n", vmm_end_name(msg.value), msg.text);
		return false;
	default:
		break;
	}
	return true;
}

static int serve(struct boot *b)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = b->vmm.control_fd, .events = POLLIN},
				       {.fd = b->console, .events = POLLIN}};

		if (io_now_ms() >= b->deadline_ms)
			fail("the guest", "no end before the time limit");
		(void)poll(fds, 2, 1000);
		if (fds[1].revents)
			on_console(b);
		if (fds[0].revents && !on_message(b))
			break;
	}
	while (b->console >= 0)
		on_console(b);
	vmm_release(&b->vmm);
	return b->done ? 0 : 1;
}

static void parse(struct boot *b, int argc, char **argv)
{
	static char extra[200];
	unsigned long bytes = 1 << 20, requests = 20;
	struct vmm_config *c = &b->config;
	int o;

	b->deadline_ms = io_now_ms() + 120000;
	c->log_fd = -1;
	while ((o = getopt(argc, argv, "i:k:p:m:vr:b:q:dt:")) != -1) {
		unsigned long n = optarg ? strtoul(optarg, NULL, 0) : 0;

		if (o == 'i')
			c->initramfs_fd = must_open(optarg, O_RDONLY);
		else if (o == 'k')
			c->kernel_fd = must_open(optarg, O_RDONLY);
		else if (o == 'p')
			b->net.npairs = (uint16_t)n;
		else if (o == 'm')
			b->net.mtu = (uint16_t)n;
		else if (o == 'v')
			b->net.vhost = true;
		else if (o == 'r')
			b->rounds = (unsigned int)n;
		else if (o == 'b')
			bytes = n;
		else if (o == 'q')
			requests = n;
		else if (o == 'd')
			c->log_fd = STDERR_FILENO, c->log_level = LOG_DEBUG;
		else if (o == 't')
			b->deadline_ms = io_now_ms() + n * 1000;
		else
			exit(99);
	}
	(void)snprintf(extra, sizeof(extra), "net_rounds=%u net_bytes=%lu net_requests=%lu",
		       b->rounds, bytes, requests);
	if (optind < argc)
		b->command = argv + optind;
	c->cmdline_extra = extra;
	c->nvcpus = c->max_vcpus = b->net.npairs;
}

/* ---- another vmm ---- */

/* Replace @name in the argument by @fd's number, and have it inherited */
static void name_fd(char **arg, const char *name, int fd)
{
	char *at = strstr(*arg, name), *text;

	if (!at)
		return;
	if (asprintf(&text, "%.*s%d%s", (int)(at - *arg), *arg, fd, at + strlen(name)) < 0 ||
	    fcntl(fd, F_SETFD, 0) < 0)
		fail(name, strerror(errno));
	*arg = text;
}

static pid_t start_command(struct boot *b)
{
	pid_t pid;

	open_taps(b);
	pid = fork();
	if (pid < 0)
		fail("fork", strerror(errno));
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (char **arg = b->command; *arg; arg++) {
		name_fd(arg, "TAP_FD", b->net.tap_fds[0]);
		if (b->net.vhost)
			name_fd(arg, "VHOST_FD", b->net.vhost_fds[0]);
	}
	(void)dup2(b->config.console_fd, STDOUT_FILENO);
	(void)execvp(b->command[0], b->command);
	fail(b->command[0], strerror(errno));
}

static int serve_command(struct boot *b)
{
	pid_t pid = start_command(b);

	close_fd(&b->config.console_fd);
	while (b->console >= 0 && !b->done) {
		struct pollfd console = {.fd = b->console, .events = POLLIN};

		if (io_now_ms() >= b->deadline_ms)
			fail("the guest", "no end before the time limit");
		if (poll(&console, 1, 1000) > 0)
			on_console(b);
	}
	(void)kill(pid, SIGKILL);
	return b->done ? 0 : 1;
}

static void open_console(struct boot *b)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0 || (!b->command && io_set_nonblock(fds[1], true) < 0))
		fail("pipe", strerror(errno));
	(void)fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
	b->console = fds[0];
	b->config.console_fd = fds[1];
}

int main(int argc, char **argv)
{
	static struct boot b = {.net = {.mac = {2, 0xca, 0x15, 0x50, 0, 9}, .npairs = 1},
				.rounds = 1};
	struct err err = {0};

	if (argc > 0 && strcmp(argv[0], VMM_PROGRAM_NAME) == 0)
		return vmm_main(argc, argv);
	b.config = (struct vmm_config){.memory_bytes = 256ull << 20, .name = "net_boot"};
	b.config.kernel_fd = b.config.initramfs_fd = -1;
	parse(&b, argc, argv);
	if (b.config.kernel_fd < 0)
		b.config.kernel_fd = must_open("build/kernel/vmlinux", O_RDONLY);
	b.config.exe_fd = must_open("/proc/self/exe", O_PATH);
	b.config.kvm_fd = must_open("/dev/kvm", O_RDWR);
	if (unshare(CLONE_NEWNET) < 0)
		fail("unshare", strerror(errno));
	start_server();
	open_console(&b);
	if (b.command)
		return serve_command(&b);
	if (vmm_start(&b.config, &b.vmm, &err) < 0)
		fail("vmm_start", err.msg);
	close_fd(&b.config.console_fd);
	return serve(&b);
}
