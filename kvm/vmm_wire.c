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

static const struct {
	uint32_t type;
	bool from_vmm, has_fd;
	uint32_t value_max, flags_max;
} msg_rules[] = {
	{VMM_MSG_CONNECT, false, true, UINT32_MAX - 1, 0},
	{VMM_MSG_ADD_EXPORT, false, true, MACHINE_EXPORTS_MAX - 1,
	 VMM_EXPORT_READ_ONLY | VMM_EXPORT_COHERENT},
	{VMM_MSG_REMOVE_EXPORT, false, false, MACHINE_EXPORTS_MAX - 1, 0},
	{VMM_MSG_STOP, false, false, 0, 0},
	{VMM_MSG_STARTED, true, false, 0, 0},
	{VMM_MSG_READY, true, false, 0, 0},
	{VMM_MSG_ACCEPT, true, true, UINT32_MAX - 1, 0},
	{VMM_MSG_ENDED, true, false, VMM_END_FAILED, 0},
};

const char *vmm_end_name(enum vmm_end end)
{
	return (size_t)end < ARRAY_SIZE(end_names) ? end_names[end] : "unknown";
}

bool vmm_msg_valid(const struct vmm_msg *msg, bool has_fd, bool from_vmm)
{
	if (msg->reserved != 0 || !memchr(msg->text, '\0', sizeof(msg->text)))
		return false;
	if (msg->type == VMM_MSG_ENDED && msg->value == VMM_END_NONE)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(msg_rules); i++)
		if (msg_rules[i].type == msg->type)
			return msg_rules[i].from_vmm == from_vmm && msg_rules[i].has_fd == has_fd &&
			       msg->value <= msg_rules[i].value_max &&
			       msg->flags <= msg_rules[i].flags_max;
	return false;
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
	if (flags & ~(VMM_EXPORT_READ_ONLY | VMM_EXPORT_COHERENT))
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
	    wire->reserved != 0 || wire->nexports > VMM_WIRE_EXPORTS_MAX ||
	    !memchr(wire->cmdline_extra, '\0', sizeof(wire->cmdline_extra)) ||
	    wire->log_level > LOG_DEBUG || wire->log_format > LOG_FORMAT_JSON)
		return err_set(err, EPROTO, "the configuration is malformed");
	expected += (size_t)__builtin_popcount(wire->flags) + wire->nexports;
	if (nfds != expected)
		return err_set(err, EPROTO,
			       "the configuration came with %zu descriptors instead of %zu", nfds,
			       expected);
	r = check_numbers(wire->memory_bytes, wire->nvcpus, wire->max_vcpus, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < wire->nexports; i++) {
		r = check_export(wire->exports[i].id, wire->exports[i].flags, seen, err);
		if (r < 0)
			return r;
	}
	return 0;
}
