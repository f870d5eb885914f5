/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vmm process.
 *
 * vmm.c has put it into namespaces of its own and executed it with descriptors 0 to 3. Its life:
 *
 *   receive the configuration   on VMM_CONTROL_FD, checked by vmm_wire.c
 *   close the jail              jail.c; from here on there are no paths and hardly a capability
 *   file server, devices        made from the descriptors received
 *   machine                     memory, kernel, vCPUs; then STARTED
 *   event loop                  control socket and the guest's end, nothing else: devices have their own threads
 *   end                         stop vCPUs, reset devices, ENDED, free everything, return
 *
 * Threads: this one (all signals blocked), one per vCPU, those of the devices. The control socket is non-blocking; the loop reads
 * it, READY and ACCEPT are sent by the threads they happen in (one message is one atomic send), and only ENDED waits for
 * room, since it must not get lost.
 *
 * The monitor is trusted; closing its end means "stop at once". The guest is not: it reaches this file through the agent's
 * port (a number) and through connections to host ports (accepted by the monitor, not here).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/fuse/server.h"
#include "kvm/jail.h"
#include "kvm/machine.h"
#include "kvm/vmm_wire.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/loop.h"

#define VMM_ENDED_TIMEOUT_MS 10000 /* how long ENDED waits for a monitor that does not read */
#define VMM_FDS_RESERVED \
	512u /* descriptors that are not the file server's nodes: exports, sockets, KVM */
#define VMM_NODES_MIN 64u

struct vmm_process {
	struct vmm_wire_config wire;
	int kvm_fd, kernel_fd, initramfs_fd, console_fd, log_fd; /* owned; -1: none */
	int proc_fd;						 /* owned, from the jail */
	int disks[MACHINE_DISKS_MAX];	   /* owned until their devices have them, then -1 */
	int exports[VMM_WIRE_EXPORTS_MAX]; /* owned until the file server has them, then -1 */
	struct fuse_server *files;
	struct machine *machine;
	struct virtio_dev *vsock; /* borrowed: the machine's slot owns it */
	struct loop *loop;
	struct loop_source control, ended;
	atomic_bool ready_sent;
};

/* ---- messages ----------------------------------------------------------------------------------------------------- */

static int send_msg(enum vmm_msg_type type, uint32_t value, const char *text, int fd)
{
	struct vmm_msg msg = {.type = type, .value = value};

	snprintf(msg.text, sizeof(msg.text), "%s", text);
	return io_send_fds(VMM_CONTROL_FD, &msg, sizeof(msg), &fd, fd >= 0 ? 1 : 0);
}

/* The monitor reads its answers: that there is no room for one is its failure, and without it nobody knows the slot's state */
static void send_answer(struct vmm_process *p, enum vmm_msg_type type, uint32_t slot, int r,
			const char *text)
{
	struct vmm_msg msg = {.type = type, .value = slot, .flags = (uint32_t)-r};

	snprintf(msg.text, sizeof(msg.text), "%s", r < 0 ? text : "");
	if (io_send_fds(VMM_CONTROL_FD, &msg, sizeof(msg), NULL, 0) < 0)
		machine_end(p->machine, VMM_END_FAILED,
			    "cannot tell the monitor about device slot %u", slot);
}

static void send_ended(enum vmm_end end, const char *text)
{
	struct pollfd pfd = {.fd = VMM_CONTROL_FD, .events = POLLOUT};
	uint64_t deadline = io_now_ms() + VMM_ENDED_TIMEOUT_MS;

	while (send_msg(VMM_MSG_ENDED, end, text, -1) == -EAGAIN && io_now_ms() < deadline)
		(void)poll(&pfd, 1, VMM_ENDED_TIMEOUT_MS);
}

/* A vCPU thread: the agent wrote to its port */
static void on_agent(void *arg, unsigned int code, unsigned int argument)
{
	static struct log_ratelimit limit;
	struct vmm_process *p = arg;

	if (code != MACHINE_AGENT_READY)
		log_guest_warn(&limit,
			       "The guest wrote unknown code %u, %u to the agent's port, ignoring",
			       code, argument);
	else if (!atomic_exchange(&p->ready_sent, true) && send_msg(VMM_MSG_READY, 0, "", -1) < 0)
		machine_end(p->machine, VMM_END_FAILED,
			    "cannot tell the monitor that the agent is ready");
}

/* The vsock device's thread: a connection to a host port; what the monitor has no room for is refused */
static int on_accept(void *arg, uint32_t port, int fd)
{
	cleanup_close int owned = fd;

	(void)arg;
	return send_msg(VMM_MSG_ACCEPT, port, "", owned);
}

