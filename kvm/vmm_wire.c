/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What monitor and vmm believe of each other's messages.
 *
 * The vmm may have been taken over by its guest, so the monitor checks each message before it looks at it: known type,
 * terminated text, a descriptor exactly where one belongs, a port in vsock's range. The other way the same door is used: it costs
 * nothing, and a mistake of ours shows at once.
 */
#include "kvm/vmm_wire.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"

static const char *const end_names[] = {
	[VMM_END_NONE] = "running",
	[VMM_END_POWER_OFF] = "power-off",
	[VMM_END_AGENT_FAILED] = "agent failed",
	[VMM_END_RESET] = "reset",
	[VMM_END_PANIC] = "kernel panic",
	[VMM_END_TRIPLE_FAULT] = "triple fault",
	[VMM_END_HALTED] = "halted",
	[VMM_END_INTERNAL_ERROR] = "internal error",
	[VMM_END_STOPPED] = "stopped",
	[VMM_END_FAILED] = "failed",
};

#define VMM_MEMORY_GROW_MAX (1ull << 46)
#define ERRNO_MAX 4095u /* the kernel's own limit */

static const struct {
	uint32_t type;
	bool from_vmm;
	uint8_t nfds; /* ADD_NET: see net_is_valid() */
	uint32_t value_max, flags_max;
} msg_rules[] = {
	{VMM_MSG_CONNECT, false, 1, UINT32_MAX - 1, 0},
	{VMM_MSG_ADD_EXPORT, false, 1, MACHINE_EXPORTS_MAX - 1,
	 VMM_EXPORT_READ_ONLY | VMM_EXPORT_COHERENT | VMM_EXPORT_WATCH},
	{VMM_MSG_REMOVE_EXPORT, false, 0, MACHINE_EXPORTS_MAX - 1, 0},
	{VMM_MSG_STOP, false, 0, 0, 0},
	{VMM_MSG_ADD_NET, false, 0, VMM_NET_SLOTS - 1, VMM_NET_VHOST},
	{VMM_MSG_REMOVE_NET, false, 0, VMM_NET_SLOTS - 1, 0},
	{VMM_MSG_GROW_MEMORY, false, 0, 0, 0},
	{VMM_MSG_SOCKET_DONE, false, 0, UINT32_MAX, 1},
	{VMM_MSG_STARTED, true, 0, 0, 0},
	{VMM_MSG_READY, true, 0, 0, 0},
	{VMM_MSG_ACCEPT, true, 1, UINT32_MAX - 1, 0},
	{VMM_MSG_ENDED, true, 0, VMM_END_FAILED, 0},
	{VMM_MSG_NET_ADDED, true, 0, VMM_NET_SLOTS - 1, ERRNO_MAX},
	{VMM_MSG_NET_REMOVED, true, 0, VMM_NET_SLOTS - 1, ERRNO_MAX},
	{VMM_MSG_MEMORY_GROWN, true, 0, 0, ERRNO_MAX},
	{VMM_MSG_SOCKET, true, 1, UINT32_MAX, MACHINE_EXPORTS_MAX - 1},
};

const char *vmm_end_name(enum vmm_end end)
{
	return (size_t)end < ARRAY_SIZE(end_names) ? end_names[end] : "unknown";
}

static bool net_is_valid(const struct vmm_msg_net *net, uint32_t flags, size_t nfds)
{
	if (net->reserved != 0 || (net->mac[0] & 1) ||
	    (net->mtu != 0 && net->mtu < VMM_NET_MTU_MIN) || net->npairs < 1 ||
	    net->npairs > VMM_NET_QUEUES_MAX)
		return false;
	return nfds == net->npairs * (flags & VMM_NET_VHOST ? 2u : 1u);
}

static bool rest_is_valid(const struct vmm_msg *msg, size_t nfds, size_t expected_fds)
{
	static const struct vmm_msg_net none;

	if (msg->type == VMM_MSG_GROW_MEMORY ? !msg->bytes || msg->bytes > VMM_MEMORY_GROW_MAX ||
						       msg->bytes % MACHINE_MEMORY_STEP
					     : msg->bytes != 0)
		return false;
	if (msg->type == VMM_MSG_ADD_NET)
		return net_is_valid(&msg->net, msg->flags, nfds);
	return nfds == expected_fds && memcmp(&msg->net, &none, sizeof(none)) == 0;
}

bool vmm_msg_valid(const struct vmm_msg *msg, size_t nfds, bool from_vmm)
{
	if (msg->reserved != 0 || !memchr(msg->text, '\0', sizeof(msg->text)))
		return false;
	if (msg->type == VMM_MSG_ENDED && msg->value == VMM_END_NONE)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(msg_rules); i++)
		if (msg_rules[i].type == msg->type)
			return msg_rules[i].from_vmm == from_vmm &&
			       msg->value <= msg_rules[i].value_max &&
			       msg->flags <= msg_rules[i].flags_max &&
			       rest_is_valid(msg, nfds, msg_rules[i].nfds);
	return false;
}

