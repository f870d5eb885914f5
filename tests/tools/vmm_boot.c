/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot a guest through vmm_start(), without a monitor: for work on the machine itself, and for its tests.
 *
 *   vmm_boot [-k VMLINUX] [-i INITRAMFS] [-m MIB] [-c VCPUS] [-x MAX_VCPUS] [-a "KERNEL WORDS"] [-e DIR]... [-q] [-d] [-t SECS]
 *            [-s MESSAGE]
 *
 * -q: no console; -d: debug log on standard error; -e: export a directory (a detached clone), the first is number 0;
 * -s: stop the guest when the console shows MESSAGE, by closing the control socket. Standard output gets the guest's console,
 * standard error one line per message of the vmm with milliseconds since the start. Exit status: enum vmm_end, 100 when the
 * vmm says nothing before the time limit, 99 on errors, 98 when the vmm's own exit status was not 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvm/vmm.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define EXPORTS_MAX 300

struct boot {
	struct vmm_config config;
	struct vmm_export exports[EXPORTS_MAX];
	struct vmm vmm;
	int console; /* read end */
	uint64_t start_ms, limit_ms;
	const char *stop_at;
	char seen[65536]; /* the console's last bytes, for stop_at */
	size_t seen_len;
	bool stopped;
};

static void fail(const char *what, const char *why) __attribute__((noreturn));
static void fail(const char *what, const char *why)
{
	fprintf(stderr, "vmm_boot: %s: %s\n", what, why);
	exit(99);
}

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		fail(path, strerror(errno));
	return fd;
}

static void add_export(struct boot *b, const char *path)
{
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path,
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (fd < 0 || b->config.nexports == EXPORTS_MAX)
		fail(path, "cannot be cloned");
	b->exports[b->config.nexports] = (struct vmm_export){
		.id = b->config.nexports, .fd = fd, .flags = VMM_EXPORT_COHERENT};
	b->config.nexports++;
}

static void parse(struct boot *b, int argc, char **argv)
{
	struct vmm_config *c = &b->config;
	bool quiet = false;
	int pipe_fds[2], o;

	c->memory_bytes = 256ull << 20;
	c->nvcpus = 1;
	c->initramfs_fd = c->console_fd = c->log_fd = -1;
	c->kernel_fd = -1;
	c->name = "vmm_boot";
	c->exports = b->exports;
	b->limit_ms = 60000;
	while ((o = getopt(argc, argv, "k:i:m:c:x:a:e:qdt:s:")) != -1) {
		switch (o) {
		case 'k':
			c->kernel_fd = must_open(optarg, O_RDONLY);
			break;
		case 'i':
			c->initramfs_fd = must_open(optarg, O_RDONLY);
			break;
		case 'm':
			c->memory_bytes = strtoull(optarg, NULL, 0) << 20;
			break;
		case 'c':
			c->nvcpus = (uint32_t)atoi(optarg);
			break;
		case 'x':
			c->max_vcpus = (uint32_t)atoi(optarg);
			break;
		case 'a':
			c->cmdline_extra = optarg;
			break;
		case 'e':
			add_export(b, optarg);
			break;
		case 'q':
			quiet = true;
			break;
		case 'd':
			c->log_fd = STDERR_FILENO;
			c->log_level = LOG_DEBUG;
			break;
		case 't':
			b->limit_ms = strtoull(optarg, NULL, 0) * 1000;
			break;
		case 's':
			b->stop_at = optarg;
			break;
		default:
			exit(99);
		}
	}
	if (c->max_vcpus == 0)
		c->max_vcpus = c->nvcpus;
	if (c->kernel_fd < 0)
		c->kernel_fd = must_open("build/kernel/vmlinux", O_RDONLY);
	c->exe_fd = must_open("/proc/self/exe", O_PATH);
	c->kvm_fd = must_open("/dev/kvm", O_RDWR);
	if (c->log_fd < 0 && getenv("VMM_BOOT_LOG"))
		c->log_fd = STDERR_FILENO;
	b->console = -1;
	if (quiet)
		return;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0 || io_set_nonblock(pipe_fds[1], true) < 0)
		fail("pipe", strerror(errno));
	(void)fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20);
	b->console = pipe_fds[0];
	c->console_fd = pipe_fds[1];
}