/* A thread of the file server: a Unix socket that the guest has looked up */
static int on_socket(void *arg, uint32_t id, unsigned int export, int fd)
{
	struct vmm_msg msg = {.type = VMM_MSG_SOCKET, .value = id, .flags = export};

	(void)arg;
	return io_send_fds(VMM_CONTROL_FD, &msg, sizeof(msg), &fd, 1);
}

static uint32_t root_flags_of(uint32_t flags)
{
	return (flags & VMM_EXPORT_READ_ONLY ? FUSE_ROOT_READ_ONLY : 0) |
	       (flags & VMM_EXPORT_COHERENT ? FUSE_ROOT_COHERENT : 0) |
	       (flags & VMM_EXPORT_WATCH ? FUSE_ROOT_WATCH : 0);
}

static void add_export(struct vmm_process *p, uint32_t id, uint32_t flags, int *fd)
{
	struct err err = {0};

	if (fuse_server_add_root(p->files, id, *fd, root_flags_of(flags), &err) < 0) {
		machine_end(p->machine, VMM_END_FAILED, "cannot export directory %u: %s", id,
			    err.msg);
		return;
	}
	(void)take_fd(fd);
}

_Static_assert(VMM_NET_QUEUES_MAX == VIRTIO_NET_PAIRS_MAX, "messages and devices agree");

static void add_net(struct vmm_process *p, const struct vmm_msg *msg, int *fds)
{
	struct virtio_net_args args = {.mtu = msg->net.mtu, .npairs = msg->net.npairs};
	struct virtio_dev *dev;
	struct err err = {0};
	int r = -ENOMEM;

	memcpy(args.mac, msg->net.mac, sizeof(args.mac));
	args.tap_fds = fds;
	args.vhost_fds = msg->flags & VMM_NET_VHOST ? fds + msg->net.npairs : NULL;
	dev = virtio_net_new(&args, &err);
	if (dev)
		r = machine_plug(p->machine, msg->value, dev, &err);
	else if (err.code)
		r = -err.code;
	send_answer(p, VMM_MSG_NET_ADDED, msg->value, r, err.msg);
}

static void remove_net(struct vmm_process *p, uint32_t slot)
{
	struct err err = {0};
	int r = machine_unplug(p->machine, slot, &err);

	send_answer(p, VMM_MSG_NET_REMOVED, slot, r, err.msg);
}

static void grow_memory(struct vmm_process *p, uint64_t bytes)
{
	struct err err = {0};
	int r = machine_grow_memory(p->machine, bytes, &err);

	send_answer(p, VMM_MSG_MEMORY_GROWN, 0, r, err.msg);
}

/* Takes what it keeps of @fds, by setting them to -1 */
static void handle_msg(struct vmm_process *p, const struct vmm_msg *msg, int *fds)
{
	struct err err = {0};

	switch (msg->type) {
	case VMM_MSG_CONNECT:
		/* A refusal closes the stream, which is what the monitor sees of any failed connection */
		if (virtio_vsock_connect(p->vsock, msg->value, take_fd(&fds[0])) < 0)
			log_debug("Cannot connect to the guest's port %u", msg->value);
		break;
	case VMM_MSG_ADD_EXPORT:
		add_export(p, msg->value, msg->flags, &fds[0]);
		break;
	case VMM_MSG_REMOVE_EXPORT:
		if (fuse_server_remove_root(p->files, msg->value, &err) < 0)
			log_debug("Cannot remove export %u: %s", msg->value, err.msg);
		break;
	case VMM_MSG_ADD_NET:
		add_net(p, msg, fds);
		break;
	case VMM_MSG_REMOVE_NET:
		remove_net(p, msg->value);
		break;
	case VMM_MSG_GROW_MEMORY:
		grow_memory(p, msg->bytes);
		break;
	case VMM_MSG_SOCKET_DONE:
		fuse_server_socket_done(p->files, msg->value, msg->flags != 0);
		break;
	default: /* vmm_msg_valid() has let STOP through, and nothing else */
		machine_end(p->machine, VMM_END_STOPPED, "the guest was stopped");
		break;
	}
}

static void on_control(struct loop_source *source, uint32_t events)
{
	struct vmm_process *p = container_of(source, struct vmm_process, control);
	int fds[VMM_MSG_FDS_MAX];
	struct vmm_msg msg;
	size_t nfds = 0;
	ssize_t n;

	(void)events;
	n = io_recv_fds(VMM_CONTROL_FD, &msg, sizeof(msg), fds, VMM_MSG_FDS_MAX, &nfds);
	if (n == -EAGAIN)
		return;
	if (n == 0 || n == -ECONNRESET) {
		machine_end(p->machine, VMM_END_STOPPED, "the monitor is gone");
		loop_del(source);
	} else if (n != sizeof(msg) || !vmm_msg_valid(&msg, nfds, false)) {
		machine_end(p->machine, VMM_END_FAILED, "the monitor sent a malformed message");
		loop_del(source);
	} else {
		handle_msg(p, &msg, fds);
	}
	for (size_t i = 0; i < nfds; i++)
		close_fd(&fds[i]);
}

