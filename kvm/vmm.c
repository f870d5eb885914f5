/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor's side: start a vmm, talk to it, end it.
 *
 *   monitor                                         new process (pid 1 of its namespaces)
 *     socketpair
 *     clone3(NEWUSER|NEWNS|NEWPID|NEWNET|…) ──────▶ arrange descriptors 0 to 4
 *     write uid_map, gid_map                        wait for the configuration (peek)
 *     send configuration + descriptors ───────────▶ execveat(exe_fd): vmm_main() in vmm_main.c
 *
 * The configuration's arrival tells the child that its ids are mapped, so no second channel is needed: executing before would
 * cost it its capabilities. The child calls only async-signal-safe functions; the monitor is single-threaded. What it cannot do it
 * reports like any end of a guest, by ENDED on the control socket.
 *
 * Nothing is opened by path but /proc/self and /proc/PID of the caller's own pid namespace, to write the maps. Which ids are
 * mapped: for root all that the caller has, one to one, so that files keep their owners; for others only themselves, as root.
 * A process's descriptors 0 to 2 are an eventfd that swallows little and gives nothing: the caller's may be an engine's
 * pipes, and its /dev a container's. In sanitizer builds the log is standard error too, or nobody would see a report.
 *
 * The vmm is the guest's trust domain: what it sends is checked (vmm_wire.c), and its text is printable when it comes out of here.
 */
#include "kvm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvm/vmm_wire.h"
#include "lib/cleanup.h"

#define VMM_NAMESPACES                                                                             \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | \
	 CLONE_NEWCGROUP)
#define VMM_ID_MAP_MAX 4096		 /* bytes of an id map: the kernel takes at most a page */
#define VMM_EXEC_FD (VMM_CONTROL_FD + 1) /* the program, until the child has executed it */
#define VMM_EXEC_FIRST_FREE_FD 16	 /* the child moves what it needs above this first */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VMM_KEEPS_SANITIZER 1
static const char *const kept_environment[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
					       "TSAN_OPTIONS"};
#else
#define VMM_KEEPS_SANITIZER 0
static const char *const kept_environment[] = {NULL};
#endif

/* ---- the child, between clone and exec ---------------------------------------------------------------------------- */

struct child {
	int exe_fd, control_fd, log_fd; /* -1: none */
	char *argv[3], *envp[ARRAY_SIZE(kept_environment) + 1];
};

static void child_fail(const char *what, int code) __attribute__((noreturn));
static void child_fail(const char *what, int code)
{
	struct vmm_msg msg = {.type = VMM_MSG_ENDED, .value = VMM_END_FAILED};

	/* snprintf() of strings and numbers allocates nothing */
	snprintf(msg.text, sizeof(msg.text), "cannot start the vmm: %s: %s", what,
		 err_reason(code));
	(void)!write(VMM_CONTROL_FD, &msg, sizeof(msg));
	_exit(1);
}

/* Move *@fd to @target, which must be free to overwrite; the copy survives exec only if @inherit */
static int child_place(int *fd, int target, bool inherit)
{
	int placed = dup3(*fd, target, inherit ? 0 : O_CLOEXEC);

	if (placed < 0)
		return -errno;
	*fd = placed;
	return 0;
}

/* Everything needed goes above VMM_EXEC_FIRST_FREE_FD first, so that filling 0 to VMM_EXEC_FD overwrites nothing */
static int child_lift(int *fd)
{
	int lifted;

	if (*fd < 0)
		return 0;
	lifted = fcntl(*fd, F_DUPFD_CLOEXEC, VMM_EXEC_FIRST_FREE_FD);
	if (lifted < 0)
		return -errno;
	*fd = lifted;
	return 0;
}

