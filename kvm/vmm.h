/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to start a guest, and the messages between the monitor and its vmm.
 *
 * vmm_start() makes a new process in namespaces of its own (user, mount, pid, net, ipc, uts, cgroup), executes this program
 * again in it under the name "caisson-vmm" (a fresh address space: nothing of the monitor is left in it), and hands over the
 * configuration with its descriptors in one message on a SOCK_SEQPACKET pair, which then carries struct vmm_msg both ways:
 *
 *   monitor → vmm   CONNECT {port} + fd    connect this stream socket to the guest's vsock port
 *                   ADD_EXPORT {id, flags} + fd, REMOVE_EXPORT {id}
 *                   ADD_NET {slot, net} + fds, REMOVE_NET {slot}: see vmm_add_net()
 *                   GROW_MEMORY {bytes}    see vmm_grow_memory()
 *                   SOCKET_DONE {id, relayed}  go on; 0: it is not relayed (any more)
 *                   STOP                   end at once; the other end's close means the same
 *   vmm → monitor   STARTED                vCPUs run
 *                   READY                  the agent listens
 *                   ACCEPT {port} + fd     a program in the guest connected to the host's port
 *                   NET_ADDED {slot, errno, text}, NET_REMOVED {slot, errno, text}
 *                   MEMORY_GROWN {errno, text}
 *                   SOCKET {id, export} + fd   the guest looked up a Unix socket of the host's (O_PATH), and waits for SOCKET_DONE
 *                   ENDED {end, text}      the last message: the guest has ended, and how
 *
 * The vmm says nothing about containers; it gets memory, vCPUs, files, sockets.
 */
#ifndef KVM_VMM_H
#define KVM_VMM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/machine.h"

#define VMM_CMDLINE_MAX 2048
#define VMM_TEXT_MAX 512
#define VMM_PROGRAM_NAME "caisson-vmm" /* argv[0] by which main() knows to call vmm_main() */
#define VMM_CONTROL_FD 3	       /* in the new process */
#define VMM_VCPUS_MAX 254
#define VMM_MEMORY_MIN (64ull << 20)
#define VMM_NET_SLOTS MACHINE_LATE_SLOTS
#define VMM_NET_QUEUES_MAX 4 /* pairs of queues of one network device */
#define VMM_NET_MTU_MIN 68

enum vmm_end {
	VMM_END_NONE = 0,
	VMM_END_POWER_OFF,    /* the agent asked for it */
	VMM_END_AGENT_FAILED, /* the agent could not start; text says why */
	VMM_END_RESET,	      /* the guest reset the machine without a panic */
	VMM_END_PANIC,	      /* the guest kernel panicked */
	VMM_END_TRIPLE_FAULT, /* KVM_EXIT_SHUTDOWN */
	VMM_END_HALTED,	      /* all vCPUs halted for good with interrupts off */
	VMM_END_INTERNAL_ERROR, /* KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_FAIL_ENTRY and the like; text has the figures */
	VMM_END_STOPPED, /* the monitor asked for it */
	VMM_END_FAILED,	 /* the vmm itself could not start or go on; text says why */
};
/** vmm_end_name() - "panic", "triple fault", … for messages */
const char *vmm_end_name(enum vmm_end end);

enum vmm_msg_type {
	VMM_MSG_CONFIG = 1,
	VMM_MSG_CONNECT,
	VMM_MSG_ADD_EXPORT,
	VMM_MSG_REMOVE_EXPORT,
	VMM_MSG_STOP,
	VMM_MSG_ADD_NET,
	VMM_MSG_REMOVE_NET,
	VMM_MSG_GROW_MEMORY,
	VMM_MSG_SOCKET_DONE,
	VMM_MSG_STARTED = 0x100,
	VMM_MSG_READY,
	VMM_MSG_ACCEPT,
	VMM_MSG_ENDED,
	VMM_MSG_NET_ADDED,
	VMM_MSG_NET_REMOVED,
	VMM_MSG_MEMORY_GROWN,
	VMM_MSG_SOCKET,
};