static void on_ended(struct loop_source *source, uint32_t events)
{
	struct vmm_process *p = container_of(source, struct vmm_process, ended);

	(void)events;
	loop_quit(p->loop, 0);
}

/* ---- setting up --------------------------------------------------------------------------------------------------- */

static void unpack_fds(struct vmm_process *p, const int *fds)
{
	size_t n = 0;

	p->kvm_fd = fds[n++];
	p->kernel_fd = fds[n++];
	if (p->wire.flags & VMM_WIRE_INITRAMFS)
		p->initramfs_fd = fds[n++];
	if (p->wire.flags & VMM_WIRE_CONSOLE)
		p->console_fd = fds[n++];
	if (p->wire.flags & VMM_WIRE_LOG)
		p->log_fd = fds[n++];
	for (uint32_t i = 0; i < p->wire.ndisks; i++)
		p->disks[i] = fds[n++];
	for (uint32_t i = 0; i < p->wire.nexports; i++)
		p->exports[i] = fds[n++];
}

static int receive_config(struct vmm_process *p, struct err *err)
{
	int fds[IO_PASS_FDS_MAX], r;
	size_t nfds = 0;
	ssize_t n;

	n = io_recv_fds(VMM_CONTROL_FD, &p->wire, sizeof(p->wire), fds, IO_PASS_FDS_MAX, &nfds);
	if (n < 0)
		return err_sys(err, (int)-n, "receiving the configuration");
	if (n != sizeof(p->wire))
		return err_set(err, EPROTO, "the configuration has %zd bytes", n);
	r = vmm_wire_valid(&p->wire, nfds, err);
	if (r < 0)
		return r;
	unpack_fds(p, fds);
	(void)log_open(NULL, p->wire.log_format, p->wire.log_level, NULL);
	log_set_fd(p->log_fd);
	return io_set_nonblock(VMM_CONTROL_FD, true);
}

static int make_files(struct vmm_process *p, struct err *err)
{
	struct rlimit limit = {0};
	unsigned int nodes = VMM_NODES_MIN;

	/* Half of the descriptors for known inodes, half for open files, so that an honest guest never meets EMFILE */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur > VMM_FDS_RESERVED + 2 * VMM_NODES_MIN)
		nodes = (unsigned int)((limit.rlim_cur < (1u << 20) ? limit.rlim_cur : 1u << 20) -
				       VMM_FDS_RESERVED) /
			2;
	p->files = fuse_server_new(p->proc_fd, nodes, err);
	if (!p->files)
		return err->code ? -err->code : -ENOMEM;
	fuse_server_on_socket(p->files, on_socket, p);
	for (uint32_t i = 0; i < p->wire.nexports; i++) {
		uint32_t flags = p->wire.exports[i].flags;
		int r;

		r = fuse_server_add_root(p->files, p->wire.exports[i].id, p->exports[i],
					 root_flags_of(flags), err);
		if (r < 0)
			return r;
		p->exports[i] = -1;
	}
	return 0;
}

/* A constructor's result goes to a slot, which owns it from then on */
static int add_device(struct vmm_process *p, struct virtio_dev *dev, struct err *err)
{
	if (!dev)
		return err->code ? -err->code : -ENOMEM;
	return machine_add_device(p->machine, dev, err);
}

