/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of what is asked for, made before anything is begun. The host has validated the configuration as a whole; here only
 * what this guest cannot do is refused.
 */
#include "guest/support.h"

#include <errno.h>
#include <string.h>

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

int support_check_process(const struct oci_process *process, struct err *err)
{
	const char *apparmor = process->apparmor_profile, *selinux = process->selinux_label;

	if (!process->args.n)
		return err_set(err, EINVAL, "process.args is empty");
	if (apparmor && *apparmor && strcmp(apparmor, "unconfined") != 0)
		return err_set(err, ENOTSUP,
			       "process.apparmorProfile is not supported by the guest kernel");
	if (selinux && *selinux)
		return err_set(err, ENOTSUP,
			       "process.selinuxLabel is not supported by the guest kernel");
	return 0;
}

int support_check_config(const struct oci_config *config, struct err *err)
{
	if (!config->has_process)
		return err_set(err, EINVAL, "config.json has no process");
	for (int i = 0; i < OCI_NS_COUNT; i++) {
		const struct oci_namespace *ns = &config->linux_.namespaces[i];

		/* The network namespace is on the host: the guest's devices stand for it */
		if (!ns->present || i == OCI_NS_NETWORK)
			continue;
		if (i == OCI_NS_USER || i == OCI_NS_TIME)
			return err_set(err, ENOTSUP, "a %s namespace is not supported yet",
				       oci_namespace_name((enum oci_ns)i));
		if (ns->path)
			return err_set(err, ENOTSUP,
				       "joining the %s namespace '%.256s' is not supported yet",
				       oci_namespace_name((enum oci_ns)i), ns->path);
	}
	for (size_t i = 0; i < config->nmounts; i++) {
		if (config->mounts[i].is_idmapped)
			return err_set(err, ENOTSUP,
				       "mounts[%zu]: id-mapped mounts are not supported yet", i);
	}
	if (config->linux_.mount_label && *config->linux_.mount_label)
		return err_set(err, ENOTSUP,
			       "linux.mountLabel is not supported by the guest kernel");
	if (config->linux_.has_seccomp)
		log_warn("linux.seccomp is not applied yet, ignoring");
	return support_check_process(&config->process, err);
}
