/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vm object of config.json (runtime-spec config-vm.md): another kernel, its command line, its initial ramdisk, the guest's size.
 *
 * Our vmm is part of this program and its guest boots from the initial ramdisk, where the agent is; so another hypervisor, a root
 * image and the host's devices by device tree node or physical page are refused rather than ignored. Unlike the specification we
 * take a vm without a kernel: the installed one is meant.
 */
#include "oci/parse.h"

#define V(member_, key_, kind_, ...)                                             \
	{                                                                        \
		.key = key_, .kind = JSON_TO_##kind_,                            \
		.offset = offsetof(struct oci_config, vm.member_), ##__VA_ARGS__ \
	}

static const struct json_field kernel_fields[] = {
	V(kernel_path, "path", STRING, .flags = JSON_ABSOLUTE),
	V(initrd_path, "initrd", STRING, .flags = JSON_ABSOLUTE),
	V(kernel_parameters, "parameters", STRINGS),
	{0},
};
static const struct json_field hw_fields[] = {
	V(memory_bytes, "memory", U64, .max = INT64_MAX),
	V(vcpus, "vcpus", U32, .max = 65535),
	{0},
};

/* What has to be absent, or empty */
static const struct {
	const char *section, *key; /* key NULL: the section itself */
	enum json_type type;
	const char *sentence;
} refused[] = {
	{"hypervisor", NULL, JSON_OBJECT, "not supported: the guest is run by this program itself"},
	{"image", NULL, JSON_OBJECT, "not supported: the guest boots from vm.kernel.initrd"},
	{"hwConfig", "deviceTree", JSON_STRING, "not supported: the guest's devices are virtio's"},
	{"hwConfig", "dtdevs", JSON_ARRAY, "not supported: devices are not passed through"},
	{"hwConfig", "iomems", JSON_ARRAY, "not supported: devices are not passed through"},
	{"hwConfig", "irqs", JSON_ARRAY, "not supported: devices are not passed through"},
};

static bool is_empty(const struct json_at *at)
{
	return at->node->type == JSON_STRING ? !at->node->text[0] : !at->node->n;
}

static int check_refused(const struct json_at *vm, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct json_at section, member, *at = &section;
		int r = json_member(vm, refused[i].section, JSON_OBJECT, &section, err);

		if (r > 0 && refused[i].key) {
			at = &member;
			r = json_member(&section, refused[i].key, refused[i].type, &member, err);
		}
		if (r < 0)
			return r;
		if (r > 0 && !is_empty(at))
			return json_fail(at, err, "%s", refused[i].sentence);
	}
	return 0;
}

int vm_parse(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at vm, part;
	int r = json_member(at, "vm", JSON_OBJECT, &vm, err);

	if (r <= 0)
		return r;
	r = check_refused(&vm, err);
	if (r < 0)
		return r;
	r = json_member(&vm, "kernel", JSON_OBJECT, &part, err);
	if (r > 0)
		r = json_fill(&part, kernel_fields, config, err);
	if (r < 0)
		return r;
	r = json_member(&vm, "hwConfig", JSON_OBJECT, &part, err);
	return r <= 0 ? r : json_fill(&part, hw_fields, config, err);
}

void vm_release(struct oci_config *config)
{
	free(config->vm.kernel_path);
	free(config->vm.initrd_path);
	strings_release(&config->vm.kernel_parameters);
}
