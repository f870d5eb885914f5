/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no section of config.json can say alone: settings that need a namespace, mounts that need the container's mappings. The rules
 * are runc's (its validator), so that what one refuses the other does too. Two of runc's do not hold here: a sysctl need not
 * belong to a namespace, since the kernel is the container's own; and what the host must offer is seen by those who use it.
 */
#include <errno.h>
#include <string.h>

#include "oci/parse.h"

#define HOSTNAME_MAX 64 /* __NEW_UTS_LEN */

static bool has(const struct oci_config *config, enum oci_ns ns)
{
	return config->linux_.namespaces[ns].present;
}

static int check_name(const struct json_at *at, const char *key, const struct oci_config *config,
		      const char *name, struct err *err)
{
	struct json_at here = {.parent = at, .name = key};

	if (!name || !name[0])
		return 0;
	if (!has(config, OCI_NS_UTS))
		return json_fail(&here, err, "unable to set %s without a private UTS namespace",
				 key);
	if (strlen(name) > HOSTNAME_MAX)
		return json_fail(&here, err, "longer than %d bytes", HOSTNAME_MAX);
	return 0;
}

static int check_uts(const struct json_at *at, const struct oci_config *config, struct err *err)
{
	int r = check_name(at, "hostname", config, config->hostname, err);

	return r < 0 ? r : check_name(at, "domainname", config, config->domainname, err);
}

static int check_paths(const struct json_at *at, const struct oci_config *config, struct err *err)
{
	struct json_at linux_at = {.parent = at, .name = "linux"};

	if (has(config, OCI_NS_MOUNT) ||
	    (!config->linux_.masked_paths.n && !config->linux_.readonly_paths.n))
		return 0;
	return json_fail(&linux_at, err,
			 "unable to restrict sys entries without a private MNT namespace");
}

/* runc needs to know who root is outside */
static int check_root_mapped(const struct json_at *at, const char *key,
			     const struct oci_idmaps *maps, struct err *err)
{
	struct json_at here = {.parent = at, .name = key};
	uint32_t id;

	if (!maps->n)
		return json_fail(&here, err, "user namespaces enabled, but no mappings found");
	if (!oci_idmap_to_host(maps, 0, &id))
		return json_fail(&here, err, "user namespaces enabled, but no mapping found for 0");
	return 0;
}

static int check_user(const struct json_at *at, const struct oci_config *config, struct err *err)
{
	struct json_at linux_at = {.parent = at, .name = "linux"};
	const struct oci_idmaps *uids = &config->linux_.uid_mappings;
	const struct oci_idmaps *gids = &config->linux_.gid_mappings;
	int r;

	if (!has(config, OCI_NS_USER)) {
		if (uids->n || gids->n)
			return json_fail(&linux_at, err,
					 "user namespace mappings specified, but user namespace "
					 "isn't enabled in the config");
		return 0;
	}
	if (config->linux_.namespaces[OCI_NS_USER].path)
		return 0;
	if (!uids->n && !gids->n)
		return json_fail(&linux_at, err,
				 "user namespaces enabled, but no namespace path to join nor "
				 "mappings to apply specified");
	r = check_root_mapped(&linux_at, "uidMappings", uids, err);
	return r < 0 ? r : check_root_mapped(&linux_at, "gidMappings", gids, err);
}

static int check_mounts(const struct json_at *at, const struct oci_config *config, struct err *err)
{
	struct json_at list = {.parent = at, .name = "mounts"};

	for (size_t i = 0; i < config->nmounts; i++) {
		const struct oci_mount *mount = &config->mounts[i];
		struct json_at here = {.parent = &list, .index = i};

		if (mount->is_idmapped && !mount->uid_mappings.n && !has(config, OCI_NS_USER))
			return json_fail(
				&here, err,
				"id-mapped mounts must have both uid and gid mappings specified");
	}
	return 0;
}

static int check_time(const struct json_at *at, const struct oci_config *config, struct err *err)
{
	struct json_at linux_at = {.parent = at, .name = "linux"};
	struct json_at here = {.parent = &linux_at, .name = "timeOffsets"};

	if (!config->linux_.time_offsets[OCI_CLOCK_MONOTONIC].present &&
	    !config->linux_.time_offsets[OCI_CLOCK_BOOTTIME].present)
		return 0;
	if (!has(config, OCI_NS_TIME))
		return json_fail(
			&here, err,
			"time namespace offsets specified, but time namespace isn't enabled "
			"in the config");
	if (config->linux_.namespaces[OCI_NS_TIME].path)
		return json_fail(&here, err,
				 "time namespace enabled, but both namespace path and time offsets "
				 "specified -- you may only provide one");
	return 0;
}

static int check_sysctl(const struct json_at *at, const struct oci_config *config, struct err *err)
{
	struct json_at linux_at = {.parent = at, .name = "linux"};
	struct json_at map = {.parent = &linux_at, .name = "sysctl"};

	for (size_t i = 0; i < config->linux_.sysctl.n; i++) {
		const char *key = config->linux_.sysctl.items[i].key;
		struct json_at here = {.parent = &map, .name = key};

		if (has(config, OCI_NS_UTS) && strcmp(key, "kernel.hostname") == 0)
			return json_fail(
				&here, err,
				"not allowed as it conflicts with the OCI \"hostname\" field");
	}
	return 0;
}

static int check_net_devices(const struct json_at *at, const struct oci_config *config,
			     struct err *err)
{
	struct json_at linux_at = {.parent = at, .name = "linux"};
	struct json_at here = {.parent = &linux_at, .name = "netDevices"};

	if (!config->linux_.net_devices.n || has(config, OCI_NS_NETWORK))
		return 0;
	return json_fail(&here, err, "unable to move network devices without a NET namespace");
}

/* An update may leave the limit as it is; here there is none yet */
static int check_swap(const struct json_at *at, const struct oci_config *config, struct err *err)
{
	struct json_at linux_at = {.parent = at, .name = "linux"};
	struct json_at resources = {.parent = &linux_at, .name = "resources"};
	struct json_at memory = {.parent = &resources, .name = "memory"};
	struct json_at here = {.parent = &memory, .name = "swap"};

	if (config->linux_.resources.memory.swap.value <= 0 ||
	    config->linux_.resources.memory.limit.value > 0)
		return 0;
	return json_fail(&here, err, "unable to set swap limit without memory limit");
}

int config_check(const struct json_at *at, struct oci_config *config, struct err *err)
{
	static int (*const checks[])(const struct json_at *, const struct oci_config *,
				     struct err *) = {
		check_uts,  check_paths,  check_user,	     check_mounts,
		check_time, check_sysctl, check_net_devices, check_swap,
	};

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		int r = checks[i](at, config, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int oci_check_guest(const struct oci_config *config, struct err *err)
{
	for (int i = 0; i < OCI_NS_COUNT; i++) {
		const struct oci_namespace *ns = &config->linux_.namespaces[i];

		/* The network namespace is on the host: the guest's devices stand for it */
		if (ns->present && ns->path && i != OCI_NS_NETWORK)
			return err_set(err, ENOTSUP,
				       "config.json: linux.namespaces: cannot join the %s "
				       "namespace '%.256s': it is one of the host's kernel, and "
				       "this container runs under a kernel of its own; only "
				       "containers of one guest can share one",
				       oci_namespace_name((enum oci_ns)i), ns->path);
	}
	for (size_t i = 0; i < config->nmounts; i++) {
		if (config->mounts[i].is_idmapped)
			return err_set(err, ENOTSUP,
				       "config.json: mounts[%zu]: id-mapped mounts are not "
				       "supported",
				       i);
	}
	return 0;
}