static void child_arrange_fds(struct child *c)
{
	int null_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int r = null_fd < 0 ? -errno : 0;

	if (child_lift(&c->control_fd) < 0)
		_exit(1);
	if (r == 0)
		r = child_lift(&null_fd);
	if (r == 0)
		r = child_lift(&c->exe_fd);
	if (r == 0)
		r = child_lift(&c->log_fd);
	/* Before a failure can be reported, but after all that may lie in its place has left */
	if (child_place(&c->control_fd, VMM_CONTROL_FD, true) < 0)
		_exit(1);
	if (r < 0)
		child_fail("descriptors", -r);
	for (int fd = 0; fd <= 2; fd++)
		if (dup3(VMM_KEEPS_SANITIZER && fd == 2 && c->log_fd >= 0 ? c->log_fd : null_fd, fd,
			 0) < 0)
			child_fail("descriptors", errno);
	r = child_place(&c->exe_fd, VMM_EXEC_FD, false);
	if (r < 0)
		child_fail("descriptors", -r);
	io_close_all_from(VMM_EXEC_FD + 1, NULL, 0);
}

static void child_wait_for_config(void)
{
	ssize_t n;
	char byte;

	do {
		n = recv(VMM_CONTROL_FD, &byte, 1, MSG_PEEK);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		_exit(1);
}

static void child_main(struct child *c) __attribute__((noreturn));
static void child_main(struct child *c)
{
	sigset_t none;

	child_arrange_fds(c);
	child_wait_for_config();
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)syscall(SYS_execveat, c->exe_fd, "", c->argv, c->envp, AT_EMPTY_PATH);
	child_fail(errno == ENOENT ? "executing the program (is it linked dynamically, and the "
				     "root without its libraries?)"
				   : "executing the program",
		   errno);
}

/* ---- the parent --------------------------------------------------------------------------------------------------- */

static void fill_child(struct child *c, const struct vmm_config *config, int control_fd)
{
	size_t n = 0;

	*c = (struct child){
		.exe_fd = config->exe_fd, .control_fd = control_fd, .log_fd = config->log_fd};
	c->argv[0] = (char *)VMM_PROGRAM_NAME;
	c->argv[1] = (char *)config->name;
	for (size_t i = 0; i < ARRAY_SIZE(kept_environment); i++) {
		char *value = kept_environment[i] ? getenv(kept_environment[i]) : NULL;

		/* getenv() points behind "NAME=" in the environment itself */
		if (value)
			c->envp[n++] = value - strlen(kept_environment[i]) - 1;
	}
}

static int clone_child(struct child *c, struct vmm *out, struct err *err)
{
	struct clone_args args = {.flags = VMM_NAMESPACES | CLONE_PIDFD, .exit_signal = SIGCHLD};
	int pidfd = -1;
	long pid;

	args.pidfd = (uintptr_t)&pidfd;
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		child_main(c);
	if (pid < 0 && (errno == ENOSPC || errno == EUSERS))
		return err_set(err, errno,
			       "cannot make namespaces for the guest: the limit of "
			       "user.max_user_namespaces or a "
			       "sibling is reached");
	if (pid < 0)
		return err_sys(err, errno, "cannot make namespaces for the guest");
	out->pid = (pid_t)pid;
	out->pidfd = pidfd;
	return 0;
}

/* An own /proc of our own pid namespace, or the numbers below mean other processes */
static int check_proc(struct err *err)
{
	char self[32] = "", expected[32];
	ssize_t n = readlink("/proc/self", self, sizeof(self) - 1);

	snprintf(expected, sizeof(expected), "%d", getpid());
	if (n < 0 || strcmp(self, expected) != 0)
		return err_set(err, ENOENT,
			       "cannot map the guest's user ids: /proc is not mounted, or is "
			       "another pid namespace's");
	return 0;
}

