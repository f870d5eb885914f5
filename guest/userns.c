/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids and their maps; pure but for two system calls and two writes. Used by the child (guest/child.c).
 */
#define _GNU_SOURCE
#include "guest/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define LINE_MAX_BYTES 36 /* three numbers of ten digits */

bool userns_is_wanted(const struct oci_config *config)
{
	return config->linux_.namespaces[OCI_NS_USER].present;
}

int userns_host_ids(const struct oci_config *config, uint32_t uid, uint32_t gid, uid_t *host_uid,
		    gid_t *host_gid)
{
	if (!userns_is_wanted(config)) {
		*host_uid = uid;
		*host_gid = gid;
		return 0;
	}
	return oci_idmap_to_host(&config->linux_.uid_mappings, uid, host_uid) &&
			       oci_idmap_to_host(&config->linux_.gid_mappings, gid, host_gid)
		       ? 0
		       : -EINVAL;
}

/* The kernel takes a map in one write or not at all */
static int write_map(const struct oci_idmaps *maps, pid_t pid, const char *name, const char *field,
		     struct err *err)
{
	cleanup_free char *text = malloc(maps->n * LINE_MAX_BYTES + 1);
	char path[64];
	cleanup_close int fd = -1;
	size_t len = 0;

	if (!text)
		return err_sys(err, ENOMEM, "cannot set %s", field);
	for (size_t i = 0; i < maps->n; i++) {
		const struct oci_idmap *map = &maps->items[i];

		len += (size_t)snprintf(text + len, LINE_MAX_BYTES, "%u %u %u\n", map->container_id,
					map->host_id, map->size);
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return err_sys(err, errno, "cannot set %s", field);
	return 0;
}

int userns_write_maps(const struct oci_config *config, pid_t pid, struct err *err)
{
	int r = write_map(&config->linux_.uid_mappings, pid, "uid_map", "linux.uidMappings", err);

	return r < 0 ? r
		     : write_map(&config->linux_.gid_mappings, pid, "gid_map", "linux.gidMappings",
				 err);
}

int userns_become_root(struct err *err)
{
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
	    syscall(SYS_setresuid, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot become root of the user namespace");
	return 0;
}