static int make_disks(struct vmm_process *p, struct err *err)
{
	for (uint32_t i = 0; i < p->wire.ndisks; i++) {
		const struct vmm_wire_disk *disk = &p->wire.disks[i];
		char id[MACHINE_DISK_ID_MAX + 1] = "";
		int r;

		memcpy(id, disk->id, sizeof(disk->id));
		r = add_device(p,
			       virtio_blk_new(take_fd(&p->disks[i]),
					      disk->flags & VMM_DISK_READ_ONLY, id, err),
			       err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_devices(struct vmm_process *p, struct err *err)
{
	int r;

	r = add_device(p, virtio_fs_new(MACHINE_FS_TAG, p->files, err), err);
	if (r < 0)
		return r;
	p->vsock = virtio_vsock_new(MACHINE_GUEST_CID, on_accept, p, err);
	r = add_device(p, p->vsock, err);
	if (r < 0)
		return r;
	r = add_device(p, virtio_rng_new(err), err);
	if (r < 0)
		return r;
	if (p->console_fd >= 0) {
		r = add_device(p, virtio_console_new(take_fd(&p->console_fd), err), err);
		if (r < 0)
			return r;
	}
	r = make_disks(p, err);
	return r < 0 ? r : machine_add_late_slots(p->machine, err);
}

static int make_machine(struct vmm_process *p, struct err *err)
{
	struct machine_config config = {.kvm_fd = p->kvm_fd,
					.kernel_fd = p->kernel_fd,
					.initramfs_fd = p->initramfs_fd,
					.memory_bytes = p->wire.memory_bytes,
					.nvcpus = p->wire.nvcpus,
					.max_vcpus = p->wire.max_vcpus,
					.console = p->console_fd >= 0,
					.cmdline_extra = p->wire.cmdline_extra,
					.on_agent = on_agent,
					.arg = p};
	int r;

	p->machine = machine_new(&config, err);
	if (!p->machine)
		return -err->code;
	r = make_devices(p, err);
	if (r < 0)
		return r;
	r = machine_boot(p->machine, err);
	if (r < 0)
		return r;
	/* The guest runs on what was made of them: nothing of them is needed, or left to take, from here on */
	close_fd(&p->kvm_fd);
	close_fd(&p->kernel_fd);
	close_fd(&p->initramfs_fd);
	return 0;
}

static int make_loop(struct vmm_process *p, struct err *err)
{
	int r;

	p->loop = loop_new(err);
	if (!p->loop)
		return -err->code;
	p->control = (struct loop_source){.fd = VMM_CONTROL_FD, .on_event = on_control};
	p->ended = (struct loop_source){.fd = p->machine->ended_fd, .on_event = on_ended};
	r = loop_add(p->loop, &p->control, EPOLLIN, err);
	if (r < 0)
		return r;
	return loop_add(p->loop, &p->ended, EPOLLIN, err);
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

static int set_up(struct vmm_process *p, struct err *err)
{
	int r;

	r = receive_config(p, err);
	if (r < 0)
		return r;
	r = jail_enter(&p->proc_fd, err);
	if (r < 0)
		return r;
	r = make_files(p, err);
	if (r < 0)
		return r;
	r = make_machine(p, err);
	if (r < 0)
		return r;
	return make_loop(p, err);
}

/* In the reverse order of making: the loop's sources, the machine with its devices, what devices borrow */
static void tear_down(struct vmm_process *p)
{
	loop_del(&p->control);
	loop_del(&p->ended);
	loop_free(p->loop);
	machine_free(p->machine);
	fuse_server_free(p->files);
	log_set_fd(-1);
	close_fd(&p->proc_fd);
	close_fd(&p->kvm_fd);
	close_fd(&p->kernel_fd);
	close_fd(&p->initramfs_fd);
	close_fd(&p->console_fd);
	close_fd(&p->log_fd);
	for (size_t i = 0; i < MACHINE_DISKS_MAX; i++)
		close_fd(&p->disks[i]);
	for (size_t i = 0; i < VMM_WIRE_EXPORTS_MAX; i++)
		close_fd(&p->exports[i]);
	free(p);
}

static struct vmm_process *process_new(void)
{
	struct vmm_process *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->kvm_fd = p->kernel_fd = p->initramfs_fd = p->console_fd = p->log_fd = p->proc_fd = -1;
	for (size_t i = 0; i < MACHINE_DISKS_MAX; i++)
		p->disks[i] = -1;
	for (size_t i = 0; i < VMM_WIRE_EXPORTS_MAX; i++)
		p->exports[i] = -1;
	return p;
}

static int run(struct vmm_process *p, struct err *err)
{
	int r;

	r = machine_run(p->machine, err);
	if (r < 0)
		return r;
	r = send_msg(VMM_MSG_STARTED, 0, "", -1);
	if (r < 0)
		return err_sys(err, -r, "telling the monitor that the guest runs");
	r = loop_run(p->loop);
	if (r < 0)
		return err_sys(err, -r, "waiting for events");
	return 0;
}

int vmm_main(int argc, char **argv)
{
	struct vmm_process *p = process_new();
	char text[VMM_TEXT_MAX];
	struct err err = {0};
	sigset_t all;
	int r;

	if (!p)
		return EXIT_FAILURE;
	sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	(void)prctl(PR_SET_NAME, VMM_PROGRAM_NAME, 0, 0, 0);
	log_set_fd(-1);
	log_set_context(argc > 1 ? argv[1] : NULL);
	r = set_up(p, &err);
	if (r == 0)
		r = run(p, &err);
	if (p->machine)
		machine_stop(p->machine);
	if (r < 0)
		send_ended(VMM_END_FAILED, err.msg);
	else
		send_ended(machine_get_end(p->machine, text), text);
	tear_down(p);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