static void on_console(struct boot *b)
{
	ssize_t n = read(b->console, b->seen + b->seen_len, sizeof(b->seen) - 1 - b->seen_len);

	if (n <= 0) {
		close_fd(&b->console);
		return;
	}
	(void)!write(STDOUT_FILENO, b->seen + b->seen_len, (size_t)n);
	b->seen_len += (size_t)n;
	b->seen[b->seen_len] = '\0';
	if (b->stop_at && !b->stopped && strstr(b->seen, b->stop_at)) {
		fprintf(stderr, "vmm_boot: %5llu ms: closing the control socket\n",
			(unsigned long long)(io_now_ms() - b->start_ms));
		close_fd(&b->vmm.control_fd);
		b->stopped = true;
	}
	if (b->seen_len > sizeof(b->seen) / 2) {
		memmove(b->seen, b->seen + b->seen_len - 256, 256);
		b->seen_len = 256;
	}
}

/* Returns an exit status, or -1 to go on */
static int on_message(struct boot *b)
{
	static const char *const names[] = {"STARTED", "READY",	    "ACCEPT",
					    "ENDED",   "NET_ADDED", "NET_REMOVED"};
	struct vmm_msg msg;
	int fd = -1, r;

	r = vmm_recv(&b->vmm, &msg, &fd);
	if (r == -EAGAIN)
		return -1;
	if (r <= 0) {
		fprintf(stderr, "vmm_boot: the vmm closed its socket: %d\n", r);
		return 99;
	}
	close_fd(&fd);
	fprintf(stderr, "vmm_boot: %5llu ms: %s %s %s\n",
		(unsigned long long)(io_now_ms() - b->start_ms), names[msg.type - VMM_MSG_STARTED],
		msg.type == VMM_MSG_ENDED ? vmm_end_name(msg.value) : "", msg.text);
	return msg.type == VMM_MSG_ENDED ? (int)msg.value : -1;
}

static int reap(struct boot *b, int status)
{
	siginfo_t info = {0};

	while (b->console >= 0)
		on_console(b);
	if (waitid(P_PIDFD, (id_t)b->vmm.pidfd, &info, WEXITED | WNOWAIT) < 0)
		fail("waitid", strerror(errno));
	fprintf(stderr, "vmm_boot: %5llu ms: exit status %d\n",
		(unsigned long long)(io_now_ms() - b->start_ms), info.si_status);
	vmm_release(&b->vmm);
	if (status == VMM_END_FAILED)
		return status;
	return info.si_code == CLD_EXITED && info.si_status == 0 ? status : 98;
}

static int serve(struct boot *b)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = b->vmm.control_fd, .events = POLLIN},
				       {.fd = b->console, .events = POLLIN},
				       {.fd = b->vmm.pidfd, .events = POLLIN}};
		uint64_t now = io_now_ms();
		int status;

		if (now - b->start_ms >= b->limit_ms) {
			vmm_release(&b->vmm);
			fprintf(stderr, "vmm_boot: no end after %llu ms\n",
				(unsigned long long)b->limit_ms);
			return 100;
		}
		(void)poll(fds, 3, 1000);
		if (fds[1].revents)
			on_console(b);
		if (fds[0].fd >= 0 && fds[0].revents && b->vmm.control_fd >= 0) {
			status = on_message(b);
			if (status >= 0)
				return reap(b, status);
		} else if (fds[2].revents) {
			return reap(b, b->stopped ? VMM_END_STOPPED : 99);
		}
	}
}

int main(int argc, char **argv)
{
	static struct boot b;
	struct err err = {0};

	if (argc > 0 && strcmp(argv[0], VMM_PROGRAM_NAME) == 0)
		return vmm_main(argc, argv);
	parse(&b, argc, argv);
	b.start_ms = io_now_ms();
	if (vmm_start(&b.config, &b.vmm, &err) < 0)
		fail("vmm_start", err.msg);
	fprintf(stderr, "vmm_boot: %5llu ms: vmm_start returned\n",
		(unsigned long long)(io_now_ms() - b.start_ms));
	close_fd(&b.config.console_fd);
	return serve(&b);
}
