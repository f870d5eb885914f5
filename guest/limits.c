/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits in the guest: see guest/limits.h. The figures are oci/limits.c's, the files are few and their writes do not block, so
 * the agent's loop does it itself.
 */
#include "guest/limits.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "oci/limits.h"

#include "guest/agent.pb-c.h"
#include "guest/cgroup.h"
#include "guest/device_numbers.h"
#include "guest/device_rules.h"
#include "guest/userns.h"

/* @with_devices: the rules too, even if there are none */
static int apply(struct container *container, const struct oci_resources *resources,
		 bool with_devices, struct err *err)
{
	long nvcpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct limits_machine machine = {.nvcpus = nvcpus > 0 ? (uint32_t)nvcpus : 1};
	struct limits limits = {0}, undo = {0};
	int r = limits_plan(resources, LIMITS_GUEST, &machine, &limits, err);

	if (r == 0)
		r = limits_apply(container->cgroup_fd, &limits, &undo, err);
	if (r == 0 && with_devices) {
		r = device_rules_apply(container->cgroup_fd, resources->devices,
				       resources->ndevices, &container->device_program_fd, err);
		if (r < 0)
			limits_restore(container->cgroup_fd, &undo);
	}
	limits_release(&limits);
	limits_release(&undo);
	return r;
}

int container_limit(struct container *container, struct err *err)
{
	struct err why = {0};
	int r = apply(container, &container->config->linux_.resources, true, &why);

	/* A control file that is not there is no missing program */
	return r < 0 ? err_set(err, r == -ENOMEM ? ENOMEM : EINVAL, "linux.resources: %s", why.msg)
		     : 0;
}

static bool is_writable_cgroup(const struct oci_mount *mount)
{
	if (!mount->source || strcmp(mount->source, "cgroup") != 0 ||
	    strcmp(mount->destination, "/sys/fs/cgroup") != 0)
		return false;
	for (size_t i = 0; i < mount->options.n; i++) {
		if (strcmp(mount->options.items[i], "ro") == 0)
			return false;
	}
	return true;
}

int container_give_cgroup(struct container *container, struct err *err)
{
	const struct oci_config *config = container->config;
	bool wanted = false;
	uid_t uid;
	gid_t gid;

	for (size_t i = 0; i < config->nmounts; i++)
		wanted |= is_writable_cgroup(&config->mounts[i]);
	if (!wanted || !config->linux_.namespaces[OCI_NS_CGROUP].present)
		return 0;
	/* A user that is not mapped is an error of the child's, with better words */
	if (userns_host_ids(config, config->process.user.uid, config->process.user.gid, &uid,
			    &gid) < 0)
		return 0;
	return cgroup_give(container->cgroup_fd, uid, err);
}

void container_update(struct container *container, const uint8_t *json, size_t len,
		      struct ttrpc_call *call)
{
	CLEANUP(oci_resources) struct oci_resources *resources = NULL;
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;
	struct err err = {0};
	int r;

	if (container->state != CONTAINER_CREATED && container->state != CONTAINER_RUNNING) {
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION, "container not running");
		return;
	}
	r = oci_resources_parse((const char *)json, len, &resources, &err);
	if (r == 0)
		r = device_numbers_in_rules(resources, "/sys", &err);
	if (r == 0)
		r = apply(container, resources, resources->ndevices > 0, &err);
	if (r < 0)
		ttrpc_reply_error(call,
				  r == -ENOMEM ? TTRPC_RESOURCE_EXHAUSTED : TTRPC_INVALID_ARGUMENT,
				  "%s", err.msg);
	else
		ttrpc_reply_message(call, &empty);
}
