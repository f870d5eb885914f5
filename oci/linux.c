/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The linux object of config.json (runtime-spec config-linux.md): namespaces, devices, paths, what
 * we keep of resources.
 *
 * Lookups by name are tables; an unknown name is an error, since ignoring it would weaken the
 * container silently. Cgroup resources other than the memory limit, seccomp and Intel RDT are only
 * noted here: the command line decides what to say.
 */
#include <errno.h>
#include <string.h>

#include "oci/parse.h"

#define C(member_, key_, kind_, ...)                                                 \
	{                                                                            \
		.key = key_, .kind = JSON_TO_##kind_,                                \
		.offset = offsetof(struct oci_config, linux_.member_), ##__VA_ARGS__ \
	}

static const struct json_field linux_fields[] = {
	C(masked_paths, "maskedPaths", STRINGS, .flags = JSON_ABSOLUTE),
	C(readonly_paths, "readonlyPaths", STRINGS, .flags = JSON_ABSOLUTE),
	C(cgroups_path, "cgroupsPath", STRING),
	C(rootfs_propagation, "rootfsPropagation", STRING),
	C(mount_label, "mountLabel", STRING),
	{0},
};

#define D(member_, key_, kind_, ...)                                          \
	{                                                                     \
		.key = key_, .kind = JSON_TO_##kind_,                         \
		.offset = offsetof(struct oci_device, member_), ##__VA_ARGS__ \
	}

static const struct json_field device_fields[] = {
	D(path, "path", STRING, .flags = JSON_REQUIRED | JSON_ABSOLUTE),
	D(mode, "fileMode", U32, .has_offset = offsetof(struct oci_device, has_mode)),
	D(uid, "uid", U32, .has_offset = offsetof(struct oci_device, has_uid)),
	D(gid, "gid", U32, .has_offset = offsetof(struct oci_device, has_gid)),
	{0},
};
static const struct json_field device_numbers[] = {
	D(major, "major", I64, .flags = JSON_REQUIRED, .max = UINT32_MAX),
	D(minor, "minor", I64, .flags = JSON_REQUIRED, .max = UINT32_MAX),
	{0},
};

static const char *const namespace_names[OCI_NS_COUNT] = {
	[OCI_NS_PID] = "pid",	    [OCI_NS_NETWORK] = "network", [OCI_NS_MOUNT] = "mount",
	[OCI_NS_IPC] = "ipc",	    [OCI_NS_UTS] = "uts",	  [OCI_NS_USER] = "user",
	[OCI_NS_CGROUP] = "cgroup", [OCI_NS_TIME] = "time",
};

static const char *const propagations[] = {
	"",	 "private", "rprivate",	  "shared",	 "rshared",
	"slave", "rslave",  "unbindable", "runbindable",
};

static int parse_namespace(const struct json_at *at, struct oci_config *config, struct err *err)
{
	static const struct json_field path[] = {
		{.key = "path",
		 .kind = JSON_TO_STRING,
		 .offset = offsetof(struct oci_namespace, path),
		 .flags = JSON_ABSOLUTE},
		{0},
	};
	struct oci_namespace *ns;
	struct json_at type = {.parent = at, .name = "type"};
	int r = json_member_name(at, "type", namespace_names, OCI_NS_COUNT, err);

	if (r < 0)
		return r;
	ns = &config->linux_.namespaces[r];
	if (ns->present)
		return json_fail(&type, err, "'%s' is given twice", namespace_names[r]);
	ns->present = true;
	r = json_fill(at, path, ns, err);
	if (r < 0)
		return r;
	if (ns->path && !ns->path[0]) { /* "" means none */
		free(ns->path);
		ns->path = NULL;
	}
	return 0;
}

static int parse_namespaces(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at list, it = {0};
	int r = json_member(at, "namespaces", JSON_ARRAY, &list, err);

	if (r <= 0)
		return r;
	while ((r = json_each(&list, JSON_OBJECT, &it, err)) > 0) {
		r = parse_namespace(&it, config, err);
		if (r < 0)
			return r;
	}
	return r;
}

static int parse_device(const struct json_at *at, void *item, struct err *err)
{
	static const char *const types[] = {"c", "b", "u", "p"};
	struct oci_device *device = item;
	int r = json_fill(at, device_fields, device, err);

	if (r < 0)
		return r;
	r = json_member_name(at, "type", types, ARRAY_SIZE(types), err);
	if (r < 0)
		return r;
	device->type = types[r][0];
	if (device->type == 'p')
		return 0;
	return json_fill(at, device_numbers, device, err);
}

static int parse_resources(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at resources;
	int r = json_member(at, "resources", JSON_OBJECT, &resources, err);

	if (r <= 0)
		return r;
	config->linux_.has_resources = true;
	return resources_parse(&resources, &config->linux_.resources, err);
}

static int check_propagation(const struct json_at *at, const struct oci_config *config,
			     struct err *err)
{
	struct json_at here = {.parent = at, .name = "rootfsPropagation"};

	for (size_t i = 0; i < ARRAY_SIZE(propagations); i++) {
		if (!config->linux_.rootfs_propagation ||
		    strcmp(config->linux_.rootfs_propagation, propagations[i]) == 0)
			return 0;
	}
	return json_fail(&here, err, "'%.64s' is unknown", config->linux_.rootfs_propagation);
}

int linux_parse(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at seccomp;
	int r = json_fill(at, linux_fields, config, err);

	if (r < 0)
		return r;
	r = check_propagation(at, config, err);
	if (r < 0)
		return r;
	r = parse_namespaces(at, config, err);
	if (r < 0)
		return r;
	r = array_parse(at, "devices", sizeof(struct oci_device), parse_device,
			(void **)&config->linux_.devices, &config->linux_.ndevices, err);
	if (r < 0)
		return r;
	r = pairs_parse(at, "sysctl", &config->linux_.sysctl, err);
	if (r < 0)
		return r;
	r = json_member(at, "seccomp", JSON_OBJECT, &seccomp, err);
	if (r < 0)
		return r;
	config->linux_.has_seccomp = r > 0;
	return parse_resources(at, config, err);
}

void linux_release(struct oci_config *config)
{
	for (size_t i = 0; i < OCI_NS_COUNT; i++)
		free(config->linux_.namespaces[i].path);
	for (size_t i = 0; i < config->linux_.ndevices; i++)
		free(config->linux_.devices[i].path);
	free(config->linux_.devices);
	pairs_release(&config->linux_.sysctl);
	strings_release(&config->linux_.masked_paths);
	strings_release(&config->linux_.readonly_paths);
	free(config->linux_.cgroups_path);
	free(config->linux_.rootfs_propagation);
	free(config->linux_.mount_label);
	resources_release(&config->linux_.resources);
}
