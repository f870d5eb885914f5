/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The linux object of config.json (runtime-spec config-linux.md): devices, paths, sysctls here; the
 * rest in namespaces.c, resources.c and linux_host.c.
 *
 * Lookups by name are tables; an unknown name is an error, since ignoring it would weaken the
 * container silently.
 */
#include <errno.h>
#include <string.h>

#include "oci/parse.h"
#include "oci/seccomp.h"

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

static const char *const propagations[] = {
	"",	 "private", "rprivate",	  "shared",	 "rshared",
	"slave", "rslave",  "unbindable", "runbindable",
};

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

static int parse_devices(const struct json_at *at, struct oci_config *config, struct err *err)
{
	return array_parse(at, "devices", sizeof(struct oci_device), parse_device,
			   (void **)&config->linux_.devices, &config->linux_.ndevices, err);
}

/*
 * "net/ipv4/conf/eth0.1/mtu" and "net.ipv4.conf.eth0/1.mtu" are one: whichever separator comes first is the one between the parts, the
 * other stands for a dot within one (sysctl.d(5)). Kept is the form with dots; Return: false if it cannot be a file below /proc/sys.
 */
static bool make_dotted(char *key)
{
	bool slashes = key[strcspn(key, "./")] == '/';
	size_t part = 0, dots = 0;

	for (;; key++) {
		if (slashes && (*key == '.' || *key == '/'))
			*key = *key == '.' ? '/' : '.';
		if (*key == '\0' || *key == '.') {
			if (part == 0 || (part == dots && part <= 2)) /* "", "." and ".." */
				return false;
			part = dots = 0;
		} else {
			part++;
			dots += *key == '/';
		}
		if (*key == '\0')
			return true;
	}
}

static int parse_sysctl(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at map = {.parent = at, .name = "sysctl"};
	int r = pairs_parse(at, "sysctl", &config->linux_.sysctl, err);

	for (size_t i = 0; i < config->linux_.sysctl.n && r == 0; i++) {
		char *key = config->linux_.sysctl.items[i].key;
		struct json_at here = {.parent = &map, .name = key};

		if (!make_dotted(key))
			r = json_fail(&here, err, "not the name of a sysctl");
	}
	return r;
}

static int parse_seccomp(const struct json_at *at, struct oci_config *config, struct err *err)
{
	return oci_seccomp_parse(at, &config->linux_.seccomp, err);
}

static int parse_idmaps(const struct json_at *at, struct oci_config *config, struct err *err)
{
	int r = idmaps_parse(at, "uidMappings", &config->linux_.uid_mappings, err);

	return r < 0 ? r : idmaps_parse(at, "gidMappings", &config->linux_.gid_mappings, err);
}

int linux_parse(const struct json_at *at, struct oci_config *config, struct err *err)
{
	static int (*const parts[])(const struct json_at *, struct oci_config *, struct err *) = {
		namespaces_parse,    parse_idmaps,	time_offsets_parse, parse_devices,
		parse_sysctl,	     parse_seccomp,	parse_resources,    intel_rdt_parse,
		memory_policy_parse, net_devices_parse, personality_parse,
	};
	int r = json_fill(at, linux_fields, config, err);

	if (r < 0)
		return r;
	r = check_propagation(at, config, err);
	for (size_t i = 0; i < ARRAY_SIZE(parts) && r >= 0; i++)
		r = parts[i](at, config, err);
	return r < 0 ? r : 0;
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
	free(config->linux_.uid_mappings.items);
	free(config->linux_.gid_mappings.items);
	linux_host_release(config);
	oci_seccomp_free(config->linux_.seccomp);
}