/* ADD_NET's part of a message; all zeros in every other */
struct vmm_msg_net {
	uint8_t mac[6];
	uint16_t mtu;	   /* 0: the guest keeps its default */
	uint16_t npairs;   /* 1 to VMM_NET_QUEUES_MAX */
	uint16_t reserved; /* 0 */
};

/*
 * Every message is this struct whole, with at most one descriptor beside it (CONFIG: see vmm.c; ADD_NET: one tap queue per
 * pair, then, with VMM_NET_VHOST, one vhost-net descriptor per pair).
 */
struct vmm_msg {
	uint32_t type;	/* enum vmm_msg_type */
	uint32_t value; /* port, export id, slot, socket id, enum vmm_end */
	uint32_t
		flags; /* ADD_EXPORT: VMM_EXPORT_*; ADD_NET: VMM_NET_*; NET_ADDED, NET_REMOVED, MEMORY_GROWN: 0 or an errno; SOCKET: export id; SOCKET_DONE: 0 or 1 */
	uint32_t reserved;	 /* 0 */
	uint64_t bytes;		 /* GROW_MEMORY; else 0 */
	struct vmm_msg_net net;	 /* ADD_NET */
	char text[VMM_TEXT_MAX]; /* NUL-terminated */
};

#define VMM_NET_VHOST (1u << 0)

#define VMM_EXPORT_READ_ONLY (1u << 0)
#define VMM_EXPORT_COHERENT \
	(1u << 1) /* host changes are seen at once (bind mounts); else within a second (rootfs) */

#define VMM_EXPORT_WATCH \
	(1u << 2) /* inotify watchers in the guest are told what the host changes (docs/files.md) */

struct vmm_export {
	uint32_t id; /* < MACHINE_EXPORTS_MAX, unique */
	uint32_t flags;
	int fd; /* detached mount; borrowed for the call */
};

#define VMM_DISK_READ_ONLY (1u << 0)

struct vmm_disk {
	uint32_t flags;
	char id[MACHINE_DISK_ID_MAX + 1];
	int fd; /* a block device or a file, opened for what the guest may do; borrowed for the call */
};

struct vmm_config {
	uint64_t memory_bytes; /* page multiple, ≥ VMM_MEMORY_MIN */
	uint32_t nvcpus;       /* started at boot */
	uint32_t max_vcpus;    /* listed in the MP table, ≤ VMM_VCPUS_MAX, ≥ nvcpus */
	const char
		*cmdline_extra; /* appended to the machine's own kernel parameters; NULL for none */
	const char *name;	/* shown in the process list, e.g. the container's id */
	/* descriptors, borrowed for the call */
	int exe_fd;	  /* this program (O_PATH or O_RDONLY of /proc/self/exe) */
	int kvm_fd;	  /* /dev/kvm */
	int kernel_fd;	  /* ELF vmlinux with a PVH note, or bzImage */
	int initramfs_fd; /* -1 for none */
	int console_fd; /* the kernel log goes here (write end of a pipe); -1: no console device */
	int log_fd;	/* the vmm's own log, -1: none */
	uint32_t log_level;  /* enum log_level */
	uint32_t log_format; /* enum log_format */
	const struct vmm_export *exports;
	unsigned int
		nexports; /* ≤ MACHINE_EXPORTS_MAX; more than a message carries are sent by ADD_EXPORT first */
	const struct vmm_disk *disks;
	unsigned int ndisks; /* ≤ MACHINE_DISKS_MAX */
};

struct vmm {
	pid_t pid;	/* in the caller's pid namespace; the caller's child */
	int pidfd;	/* owned */
	int control_fd; /* owned; SOCK_SEQPACKET, O_CLOEXEC, non-blocking */
};