int vmm_net_valid(const struct vmm_net *net, struct err *err)
{
	if (net->slot >= VMM_NET_SLOTS)
		return err_set(err, EINVAL, "network slot %u is out of range", net->slot);
	if (net->mac[0] & 1)
		return err_set(err, EINVAL, "the network device's address is a multicast one");
	if (net->mtu != 0 && net->mtu < VMM_NET_MTU_MIN)
		return err_set(err, EINVAL, "an MTU of %u is less than %d", net->mtu,
			       VMM_NET_MTU_MIN);
	if (net->npairs < 1 || net->npairs > VMM_NET_QUEUES_MAX)
		return err_set(err, EINVAL, "%u pairs of queues; 1 to %d are possible", net->npairs,
			       VMM_NET_QUEUES_MAX);
	return 0;
}

static int check_numbers(uint64_t memory_bytes, uint32_t nvcpus, uint32_t max_vcpus,
			 struct err *err)
{
	if (memory_bytes < VMM_MEMORY_MIN || memory_bytes % 4096 != 0)
		return err_set(err, EINVAL,
			       "the guest's memory is %llu bytes; it must be whole pages, at least "
			       "%llu MiB",
			       (unsigned long long)memory_bytes, VMM_MEMORY_MIN >> 20);
	if (nvcpus < 1 || max_vcpus < nvcpus || max_vcpus > VMM_VCPUS_MAX)
		return err_set(err, EINVAL, "the guest's vCPUs are %u of %u; 1 to %d are possible",
			       nvcpus, max_vcpus, VMM_VCPUS_MAX);
	return 0;
}

static int check_export(uint32_t id, uint32_t flags, bool *seen, struct err *err)
{
	if (id >= MACHINE_EXPORTS_MAX || seen[id])
		return err_set(err, EINVAL, "export %u is out of range or there twice", id);
	if (flags & ~(VMM_EXPORT_READ_ONLY | VMM_EXPORT_COHERENT | VMM_EXPORT_WATCH))
		return err_set(err, EINVAL, "export %u has unknown flags %#x", id, flags);
	seen[id] = true;
	return 0;
}

int vmm_config_valid(const struct vmm_config *config, struct err *err)
{
	bool seen[MACHINE_EXPORTS_MAX] = {false};
	int r;

	r = check_numbers(config->memory_bytes, config->nvcpus, config->max_vcpus, err);
	if (r < 0)
		return r;
	if (config->exe_fd < 0 || config->kvm_fd < 0 || config->kernel_fd < 0 || !config->name)
		return err_set(err, EINVAL,
			       "the vmm needs a program, /dev/kvm, a kernel image and a name");
	if (config->cmdline_extra && strlen(config->cmdline_extra) >= VMM_CMDLINE_MAX)
		return err_set(err, E2BIG,
			       "the kernel's extra parameters are %zu bytes long, at most %d fit",
			       strlen(config->cmdline_extra), VMM_CMDLINE_MAX - 1);
	if (config->ndisks > MACHINE_DISKS_MAX)
		return err_set(err, EINVAL, "%u disks are more than %d", config->ndisks,
			       MACHINE_DISKS_MAX);
	if (config->nexports > MACHINE_EXPORTS_MAX)
		return err_set(err, EINVAL, "%u exports are more than %d", config->nexports,
			       MACHINE_EXPORTS_MAX);
	for (unsigned int i = 0; i < config->nexports; i++) {
		r = check_export(config->exports[i].id, config->exports[i].flags, seen, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int vmm_wire_valid(const struct vmm_wire_config *wire, size_t nfds, struct err *err)
{
	bool seen[MACHINE_EXPORTS_MAX] = {false};
	size_t expected = 2;
	int r;

	if (wire->type != VMM_MSG_CONFIG || (wire->flags & ~VMM_WIRE_FLAGS) ||
	    wire->ndisks > MACHINE_DISKS_MAX || wire->nexports > VMM_WIRE_EXPORTS_MAX ||
	    !memchr(wire->cmdline_extra, '\0', sizeof(wire->cmdline_extra)) ||
	    wire->log_level > LOG_DEBUG || wire->log_format > LOG_FORMAT_JSON)
		return err_set(err, EPROTO, "the configuration is malformed");
	expected += (size_t)__builtin_popcount(wire->flags) + wire->nexports + wire->ndisks;
	if (nfds != expected)
		return err_set(err, EPROTO,
			       "the configuration came with %zu descriptors instead of %zu", nfds,
			       expected);
	r = check_numbers(wire->memory_bytes, wire->nvcpus, wire->max_vcpus, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < wire->ndisks; i++)
		if (wire->disks[i].flags & ~VMM_DISK_READ_ONLY)
			return err_set(err, EINVAL, "disk %u has unknown flags %#x", i,
				       wire->disks[i].flags);
	for (uint32_t i = 0; i < wire->nexports; i++) {
		r = check_export(wire->exports[i].id, wire->exports[i].flags, seen, err);
		if (r < 0)
			return r;
	}
	return 0;
}