/* Lines "inside outside count" of our own map become "inside inside count": the child's ids are ours, all of them */
static int identity_map(const char *name, char *out, size_t size, struct err *err)
{
	unsigned int inside, outside, count;
	cleanup_free char *own = NULL;
	char path[32], *line, *save = NULL;
	size_t len = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	n = io_read_file(AT_FDCWD, path, VMM_ID_MAP_MAX, &own, err);
	if (n < 0)
		return (int)n;
	for (line = strtok_r(own, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%u %u %u", &inside, &outside, &count) != 3)
			return err_set(err, EINVAL, "cannot read %s", path);
		len += (size_t)snprintf(out + len, size - len, "%u %u %u\n", inside, inside, count);
		if (len >= size)
			return err_set(err, E2BIG, "%s is too long", path);
	}
	return 0;
}

static int write_proc(pid_t pid, const char *name, const char *text, struct err *err)
{
	cleanup_close int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", path);
	/* The kernel wants a map in one write */
	if (write(fd, text, strlen(text)) < 0)
		return err_sys(err, errno, "cannot write %s", path);
	return 0;
}

static int write_maps(pid_t pid, struct err *err)
{
	char uids[VMM_ID_MAP_MAX], gids[VMM_ID_MAP_MAX];
	int r;

	r = check_proc(err);
	if (r < 0)
		return r;
	if (geteuid() == 0) {
		r = identity_map("uid_map", uids, sizeof(uids), err);
		if (r < 0)
			return r;
		r = identity_map("gid_map", gids, sizeof(gids), err);
	} else {
		snprintf(uids, sizeof(uids), "0 %u 1\n", geteuid());
		snprintf(gids, sizeof(gids), "0 %u 1\n", getegid());
		r = write_proc(pid, "setgroups", "deny", err);
	}
	if (r < 0)
		return r;
	r = write_proc(pid, "uid_map", uids, err);
	if (r < 0)
		return r;
	return write_proc(pid, "gid_map", gids, err);
}

/* The configuration in one message; exports beyond what one carries follow by ADD_EXPORT */
static int send_config(const struct vmm_config *config, const struct vmm *vmm, struct err *err)
{
	cleanup_free struct vmm_wire_config *wire = calloc(1, sizeof(*wire));
	int fds[IO_PASS_FDS_MAX], r;
	size_t nfds = 0;

	if (!wire)
		return err_sys(err, ENOMEM, "the vmm's configuration");
	wire->type = VMM_MSG_CONFIG;
	wire->memory_bytes = config->memory_bytes;
	wire->nvcpus = config->nvcpus;
	wire->max_vcpus = config->max_vcpus;
	wire->log_level = config->log_level;
	wire->log_format = config->log_format;
	if (config->cmdline_extra)
		memcpy(wire->cmdline_extra, config->cmdline_extra, strlen(config->cmdline_extra));
	fds[nfds++] = config->kvm_fd;
	fds[nfds++] = config->kernel_fd;
	if (config->initramfs_fd >= 0)
		wire->flags |= VMM_WIRE_INITRAMFS, fds[nfds++] = config->initramfs_fd;
	if (config->console_fd >= 0)
		wire->flags |= VMM_WIRE_CONSOLE, fds[nfds++] = config->console_fd;
	if (config->log_fd >= 0)
		wire->flags |= VMM_WIRE_LOG, fds[nfds++] = config->log_fd;
	for (; wire->ndisks < config->ndisks; wire->ndisks++) {
		const struct vmm_disk *d = &config->disks[wire->ndisks];

		wire->disks[wire->ndisks].flags = d->flags;
		memcpy(wire->disks[wire->ndisks].id, d->id, MACHINE_DISK_ID_MAX);
		fds[nfds++] = d->fd;
	}
	for (; wire->nexports < config->nexports && wire->nexports < VMM_WIRE_EXPORTS_MAX;
	     wire->nexports++) {
		const struct vmm_export *e = &config->exports[wire->nexports];

		wire->exports[wire->nexports] = (struct vmm_wire_export){.id = e->id,
									 .flags = e->flags};
		fds[nfds++] = e->fd;
	}
	r = io_send_fds(vmm->control_fd, wire, sizeof(*wire), fds, nfds);
	for (unsigned int i = wire->nexports; r == 0 && i < config->nexports; i++) {
		const struct vmm_export *e = &config->exports[i];
		struct vmm_msg msg = {
			.type = VMM_MSG_ADD_EXPORT, .value = e->id, .flags = e->flags};

		r = vmm_send(vmm, &msg, e->fd);
	}
	return r < 0 ? err_sys(err, -r, "sending the vmm its configuration") : 0;
}

int vmm_start(const struct vmm_config *config, struct vmm *out, struct err *err)
{
	struct vmm vmm = {.pid = 0, .pidfd = -1, .control_fd = -1};
	cleanup_close int theirs = -1;
	struct child child;
	int pair[2], r;

	r = vmm_config_valid(config, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "socketpair");
	vmm.control_fd = pair[0];
	theirs = pair[1];
	fill_child(&child, config, theirs);
	r = clone_child(&child, &vmm, err);
	if (r == 0)
		r = write_maps(vmm.pid, err);
	if (r == 0)
		r = io_set_nonblock(vmm.control_fd, true);
	if (r == 0)
		r = send_config(config, &vmm, err);
	if (r < 0) {
		vmm_release(&vmm);
		return r;
	}
	*out = vmm;
	return 0;
}

void vmm_release(struct vmm *vmm)
{
	siginfo_t info;

	if (vmm->pidfd >= 0) {
		(void)syscall(SYS_pidfd_send_signal, vmm->pidfd, SIGKILL, NULL, 0);
		while (waitid(P_PIDFD, (id_t)vmm->pidfd, &info, WEXITED) < 0 && errno == EINTR)
			;
	}
	close_fd(&vmm->pidfd);
	close_fd(&vmm->control_fd);
	vmm->pid = 0;
}

int vmm_send(const struct vmm *vmm, const struct vmm_msg *msg, int fd)
{
	return io_send_fds(vmm->control_fd, msg, sizeof(*msg), &fd, fd >= 0 ? 1 : 0);
}

int vmm_add_net(const struct vmm *vmm, const struct vmm_net *net, struct err *err)
{
	struct vmm_msg msg = {.type = VMM_MSG_ADD_NET, .value = net->slot};
	int fds[VMM_MSG_FDS_MAX], r;
	size_t nfds = 0;

	r = vmm_net_valid(net, err);
	if (r < 0)
		return r;
	msg.flags = net->vhost ? VMM_NET_VHOST : 0;
	memcpy(msg.net.mac, net->mac, sizeof(msg.net.mac));
	msg.net.mtu = net->mtu;
	msg.net.npairs = net->npairs;
	for (unsigned int i = 0; i < net->npairs; i++)
		fds[nfds++] = net->tap_fds[i];
	for (unsigned int i = 0; net->vhost && i < net->npairs; i++)
		fds[nfds++] = net->vhost_fds[i];
	r = io_send_fds(vmm->control_fd, &msg, sizeof(msg), fds, nfds);
	return r < 0 ? err_sys(err, -r, "sending the vmm a network device") : 0;
}

int vmm_remove_net(const struct vmm *vmm, uint32_t slot, struct err *err)
{
	struct vmm_msg msg = {.type = VMM_MSG_REMOVE_NET, .value = slot};
	int r;

	if (slot >= VMM_NET_SLOTS)
		return err_set(err, EINVAL, "network slot %u is out of range", slot);
	r = vmm_send(vmm, &msg, -1);
	return r < 0 ? err_sys(err, -r, "asking the vmm to remove a network device") : 0;
}

int vmm_grow_memory(const struct vmm *vmm, uint64_t bytes, struct err *err)
{
	struct vmm_msg msg = {.type = VMM_MSG_GROW_MEMORY, .bytes = bytes};
	int r;

	if (!vmm_msg_valid(&msg, 0, false))
		return err_set(err, EINVAL, "%llu bytes of memory cannot be added",
			       (unsigned long long)bytes);
	r = vmm_send(vmm, &msg, -1);
	return r < 0 ? err_sys(err, -r, "asking the vmm for memory") : 0;
}

int vmm_recv(const struct vmm *vmm, struct vmm_msg *msg, int *fd)
{
	cleanup_close int received = -1;
	size_t nfds = 0;
	ssize_t n = 0;

	/* A peer that ended with our messages unread resets the connection first; what it sent comes after that error */
	for (int tries = 0; tries < 2; tries++) {
		n = io_recv_fds(vmm->control_fd, msg, sizeof(*msg), &received, 1, &nfds);
		if (n != -ECONNRESET)
			break;
	}
	if (n == -EMSGSIZE)
		return -EPROTO;
	if (n == -ECONNRESET || n == 0)
		return 0;
	if (n < 0)
		return (int)n;
	if (nfds == 0)
		received = -1;
	if (n != sizeof(*msg) || !vmm_msg_valid(msg, nfds, true))
		return -EPROTO;
	for (char *p = msg->text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	*fd = take_fd(&received);
	return 1;
}