/**
 * vmm_start() - Start a guest in a new, jailed process
 * @out:	Filled on success; release with vmm_release()
 *
 * Returns once the process has its configuration, not when the guest runs (VMM_MSG_STARTED says that).
 * Return: 0, or -errno with @err filled and no process left behind.
 */
int vmm_start(const struct vmm_config *config, struct vmm *out, struct err *err);
/** vmm_release() - Kill if still running, reap, close; harmless on {0, -1, -1} */
void vmm_release(struct vmm *vmm);

/** vmm_send() - Send one message with an optional descriptor (-1: none; borrowed); Return: 0 or -errno */
int vmm_send(const struct vmm *vmm, const struct vmm_msg *msg, int fd);
/** vmm_recv() - Receive one; Return: 1 with @msg checked and @fd (-1 or owned by the caller), 0 at the end, -EAGAIN, -EPROTO, -errno */
int vmm_recv(const struct vmm *vmm, struct vmm_msg *msg, int *fd);

/*
 * A network device to add. The taps are the caller's to open and configure:
 *
 *   TUNSETIFF with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR (| IFF_MULTI_QUEUE when npairs > 1, then once per pair), O_NONBLOCK set;
 *   the interface up and tied to what it serves. The vmm sets the header's size and the offloads itself, as the guest
 *   negotiates them, and with several pairs attaches and detaches queues (TUNSETQUEUE); none of this needs a capability.
 *   Whoever holds a queue's descriptor can also make the tap persistent (TUNSETPERSIST): delete it by name in the end.
 *
 *   vhost: /dev/vhost-net opened O_RDWR once per pair, nothing done with it yet (its owner is whoever asks first: the vmm).
 *
 * The vmm decides nothing: with vhost descriptors the kernel moves the packets, without them a thread of the vmm does.
 */
struct vmm_net {
	uint32_t slot;	 /* < VMM_NET_SLOTS, empty */
	uint8_t mac[6];	 /* as the guest shall see it; a unicast address */
	uint16_t mtu;	 /* 0: not told to the guest; else ≥ VMM_NET_MTU_MIN */
	uint16_t npairs; /* 1 to VMM_NET_QUEUES_MAX; more than the guest has vCPUs are never used */
	bool vhost;	 /* vhost_fds are there */
	/* descriptors, borrowed for the call */
	int tap_fds[VMM_NET_QUEUES_MAX];
	int vhost_fds[VMM_NET_QUEUES_MAX];
};

/**
 * vmm_add_net() - Fill a slot with a network device
 *
 * Answered by VMM_MSG_NET_ADDED {slot, errno, text} from vmm_recv(): after 0 the agent can bind the slot (slot_bind() of
 * guest/slots.h), after an error the slot is empty. Answers come in the order of the requests.
 * Return: 0 when the request is on its way, -EINVAL for a bad one, -EAGAIN when the vmm does not read, -errno; @err filled.
 */
int vmm_add_net(const struct vmm *vmm, const struct vmm_net *net, struct err *err);
/**
 * vmm_remove_net() - Empty a slot: reset its device and close its descriptors, whatever the guest does
 *
 * The agent should have unbound it (slot_unbind()): a driver that is still there finds a dead device. Answered by
 * VMM_MSG_NET_REMOVED {slot, errno, text}; after it the slot can be filled anew. Return: as vmm_add_net()
 */
int vmm_remove_net(const struct vmm *vmm, uint32_t slot, struct err *err);

/**
 * vmm_grow_memory() - Give the guest @bytes in all beside those it was started with; a multiple of MACHINE_MEMORY_STEP
 *
 * Answered by VMM_MSG_MEMORY_GROWN {errno, text}: after 0 the agent can take them (GrowMemory). Less than before is refused.
 * Return: as vmm_add_net()
 */
int vmm_grow_memory(const struct vmm *vmm, uint64_t bytes, struct err *err);

/** vmm_main() - The vmm process itself, called by main() for argv[0] == VMM_PROGRAM_NAME; Return: its exit code */
int vmm_main(int argc, char **argv);

#endif
