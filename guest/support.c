/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of what is asked for, made before anything is begun. The host has validated the configuration as a whole; here only
 * what this guest cannot do is refused.
 */
#include "guest/support.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#include "guest/agent.h"

bool support_id_is_valid(const char *id)
{
	size_t len = strlen(id);

	if (len == 0 || len > AGENT_ID_MAX || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return false;
	return strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") ==
	       len;
}

/* ---- security labels ---- */

/*
 * The guest's kernel has neither AppArmor nor SELinux. What an engine gives to every container on a host that has them is
 * meant for the host's kernel, which this process never meets, and is ignored; what somebody has chosen is refused.
 */
static bool is_engines_profile(const char *name)
{
	static const char *const names[] = {
		"unconfined",
		"docker-default",
		"runtime/default",
		"crio-default",
		"cri-containerd.apparmor.d",
		"nerdctl-default",
		"buildkit-default",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	/* Podman's has its version in its name */
	return strncmp(name, "containers-default-", strlen("containers-default-")) == 0;
}

/* user:role:TYPE:level */
static bool is_engines_type(const char *label)
{
	static const char *const types[] = {
		/* processes */
		"container_t", "container_init_t", "container_kvm_t", "container_engine_t",
		"container_userns_t", "svirt_lxc_net_t", "svirt_kvm_net_t", "svirt_qemu_net_t",
		"spc_t", "unconfined_t",
		/* files */
		"container_file_t", "container_ro_file_t", "container_share_t",
		"container_var_lib_t", "svirt_sandbox_file_t"};
	const char *type = label;
	size_t len;

	for (int i = 0; i < 2; i++) {
		type = strchr(type, ':');
		if (!type)
			return false;
		type++;
	}
	len = strcspn(type, ":");
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (strlen(types[i]) == len && memcmp(type, types[i], len) == 0)
			return true;
	}
	return false;
}

static int check_label(const char *field, const char *label, struct err *err)
{
	if (!label || !*label)
		return 0;
	if (!is_engines_type(label))
		return err_set(err, ENOTSUP, "%s '%.128s': the guest's kernel has no SELinux",
			       field, label);
	log_info("Ignoring %s '%.128s': the guest's kernel has no SELinux", field, label);
	return 0;
}

static int check_profile(const char *profile, struct err *err)
{
	if (!profile || !*profile)
		return 0;
	if (!is_engines_profile(profile))
		return err_set(err, ENOTSUP,
			       "process.apparmorProfile '%.128s': the guest's kernel has no "
			       "AppArmor",
			       profile);
	log_info("Ignoring process.apparmorProfile '%.128s': the guest's kernel has no AppArmor",
		 profile);
	return 0;
}

int support_check_process(const struct oci_process *process, struct err *err)
{
	int r;

	if (!process->args.n)
		return err_set(err, EINVAL, "process.args is empty");
	r = check_profile(process->apparmor_profile, err);
	return r < 0 ? r : check_label("process.selinuxLabel", process->selinux_label, err);
}

int support_check_config(const struct oci_config *config, struct err *err)
{
	int r;

	if (!config->has_process)
		return err_set(err, EINVAL, "config.json has no process");
	r = oci_check_guest(config, err);
	if (r < 0)
		return r;
	r = check_label("linux.mountLabel", config->linux_.mount_label, err);
	if (r < 0)
		return r;
	return support_check_process(&config->process, err);
}
