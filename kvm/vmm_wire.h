/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first message to a vmm: its configuration, see vmm.c. Both ends are the same program, so the layout is ours alone.
 *
 * Descriptors beside it, in this order: /dev/kvm, kernel, [initramfs], [console], [log], the disks, the exports. Exports that do not fit
 * follow as ADD_EXPORT messages, before the guest runs as far as the guest can tell: the agent mounts what it is told to.
 */
#ifndef KVM_VMM_WIRE_H
#define KVM_VMM_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/vmm.h"
#include "lib/err.h"
#include "lib/io.h"

#define VMM_WIRE_EXPORTS_MAX (IO_PASS_FDS_MAX - 5 - MACHINE_DISKS_MAX)

#define VMM_WIRE_INITRAMFS (1u << 0)
#define VMM_WIRE_CONSOLE (1u << 1)
#define VMM_WIRE_LOG (1u << 2)
#define VMM_WIRE_FLAGS 7u

struct vmm_wire_export {
	uint32_t id, flags;
};

struct vmm_wire_disk {
	uint32_t flags;
	char id[MACHINE_DISK_ID_MAX]; /* ended by NUL if shorter */
};

struct vmm_wire_config {
	uint32_t type;	/* VMM_MSG_CONFIG */
	uint32_t flags; /* VMM_WIRE_*: which descriptors are there */
	uint64_t memory_bytes;
	uint32_t nvcpus, max_vcpus;
	uint32_t log_level, log_format;
	uint32_t nexports, ndisks;
	char cmdline_extra[VMM_CMDLINE_MAX];
	struct vmm_wire_disk disks[MACHINE_DISKS_MAX];
	struct vmm_wire_export exports[VMM_WIRE_EXPORTS_MAX];
};

/** vmm_wire_valid() - Is @wire (received whole) in bounds, and are @nfds what its flags say? Return: 0 or -EPROTO */
int vmm_wire_valid(const struct vmm_wire_config *wire, size_t nfds, struct err *err);
/** vmm_config_valid() - Check a caller's configuration; Return: 0, -EINVAL or -E2BIG */
int vmm_config_valid(const struct vmm_config *config, struct err *err);
#define VMM_MSG_FDS_MAX (2 * VMM_NET_QUEUES_MAX) /* beside a message other than CONFIG */
/** vmm_msg_valid() - Is a message, received with @nfds descriptors, one the monitor (or the vmm) may send? */
bool vmm_msg_valid(const struct vmm_msg *msg, size_t nfds, bool from_vmm);
/** vmm_net_valid() - Check a caller's network device; Return: 0 or -EINVAL */
int vmm_net_valid(const struct vmm_net *net, struct err *err);

#endif
